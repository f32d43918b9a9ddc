"""A zone asked for as a whole (AXFR, RFC 5936): one TCP connection, so many records, bytes and seconds at most.

Whoever owns a name server decides how much it sends, and for how long: what is kept of it is bounded here.
"""

from __future__ import annotations

import asyncio
import struct
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import dns.exception
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype

from footprint.records import DnsRecord
from tasks.dns_records import Reply, host_name, names_in, records_of

MAX_NAMES, MAX_KEPT = 20_000, 2_000
"""Names and other records kept of one zone."""
MAX_BYTES = 32 << 20
_HOSTS = frozenset(map(dns.rdatatype.from_text, ("A", "AAAA", "CNAME", "DNAME", "NS", "MX")))
"""Types whose owners are names of hosts or zones, and no mere labels for a text."""
_INSIDE = frozenset(map(dns.rdatatype.from_text, ("A", "AAAA", "CNAME")))
_OF_DNSSEC = frozenset(
    map(dns.rdatatype.from_text, ("RRSIG", "NSEC", "NSEC3", "NSEC3PARAM", "DNSKEY", "DS", "CDS", "CDNSKEY", "ZONEMD"))
)


class End(StrEnum):
    """How a transfer ended."""

    WHOLE = "whole"
    CUT = "cut off by us"
    BROKEN = "broken off"
    REFUSED = "refused"
    SILENT = "silent"


@dataclass(slots=True)
class Transfer:
    """What a server gave of a zone. `names` are those of hosts, with the alias's target where one is one."""

    zone: dns.name.Name
    server: str
    end: End = End.SILENT
    note: str = ""
    count: int = 0
    names: dict[str, str | None] = field(default_factory=dict)
    kept: dict[DnsRecord, None] = field(default_factory=dict)
    left_out: int = 0
    foreign: int = 0
    wildcards: list[str] = field(default_factory=list)

    @property
    def is_given(self) -> bool:
        """True where more came than the zone's own SOA, which anybody may ask for."""
        return self.count > 1

    def take(self, owner: dns.name.Name, data: Any) -> None:
        """Keep what is worth it of one record; records of other zones do not belong here."""
        self.count += 1
        if not owner.is_subdomain(self.zone):
            self.foreign += 1
            return
        if data.rdtype in _OF_DNSSEC:
            return
        name = host_name(owner)
        if name is None:
            if owner.is_wild() and len(self.wildcards) < MAX_KEPT:
                self.wildcards.append(owner.to_text(omit_final_dot=True))
            return
        reply = Reply(name, dns.rdatatype.to_text(data.rdtype), "NOERROR", (data,))
        if data.rdtype in _HOSTS:
            self._name(name, host_name(data.target) if data.rdtype == dns.rdatatype.CNAME else None)
        for mentioned in names_in(reply):
            self._name(mentioned, None)
        if data.rdtype not in _INSIDE:
            self._record(*records_of(reply))

    def _name(self, name: str, cname: str | None) -> None:
        if name in self.names or len(self.names) < MAX_NAMES:
            self.names[name] = cname or self.names.get(name)
        else:
            self.left_out += 1

    def _record(self, record: DnsRecord) -> None:
        if record in self.kept or len(self.kept) < MAX_KEPT:
            self.kept[record] = None
        else:
            self.left_out += 1


@dataclass(frozen=True, slots=True)
class Bounds:
    """How long and how much: seconds for the connection and for each message, seconds in all, records in all."""

    timeout: float
    seconds: float
    records: int


async def transfer(zone: str, server: str, address: str, port: int, bounds: Bounds) -> Transfer:
    """Ask one server for a zone, and read what it gives."""
    given = Transfer(dns.name.from_text(zone), f"{server} ({address})")
    try:
        async with asyncio.timeout(bounds.seconds):
            await _converse(given, address, port, bounds)
    except TimeoutError:
        given.end, given.note = (End.CUT if given.is_given else End.SILENT), "it took too long"
    except (OSError, EOFError, dns.exception.DNSException) as failure:
        given.end = End.BROKEN if given.is_given else End.SILENT
        given.note = "the connection failed" if isinstance(failure, OSError) else "the answer ended, or was no DNS"
    return given


async def _converse(given: Transfer, address: str, port: int, bounds: Bounds) -> None:
    async with asyncio.timeout(bounds.timeout):
        reader, writer = await asyncio.open_connection(address, port)
    try:
        query = dns.message.make_query(given.zone, "AXFR")
        wire = query.to_wire()
        writer.write(struct.pack("!H", len(wire)) + wire)
        await writer.drain()
        await _read(given, query.id, reader, bounds)
    finally:
        writer.transport.abort()


async def _read(given: Transfer, query_id: int, reader: asyncio.StreamReader, bounds: Bounds) -> None:
    size = 0
    while True:
        async with asyncio.timeout(bounds.timeout):
            (length,) = struct.unpack("!H", await reader.readexactly(2))
            wire = await reader.readexactly(length)
        size += length
        message = dns.message.from_wire(wire, xfr=True, multi=True, one_rr_per_rrset=True, ignore_trailing=True)
        if _is_over(given, message, query_id):
            return
        if given.count >= bounds.records or size >= MAX_BYTES:
            given.end, given.note = End.CUT, f"cut off after {given.count} records"
            return


def _is_over(given: Transfer, message: dns.message.Message, query_id: int) -> bool:
    """Take one message in; True where it was the last. The SOA comes first, and again at the end (2.2)."""
    if message.id != query_id or (not message.rcode() and not message.answer):
        raise dns.exception.FormError
    if message.rcode():
        given.end, given.note = End.REFUSED, dns.rcode.to_text(message.rcode())
        return True
    for rrset in message.answer:
        is_top = rrset.rdtype == dns.rdatatype.SOA and rrset.name == given.zone
        if not given.count and not is_top:
            raise dns.exception.FormError
        if given.count and is_top:
            given.end, given.note = End.WHOLE, "" if given.is_given else "nothing but its SOA"
            return True
        given.take(rrset.name, rrset[0])
    return False
