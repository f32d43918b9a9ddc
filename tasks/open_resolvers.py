"""Name servers that look names up for strangers (RFC 5358)."""

from __future__ import annotations

import struct
from functools import partial

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype

from footprint.records import Severity
from tasks.checks import Check, Said, Weakness
from tasks.talk import Garbled, Place, Talk, exchange

PAYLOAD = 1232
"""Octets that an answer over UDP may have: none is fragmented (DNS flag day 2020)."""
SHOWN = 2
OPEN = Weakness(
    "open-resolver",
    Severity.MEDIUM,
    "https://www.rfc-editor.org/rfc/rfc5358",
    ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:C/C:N/I:N/A:L", 5.8),
)


def recursion(place: Place, name: str, *, over_udp: bool) -> Said:
    """Ask with RD for something that a server of other zones can only know from others: the root's name servers."""
    query = dns.message.make_query(dns.name.from_text(name), dns.rdatatype.NS, use_edns=0, payload=PAYLOAD)
    answer = exchange(place, query.to_wire(), partial(_answer, query)) if over_udp else _over_tcp(place, query)
    if over_udp and answer.flags & dns.flags.TC:
        answer = _over_tcp(place, query)
    if not answer.flags & dns.flags.RA or answer.flags & dns.flags.AA or not answer.answer:
        said = dns.rcode.to_text(answer.rcode())
        return Said(f"it looks nothing up for strangers ({said}, {len(answer.answer)} answers)")
    found = ", ".join(sorted(str(record) for records in answer.answer[:1] for record in records)[:SHOWN])
    evidence = f"asked over {'UDP' if over_udp else 'TCP'} for the name servers of {name}, it said: {found}"
    return OPEN.found("The name server looks names up for anybody", evidence)


def _answer(query: dns.message.Message, wire: bytes) -> dns.message.Message | None:
    """The message, where it is one and answers this question."""
    try:
        answer = dns.message.from_wire(wire, ignore_trailing=True)
    except (dns.exception.DNSException, ValueError):
        return None
    return answer if query.is_response(answer) else None


def _over_tcp(place: Place, query: dns.message.Message) -> dns.message.Message:
    """Ask over a connection, each message after its length (RFC 1035, 4.2.2), and over TLS likewise (RFC 7858)."""
    wire = query.to_wire()
    with Talk(place) as talk:
        talk.say(struct.pack("!H", len(wire)) + wire)
        (size,) = struct.unpack("!H", talk.exactly(2))
        answer = _answer(query, talk.exactly(size))
    if answer is None:
        raise Garbled("it does not speak DNS")
    return answer


def checks(name: str) -> tuple[Check, ...]:
    """The check over each transport; `name` is what is asked for."""
    question = f"NS of {name} with recursion"
    return (
        Check(
            "recursion", question, partial(recursion, name=name, over_udp=False), ("domain", "domain-s"), ports=(53,)
        ),
        Check("recursion", question, partial(recursion, name=name, over_udp=True), ("domain",), (53,), protocol="udp"),
    )
