"""Which addresses a name has, which names it is an alias of, and what its zone says of itself.

Asked of name servers, never of the target; needs no program and no privilege. Asks for A, then for AAAA, with no search
list, over UDP and, where an answer is truncated, over TCP; then for the zone's own records (`dns_records`). A zone with
a wildcard (RFC 4592) answers any name: names that nobody would choose are asked below each parent. Those that are
answered alike prove nothing: each is marked so, and a few samples of a level stand for all.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import dns.resolver
from pydantic import BaseModel, ConfigDict, Field

from footprint.errors import LookupFailed, PlatformError
from footprint.records import Coverage, DnsRecord, DomainName, Finding, Host, Outcome
from footprint.target import canonical_address
from tasks import dangling, mail_policies
from tasks.dns_records import Reply, names_in, notes_of, records_of, survey
from tasks.lookup import Answer, Lookup, Server
from tasks.streaming import streamed
from tasks.tool import Asking, Batch, Found, Intake, Pace, Risk, Tool

PACES = ((1, 1), (2, 5), (5, 20), (10, 50), (20, 100), (50, 300))
"""Queries at once and queries per second, for the intensities 0 to 5."""

_ENDPOINT = re.compile(r"(?:\[([^\]]+)\]|([0-9.]+))(?::([0-9]{1,5}))?")


class DnsOptions(BaseModel):
    """How names are looked up."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    timeout: float = Field(default=2, ge=0.1, le=30, description="Seconds a name server has to answer a query.")
    tries: int = Field(default=2, ge=1, le=10, description="How often each name server is asked before giving up.")
    parallel: int = Field(default=10, ge=1, le=200, description="Queries at once.")
    rate: float = Field(default=50, ge=0.1, le=1000, description="Queries per second.")
    wildcards: bool = Field(default=True, description="Find out which names only a wildcard answers for.")
    samples: int = Field(
        default=3, ge=1, le=50, description="Names of a level whose addresses count where a wildcard answers for all."
    )
    records: bool = Field(default=True, description="Ask for zones, and zones for NS, MX, TXT, CAA, SRV and DMARC.")


def configure(options: dict[str, Any], pace: Pace) -> DnsOptions:
    """Complete the policy's options with what its intensity means here."""
    parallel, rate = PACES[pace.intensity]
    return DnsOptions.model_validate({"parallel": parallel, "rate": rate, **options})


def probe(batch: Batch, options: DnsOptions, asking: Asking) -> Iterator[Found]:
    """Look every name up; yield what each led to as it comes, its coverage last.

    Raises `LookupFailed` at the end where no name server answered anything.
    """
    waiting = dict.fromkeys(record.name for record in batch if isinstance(record, DomainName))
    total = len(waiting)
    inquiry = Inquiry(options, asking)
    crowd: list[Known] = []
    for known in streamed(tuple(waiting), inquiry.ask, asking):
        del waiting[known.answer.name]
        if known.answer.wildcard:
            crowd.append(known)
        else:
            yield from _told(known, asking)
        asking.report(100 * (total - len(waiting)) / total)
    yield from _collapsed(crowd, options.samples)
    is_stopped = asking.is_stopped()
    reason = "the scan was stopped" if is_stopped else "the time for this unit ran out"
    for name in waiting:
        yield Coverage(name, Outcome.NOT_LOOKED_AT, reason)
    if inquiry.lookup.is_unheard and not is_stopped:
        raise LookupFailed(
            "dns: no name server answered", hint="name servers that this worker can reach belong into PULSAR_RESOLVERS"
        )


@dataclass(frozen=True, slots=True)
class Known:
    """What came of one name: its addresses and aliases, the other records, and an alias that leads nowhere."""

    answer: Answer
    replies: tuple[Reply, ...] = ()
    dangling: Finding | None = None


class Inquiry:
    """The questions of one unit."""

    def __init__(self, options: DnsOptions, asking: Asking) -> None:
        self._records = options.records
        self.lookup = Lookup(
            servers_of(asking.resolvers),
            timeout=options.timeout,
            tries=options.tries,
            parallel=options.parallel,
            rate=options.rate,
            wildcards=options.wildcards,
        )

    async def ask(self, name: str) -> Known:
        """Ask all there is to ask of one name."""
        answer = await self.lookup.one(name)
        replies = await survey(self.lookup, answer) if self._records else ()
        return Known(answer, replies, await dangling.look(self.lookup, answer))


def _told(known: Known, asking: Asking) -> Iterator[Found]:
    """The records of a name, the names that its zone's data mention as far as they are in the scope, its coverage."""
    yield from _records(known.answer)
    for reply in known.replies:
        yield from records_of(reply)
    mentioned = dict.fromkeys(name for reply in known.replies for name in (reply.zone, *names_in(reply)) if name)
    domains = [DomainName(name) for name in mentioned if name != known.answer.name]
    yield from (domain for domain in domains if asking.scope.decide(domain).touch)
    yield from mail_policies.weaknesses(known.replies)
    yield from [known.dangling] if known.dangling else []
    yield _coverage(known)


def _collapsed(crowd: list[Known], samples: int) -> Iterator[Found]:
    """Names that only a wildcard answers for: all are marked, and the first of each level lead to addresses."""
    levels: dict[str, list[Known]] = {}
    for known in sorted(crowd, key=lambda known: known.answer.name):
        levels.setdefault(known.answer.name.partition(".")[2], []).append(known)
    for parent, alike in levels.items():
        note = f"a wildcard answers below {parent}: {alike[0].answer.name} stands for {len(alike)} names"
        yield from [first] if (first := alike[0].dangling) else []
        for known in alike[:samples]:
            yield from _records(known.answer)
            yield _coverage(known)
        for known in alike[samples:]:
            yield DomainName(known.answer.name, known.answer.alias, wildcard=True)
            yield Coverage(known.answer.name, Outcome.SAMPLED, note)


def servers_of(resolvers: tuple[str, ...], resolv_conf: str = "/etc/resolv.conf") -> tuple[Server, ...]:
    """Addresses and ports of the name servers to ask: the given ones, or else the system's.

    Takes `address`, `address:port` and `[address]:port`. Raises `PlatformError` for anything else.
    """
    if resolvers:
        return tuple(_server(text) for text in resolvers)
    try:
        system = dns.resolver.Resolver(resolv_conf)
    except dns.resolver.NoResolverConfiguration:
        raise LookupFailed("dns: this worker knows no name server", hint="name some in PULSAR_RESOLVERS") from None
    return tuple((str(address), system.port) for address in system.nameservers)


def _server(text: str) -> Server:
    if address := canonical_address(text):
        return address, 53
    if (match := _ENDPOINT.fullmatch(text)) and (address := canonical_address(match[1] or match[2])):
        port = int(match[3] or 53)
        if 0 < port < 65536:
            return address, port
    raise PlatformError(
        "dns: a name server is not given by its address",
        hint="correct PULSAR_RESOLVERS: 192.0.2.53, 192.0.2.53:5353 or [2001:db8::53]:5353, separated by commas",
    )


def _records(answer: Answer) -> list[Found]:
    domains: dict[str, DomainName] = {}
    hosts: dict[str, Host] = {}
    for trail in answer.trails:
        chain = (answer.name, *trail.aliases)
        # The last alias is known to exist only where the question got through to it.
        reached = chain if trail.rcode == "NOERROR" else chain[:-1]
        for owner, cname in zip(reached, (*chain[1:], None), strict=False):
            if owner is not None:
                domains.setdefault(owner, DomainName(owner, cname, answer.wildcard and owner == answer.name))
        # Without the name of its last alias an address would look like the name's own: not recorded.
        if not trail.aliases or trail.aliases[-1] is not None:
            via = trail.aliases[-1] if trail.aliases else None
            hosts.update({address: Host(address, answer.name, via) for address in trail.addresses})
    return [*domains.values(), *hosts.values()]


def _coverage(known: Known) -> Coverage:
    answer = known.answer
    rcodes = sorted({trail.rcode for trail in answer.trails if trail.rcode})
    if answer.exists:
        notes = dict.fromkeys(note for note in (*_notes(answer), *notes_of(known.replies)) if note)
        return Coverage(answer.name, Outcome.ANSWERED, "; ".join(notes))
    if "NXDOMAIN" in rcodes:
        return Coverage(answer.name, Outcome.SILENT, "does not exist (NXDOMAIN)")
    if rcodes:
        return Coverage(answer.name, Outcome.NOT_LOOKED_AT, f"the name servers answered {', '.join(rcodes)}")
    return Coverage(answer.name, Outcome.TIMED_OUT, "no name server answered")


def _notes(answer: Answer) -> Iterator[str]:
    if any(trail.rcode == "NXDOMAIN" for trail in answer.trails):
        yield "an alias of a name that does not exist (NXDOMAIN)"
    elif not answer.addresses:
        yield "has no address"
    for trail in answer.trails:
        if not trail.is_answered:
            yield f"{trail.rdtype}: {trail.rcode or 'no answer'}"
        if trail.addresses and trail.aliases and trail.aliases[-1] is None:
            yield "its addresses were left out: they are behind an alias that is no host name"
        yield trail.note
    yield answer.note


TOOL = Tool(
    name="dns",
    summary="Resolves names, follows aliases, tells wildcards apart, reads zones' records, and judges mail policies.",
    risk=Risk.PASSIVE,
    accepts=(Intake(DomainName, batch=50, key=lambda record: record.name),),
    produces=(DomainName, Host, DnsRecord, Finding),
    options=DnsOptions,
    configure=configure,
    probe=probe,
)
