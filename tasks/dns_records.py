"""What a zone says of itself beside addresses: its name servers, its mail, its services, its texts.

Asked of the same name servers as addresses are, never of the target. A name is asked for its zone (SOA), one question;
only what turns out to be a zone's own name, or a registered domain, is asked for the rest: NS, MX, TXT, CAA, the usual
services (SRV), and what it says of forged mail (`_dmarc`, RFC 7489).
"""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import dns.message
import dns.name
import dns.rdatatype

from footprint.errors import InvalidTarget
from footprint.records import DnsRecord
from footprint.target import MAX_NAME, parse_name
from footprint.text import clean
from tasks import spf
from tasks.lookup import MAX_ALIASES, Answer, Lookup, answered
from tasks.suffixes import registered_domain

ZONE_TYPES = ("NS", "MX", "TXT", "CAA")
_USUAL = """
_sip._tcp _sip._udp _sips._tcp _sipfederationtls._tcp _xmpp-client._tcp _xmpp-server._tcp _autodiscover._tcp
_ldap._tcp _gc._tcp _kerberos._tcp _kerberos._udp _kpasswd._tcp _imap._tcp _imaps._tcp _submission._tcp
_submissions._tcp _caldavs._tcp _carddavs._tcp _matrix-fed._tcp _stun._udp _turn._udp _vlmcs._tcp _ntp._udp
"""
SERVICES = tuple(_USUAL.split())
"""Services that are found by SRV records (RFC 2782, and the registry of service names of IANA)."""
_OF_SERVICE = re.compile(r"_[^.]+\._(?:tcp|udp|sctp|dccp|tls)\.")
MAX_VALUES = 64
"""Records kept of one name and type: whoever owns a zone decides how many it lists."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What one question was answered with. `rcode` is empty where no server answered.

    `zone` is the zone that an answer without data names as its own (RFC 2308).
    """

    name: str
    rdtype: str
    rcode: str = ""
    data: tuple[Any, ...] = ()
    zone: str | None = None

    @property
    def is_answered(self) -> bool:
        return self.rcode in ("NOERROR", "NXDOMAIN")


async def fetch(lookup: Lookup, name: str, rdtype: str) -> Reply:
    """Ask for one type of a name; aliases are followed as far as the answer itself does."""
    owner = dns.name.from_text(name)
    response, rcode = await lookup.exchange(owner, rdtype)
    if response is None:
        return Reply(name, rdtype, rcode)
    return Reply(name, rdtype, rcode, tuple(_data(response, owner, rdtype)), _zone_above(response, owner))


def _data(response: dns.message.Message, owner: dns.name.Name, rdtype: str) -> list[Any]:
    for _ in range(MAX_ALIASES):
        if data := answered(response, owner, rdtype):
            return data
        aliases = answered(response, owner, "CNAME")
        # The SOA behind an alias is somebody else's zone.
        if not aliases or rdtype == "SOA":
            break
        owner = aliases[0].target
    return []


def _zone_above(response: dns.message.Message, owner: dns.name.Name) -> str | None:
    tops = [rrset.name for rrset in response.authority if rrset.rdtype == dns.rdatatype.SOA]
    return host_name(tops[0]) if tops and owner.is_subdomain(tops[0]) and owner != tops[0] else None


async def survey(lookup: Lookup, answer: Answer) -> tuple[Reply, ...]:
    """Ask what else there is of a name that exists: its zone, and all of the zone where it is one's own name."""
    if not answer.exists or answer.alias or answer.wildcard:
        return ()
    soa = await fetch(lookup, answer.name, "SOA")
    if not soa.data and answer.name != registered_domain(answer.name):
        return (soa,)
    rest = await asyncio.gather(*(fetch(lookup, name, rdtype) for name, rdtype in questions(answer.name)))
    return (soa, *await _without_wildcard(lookup, answer.name, rest))


def questions(zone: str) -> list[tuple[str, str]]:
    """What a zone is asked for, names and types."""
    asked = [(zone, rdtype) for rdtype in ZONE_TYPES]
    asked += [(f"_dmarc.{zone}", "TXT")] if zone == registered_domain(zone) else []
    asked += [(f"{service}.{zone}", "SRV") for service in SERVICES]
    return [(name, rdtype) for name, rdtype in asked if len(name) <= MAX_NAME]


async def _without_wildcard(lookup: Lookup, zone: str, replies: Sequence[Reply]) -> list[Reply]:
    """Of services that a wildcard answers for, the first is kept."""
    control = f"_px{secrets.token_hex(8)}._tcp.{zone}"
    if not any(reply.rdtype == "SRV" and reply.data for reply in replies) or len(control) > MAX_NAME:
        return list(replies)
    nobody = await fetch(lookup, control, "SRV")
    anyway = frozenset(nobody.data)
    alike = [reply for reply in replies if reply.rdtype == "SRV" and anyway and frozenset(reply.data) == anyway]
    return [replace(reply, data=()) if reply in alike[1:] else reply for reply in replies]


def is_of_service(name: str) -> bool:
    """True of names that services are looked up by (`_sip._tcp.example.com`, RFC 2782): they are no hosts."""
    return _OF_SERVICE.match(name) is not None


def records_of(reply: Reply) -> list[DnsRecord]:
    """The records of an answer, each once, in order, bounded."""
    values = sorted({value_of(each) for each in reply.data})
    return [DnsRecord(reply.name, reply.rdtype, value) for value in values[:MAX_VALUES]]


def value_of(data: Any) -> str:
    """A record's data as it is kept: names without their final dot, a text's pieces joined (RFC 7208, 3.3)."""
    match data.rdtype:
        case dns.rdatatype.NS | dns.rdatatype.CNAME | dns.rdatatype.PTR:
            text = _plain(data.target)
        case dns.rdatatype.MX:
            text = f"{data.preference} {_plain(data.exchange)}"
        case dns.rdatatype.SRV:
            text = f"{data.priority} {data.weight} {data.port} {_plain(data.target)}"
        case dns.rdatatype.SOA:
            # Its numbers are left out: with the serial, every change of a zone would look like another record.
            text = f"{_plain(data.mname)} {_plain(data.rname)}"
        case dns.rdatatype.TXT:
            text = text_of(data)
        case _:
            text = data.to_text()
    return clean(text)


def text_of(data: Any) -> str:
    """What a TXT record says, its pieces joined."""
    return b"".join(data.strings).decode(errors="replace")


def _plain(name: dns.name.Name) -> str:
    return name.to_text(omit_final_dot=True).lower()


def names_in(reply: Reply) -> Iterator[str]:
    """Host names that an answer's data mention: name servers, mail servers, services' hosts, senders of SPF."""
    for data in reply.data:
        match data.rdtype:
            case dns.rdatatype.NS | dns.rdatatype.SRV:
                found = [host_name(data.target)]
            case dns.rdatatype.MX:
                found = [host_name(data.exchange)]
            case dns.rdatatype.SOA:
                found = [host_name(data.mname)]
            case dns.rdatatype.TXT:
                found = list(spf.hosts(text_of(data)))
            case _:
                found = []
        yield from (name for name in found if name)


def host_name(name: dns.name.Name) -> str | None:
    """The name as it is kept; None for one that cannot be."""
    try:
        return parse_name(name.to_text())
    except InvalidTarget:
        return None


def notes_of(replies: Sequence[Reply]) -> Iterator[str]:
    """What is to be said of the answers: what stayed open, and what was left out."""
    unanswered: dict[str, list[str]] = {}
    for reply in replies:
        if not reply.is_answered:
            unanswered.setdefault(reply.rcode or "no answer", []).append(reply.rdtype)
        if (count := len(set(reply.data))) > MAX_VALUES:
            yield f"only {MAX_VALUES} of its {count} {reply.rdtype} records were kept"
    for word, types in unanswered.items():
        yield f"{', '.join(dict.fromkeys(types))}: {word}"
