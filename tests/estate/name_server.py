"""A small name server on loopback: real DNS over UDP and TCP for tests, with the faults that real ones have.

A zone is a mapping of names to records, or the same as text, one `name TYPE rdata` a line:

    www.example.test    A 127.0.0.1
    www.example.test    AAAA ::1
    shop.example.test   CNAME www.example.test
    *.any.example.test  A 127.0.0.9
    broken.example.test SERVFAIL
    slow.example.test   DROP AAAA

Instead of a type there may stand SERVFAIL, REFUSED, NXDOMAIN or DROP (never answers), for one query type or for all.
Answers over 512 octets are truncated over UDP (RFC 1035, 4.2.1), so that large ones force TCP. Names that a server
is told to transfer are given whole, with what is below them, to who asks for AXFR (RFC 5936).
"""

from __future__ import annotations

import socket
import socketserver
import struct
import threading
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any, Self

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype

from tests.estate.zone_data import Zone, ZoneSource, absolute, negative

PORT_ATTEMPTS = 20


@dataclass(frozen=True, slots=True)
class Asked:
    """A question as it arrived: the name without its trailing dot, the type's word, `udp` or `tcp`."""

    name: str
    rdtype: str
    transport: str


class NameServer:
    """Serves a zone on a free port of 127.0.0.1, or where told, UDP and TCP alike, while its `with` block lasts.

    `transfers` are the names it gives whole. `asked` tells what arrived, in order. Without `chases` it answers as an
    authoritative server does that is not responsible for an alias's target: with the alias alone.
    """

    def __init__(
        self,
        zone: ZoneSource,
        *,
        chases: bool = True,
        host: str = "127.0.0.1",
        port: int = 0,
        transfers: Collection[str] = (),
    ) -> None:
        self.zone = Zone(zone)
        self.chases = chases
        self.place = host, port
        self.transfers = frozenset(map(absolute, transfers))
        self.asked: list[Asked] = []
        self._servers: list[socketserver.BaseServer] = []
        self._threads: list[threading.Thread] = []

    @property
    def port(self) -> int:
        """The port, the same for UDP and TCP."""
        address: Any = self._servers[0].server_address
        return int(address[1])

    @property
    def address(self) -> str:
        """Where it listens, as `PULSAR_RESOLVERS` takes it."""
        return f"{self.place[0]}:{self.port}"

    def questions(self, name: str) -> list[Asked]:
        """What was asked for a name."""
        return [asked for asked in self.asked if asked.name == name]

    def __enter__(self) -> Self:
        self._servers = list(_bound_pair(self))
        for server in self._servers:
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
            thread.start()
            self._threads.append(thread)
        return self

    def __exit__(self, *exc_info: object) -> None:
        for server in self._servers:
            server.shutdown()
            server.server_close()
        for thread in self._threads:
            thread.join(timeout=5)

    def respond(self, wire: bytes, transport: str) -> bytes | None:
        """Answer one message, or stay silent: where told to, and to what is no query."""
        try:
            query = dns.message.from_wire(wire)
        except dns.exception.DNSException:
            return None
        if not query.question:
            return negative(dns.message.make_response(query), dns.rcode.FORMERR).to_wire()
        question = query.question[0]
        name = question.name.to_text(omit_final_dot=True).lower()
        self.asked.append(Asked(name, dns.rdatatype.to_text(question.rdtype), transport))
        response = self._answer(query, transport)
        if response is None:
            return None
        limit = 65535 if transport == "tcp" else max(512, query.payload)
        return _cut_to(response, limit)

    def stream(self, wire: bytes) -> Iterator[bytes]:
        """The messages that answer one over TCP: one, or none."""
        if answer := self.respond(wire, "tcp"):
            yield answer

    def _answer(self, query: dns.message.Message, transport: str) -> dns.message.Message | None:
        if query.question[0].rdtype != dns.rdatatype.AXFR:
            return self.zone.answer(query, chases=self.chases)
        if query.question[0].name in self.transfers and transport == "tcp":
            return self.zone.transfer(query)
        return negative(dns.message.make_response(query), dns.rcode.REFUSED)


class _Udp(socketserver.ThreadingUDPServer):
    daemon_threads = True

    def __init__(self, owner: NameServer, port: int) -> None:
        self.owner = owner
        super().__init__((owner.place[0], port), _UdpHandler)


class _Tcp(socketserver.ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True

    def __init__(self, owner: NameServer, port: int) -> None:
        self.owner = owner
        super().__init__((owner.place[0], port), _TcpHandler)


class _UdpHandler(socketserver.BaseRequestHandler):
    server: _Udp

    def handle(self) -> None:
        wire, sock = self.request
        if answer := self.server.owner.respond(wire, "udp"):
            sock.sendto(answer, self.client_address)


class _TcpHandler(socketserver.StreamRequestHandler):
    server: _Tcp
    timeout = 5

    def handle(self) -> None:
        while len(prefix := self.rfile.read(2)) == 2:
            wire = self.rfile.read(struct.unpack("!H", prefix)[0])
            answer = None
            for answer in self.server.owner.stream(wire):
                self.wfile.write(struct.pack("!H", len(answer)) + answer)
            if answer is None:
                return


def free_port() -> int:
    """A UDP port of 127.0.0.1 that nobody listens on just now: for servers that are not there."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _bound_pair(owner: NameServer) -> tuple[_Udp, _Tcp]:
    """The kernel picks the UDP port; somebody else may hold the same one for TCP, so try a few."""
    for _ in range(PORT_ATTEMPTS):
        udp = _Udp(owner, owner.place[1])
        try:
            return udp, _Tcp(owner, int(udp.server_address[1]))
        except OSError:
            udp.server_close()
    raise RuntimeError(f"no port of {owner.place[0]} is free for both UDP and TCP")


def _cut_to(response: dns.message.Message, limit: int) -> bytes:
    try:
        return response.to_wire(max_size=limit)
    except dns.exception.TooBig:
        response.flags |= dns.flags.TC
        response.answer, response.authority = [], []
        return response.to_wire(max_size=limit)
