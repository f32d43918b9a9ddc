"""Name servers that look names up for strangers (RFC 5358)."""

from __future__ import annotations

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.query
import dns.rcode
import dns.rdatatype

from footprint.records import Severity
from tasks.checks import Check, Said, weakness
from tasks.talk import Garbled, Place

STOP_SECONDS = 2.0
"""dnspython waits this long at most: it does not look whether the scan is over."""


def recursion(place: Place, name: str, *, over_tcp: bool) -> Said:
    """Ask with RD for something that a server of other zones can only know from others: the root's name servers."""
    query = dns.message.make_query(dns.name.from_text(name), dns.rdatatype.NS)
    ask = dns.query.tcp if over_tcp else dns.query.udp
    seconds = min(place.seconds, STOP_SECONDS)
    try:
        answer = ask(query, place.address, seconds, place.port)
    except dns.exception.Timeout:
        raise TimeoutError("no answer in time") from None
    except (dns.exception.DNSException, EOFError, ValueError):
        raise Garbled("it does not speak DNS") from None
    rcode = dns.rcode.to_text(answer.rcode())
    if not (answer.flags & dns.flags.RA and answer.answer) or answer.flags & dns.flags.AA:
        return Said(f"it looks nothing up for strangers ({rcode}, {len(answer.answer)} answers)")
    found = ", ".join(str(record) for rrset in answer.answer[:1] for record in list(rrset)[:2])
    return weakness(
        "open-resolver",
        "The name server looks names up for anybody",
        Severity.MEDIUM,
        f"asked over {'TCP' if over_tcp else 'UDP'} for the name servers of {name}: {found}",
        "https://www.rfc-editor.org/rfc/rfc5358",
        ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:C/C:N/I:N/A:L", 5.8),
    )


def checks(name: str) -> tuple[Check, ...]:
    """The check over each transport; `name` is what is asked for."""
    return tuple(
        Check(
            "recursion",
            lambda place, over_tcp=protocol == "tcp": recursion(place, name, over_tcp=over_tcp),  # type: ignore[misc]
            names=("domain",),
            ports=(53,),
            protocol=protocol,
        )
        for protocol in ("tcp", "udp")
    )
