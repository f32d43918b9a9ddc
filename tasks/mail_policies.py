"""What a domain lets strangers do in its name by mail: its SPF (RFC 7208) and DMARC (RFC 7489) policies, judged.

Nothing is said where an answer is missing: only what was seen counts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import dns.name
import dns.rdatatype

from footprint.records import Finding, Severity
from footprint.text import clean
from tasks import spf
from tasks.dns_records import Reply, text_of
from tasks.suffixes import registered_domain

SPF, DMARC = "https://www.rfc-editor.org/rfc/rfc7208", "https://www.rfc-editor.org/rfc/rfc7489"
CVSS, SCORE = "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:L/A:N", 5.3
"""Anybody's mail passes for the domain's own."""
MAX_EVIDENCE = 1000


def weaknesses(replies: Sequence[Reply]) -> Iterator[Finding]:
    """The weaknesses of one zone's policies, from all that it was asked for."""
    known = {(reply.name, reply.rdtype): reply for reply in replies}
    if not replies or (texts := known.get((zone := replies[0].name, "TXT"))) is None:
        return
    is_whole = zone == registered_domain(zone)
    takes_mail = _takes_mail(known.get((zone, "MX")))
    if texts.is_answered:
        yield from _of_spf(zone, texts, is_whole=is_whole, takes_mail=takes_mail)
    said = known.get((f"_dmarc.{zone}", "TXT"))
    if is_whole and said and said.is_answered:
        yield from _of_dmarc(zone, said, takes_mail=takes_mail)


def _takes_mail(reply: Reply | None) -> bool:
    """True where there is a mail server; a lone dot says that there is none (RFC 7505)."""
    return reply is not None and any(each.exchange != dns.name.root for each in reply.data)


def _of_spf(zone: str, reply: Reply, *, is_whole: bool, takes_mail: bool) -> Iterator[Finding]:
    policies = sorted(text for text in _texts(reply) if spf.is_record(text))
    if not policies:
        # Zones below a domain rarely send mail: only the domain itself must have a policy.
        if is_whole:
            title = "No SPF policy: nothing says which servers may send mail in this domain's name"
            yield _finding("spf-missing", zone, title, _weight(takes_mail), "no TXT record begins with v=spf1", SPF)
        return
    evidence = "; ".join(policies)
    if faults := list(spf.faults(policies)):
        title = f"An SPF policy that receivers take for an error: {faults[0]}"
        yield _finding("spf-invalid", zone, title, Severity.LOW, evidence, SPF)
    else:
        yield from _of_attitude(zone, spf.attitude(policies[0]), evidence)


def _of_attitude(zone: str, attitude: str, evidence: str) -> Iterator[Finding]:
    if attitude == "+":
        title = "An SPF policy that lets every server send mail in this domain's name (+all)"
        yield _finding("spf-allows-all", zone, title, Severity.MEDIUM, evidence, SPF, (CVSS, SCORE))
    if attitude == "?":
        title = "An SPF policy that says nothing of the servers that it does not name (?all)"
        yield _finding("spf-allows-all", zone, title, Severity.LOW, evidence, SPF)


def _of_dmarc(zone: str, reply: Reply, *, takes_mail: bool) -> Iterator[Finding]:
    policies = sorted(text for text in _texts(reply) if _tags(text).get("v") == "DMARC1")
    evidence = "; ".join(policies) or f"_dmarc.{zone} has no TXT record that begins with v=DMARC1"
    if len(policies) != 1:
        # Several count as none (RFC 7489, 6.6.3).
        title = "No DMARC policy: receivers are not told to refuse mail that is forged in this domain's name"
        yield _finding("dmarc-missing", zone, title, _weight(takes_mail), evidence, DMARC)
    elif _tags(policies[0]).get("p", "").lower() not in ("quarantine", "reject"):
        title = "A DMARC policy that asks nobody to refuse forged mail (p=none)"
        yield _finding("dmarc-none", zone, title, Severity.LOW, evidence, DMARC)


def _texts(reply: Reply) -> list[str]:
    return [text_of(each) for each in reply.data if each.rdtype == dns.rdatatype.TXT]


def _tags(text: str) -> dict[str, str]:
    """A policy's tags (RFC 7489, 6.4); empty where the version is not its first."""
    pairs = [part.partition("=") for part in text.split(";")]
    if pairs[0][0].strip().lower() != "v":
        return {}
    return {name.strip().lower(): value.strip() for name, _, value in reversed(pairs)}


def _weight(takes_mail: bool) -> Severity:
    return Severity.MEDIUM if takes_mail else Severity.LOW


def _finding(
    rule: str,
    zone: str,
    title: str,
    severity: Severity,
    evidence: str,
    reference: str,
    rating: tuple[str, float] | None = None,
) -> Finding:
    vector, score = rating or (None, None)
    return Finding(
        f"dns/{rule}",
        zone,
        title=title,
        severity=severity,
        evidence=clean(evidence, MAX_EVIDENCE),
        reference=reference,
        cvss=vector,
        score=score,
    )
