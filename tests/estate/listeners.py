"""Real TCP listeners on loopback that say what well-known servers say, so that nmap names product and version.

The ports of a range are among nmap's 100 most frequent and above 1023: no listener needs root. An address and port
can be listened on once only, so each test that runs beside others takes a range of its own.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address
from threading import Event, Thread
from typing import NamedTuple, Self

START_SECONDS = 10


@dataclass(frozen=True, slots=True)
class Script:
    """What a listener says: `greeting` at once, `reply` to what contains `cue`. `product`, `version`: as nmap says."""

    greeting: bytes = b""
    reply: bytes = b""
    cue: bytes = b""
    product: str | None = None
    version: str | None = None


def web_server(server: str, product: str, version: str) -> Script:
    """An HTTP server with that `Server` header."""
    head = f"HTTP/1.1 200 OK\r\nServer: {server}\r\nContent-Type: text/html\r\nContent-Length: 3\r\n"
    return Script(reply=f"{head}Connection: close\r\n\r\nok\n".encode(), product=product, version=version)


SSH = Script(b"SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u2\r\n", product="OpenSSH", version="9.2p1 Debian 2+deb12u2")
HTTP = web_server("nginx/1.22.1", "nginx", "1.22.1")
FTP = Script(b"220 (vsFTPd 3.0.3)\r\n", product="vsftpd", version="3.0.3")
SMTP = Script(b"220 mail.example.test ESMTP Postfix (Debian/GNU)\r\n", product="Postfix smtpd")
REDIS = Script(
    reply=b"$30\r\n# Server\r\nredis_version:7.0.15\r\n\r\n",
    cue=b"info",
    product="Redis key-value store",
    version="7.0.15",
)
"""Named on port 6379 only: nmap asks for it nowhere else."""
SILENT = Script()

RANGE_PORTS: dict[int, Script] = {2001: SSH, 2121: FTP, 8008: HTTP}


class Place(NamedTuple):
    """Where a script is played. Port 0 is any free one."""

    address: str
    port: int
    script: Script


class Truth(NamedTuple):
    """What a complete scan finds at one place."""

    address: str
    port: int
    product: str | None
    version: str | None


class Listeners:
    """Listens on every place while its context is open; from then on `places` and `truth` hold the real ports.

    Entering raises `OSError` where a port is taken.
    """

    def __init__(self, places: Iterable[Place]) -> None:
        self.places = tuple(places)
        self._sockets: list[socket.socket] = []
        self._open: set[asyncio.Transport] = set()
        self._ready = Event()
        self._loop = asyncio.new_event_loop()
        self._done = asyncio.Event()
        self._thread = Thread(target=self._run, name="listeners", daemon=True)

    @property
    def truth(self) -> frozenset[Truth]:
        """What a complete scan finds at all of them."""
        return frozenset(Truth(at.address, at.port, at.script.product, at.script.version) for at in self.places)

    @property
    def addresses(self) -> tuple[str, ...]:
        """Every address that is listened on, in order."""
        return tuple(dict.fromkeys(place.address for place in self.places))

    def __enter__(self) -> Self:
        try:
            self._bind()
        except OSError:
            self._close()
            raise
        self._thread.start()
        if not self._ready.wait(START_SECONDS):
            raise TimeoutError("the listeners did not start")
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._done.set)
        self._thread.join(START_SECONDS)
        self._close()

    def _bind(self) -> None:
        for place in self.places:
            self._sockets.append(_bound(place))
        ports = [bound.getsockname()[1] for bound in self._sockets]
        self.places = tuple(at._replace(port=port) for at, port in zip(self.places, ports, strict=True))

    def _close(self) -> None:
        for bound in self._sockets:
            bound.close()
        self._loop.close()

    def _run(self) -> None:
        self._loop.run_until_complete(self._serve())

    async def _serve(self) -> None:
        servers = [await self._listen(at.script, bound) for at, bound in zip(self.places, self._sockets, strict=True)]
        self._ready.set()
        await self._done.wait()
        for server in servers:
            server.close()
        for transport in self._open:
            transport.abort()
        while self._open:
            await asyncio.sleep(0)

    async def _listen(self, script: Script, bound: socket.socket) -> asyncio.Server:
        return await self._loop.create_server(lambda: _Conversation(script, self._open), sock=bound, backlog=128)


class _Conversation(asyncio.Protocol):
    def __init__(self, script: Script, register: set[asyncio.Transport]) -> None:
        self._script = script
        self._register = register

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._register.add(transport)
        transport.write(self._script.greeting)

    def data_received(self, data: bytes) -> None:
        if self._script.reply and self._script.cue in data:
            self._transport.write(self._script.reply)
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._register.discard(self._transport)


def _bound(place: Place) -> socket.socket:
    family = socket.AF_INET6 if ":" in place.address else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((place.address, place.port))
    except OSError:
        made.close()
        raise
    return made


def test_range(  # no test, whatever its name says: see below
    count: int = 64,  # noqa: PT028 -- an ordinary default
    first: str = "127.0.64.1",  # noqa: PT028 -- an ordinary default
    ports: dict[int, Script] | None = None,  # noqa: PT028 -- an ordinary default
) -> Listeners:
    """Listeners on `count` addresses from `first` on, the same ports on each: SSH, FTP and HTTP unless told."""
    start = ip_address(first)
    return Listeners(
        Place(str(start + index), port, script)
        for index in range(count)
        for port, script in (ports or RANGE_PORTS).items()
    )


# pytest would take it for a test in every file that imports it.
test_range.__dict__["__test__"] = False


def tarpit(address: str, ports: Iterable[int]) -> Listeners:
    """One address on which every port is open and nothing is ever said."""
    return Listeners(Place(address, port, SILENT) for port in ports)
