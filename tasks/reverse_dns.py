"""Which names the addresses of a network say they have: PTR records, asked of name servers and never of the target.

Every PTR record is kept as what it is. A name goes further only where it is inside of the scope: any other is said in
the coverage, since whoever owns an address may write any name there. Aliases of delegated parts of a network are
followed (RFC 2317). Names that are made of the addresses themselves, as whole networks of subscribers have, or one
name for all, are kept as a sample.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any

import dns.flags
import dns.message
import dns.name
import dns.reversename
from pydantic import BaseModel, ConfigDict, Field

from footprint.errors import InvalidTarget, LookupFailed
from footprint.records import Coverage, DnsRecord, DomainName, Host, Network, Outcome, Record, subject_of
from footprint.scope import Scope
from footprint.target import parse_name
from tasks.dns import PACES, servers_of
from tasks.effort import Effort, Sends, addresses_left
from tasks.lookup import MAX_ALIASES, Lookup, answered
from tasks.streaming import streamed
from tasks.tool import Asking, Batch, Found, Intake, Pace, Risk, Tool

MAX_NAMES = 16
"""Names kept of one address: whoever owns its zone decides how many it lists."""
MAX_ASKED = 4096
"""Addresses of one network that are asked about."""
ALIKE = 16
"""At least so many addresses of a network, and half of them, with names of one pattern are a sample."""
KEPT_ALIKE = 3
TOLD = 5
"""Names outside of the scope that a note lists."""

Address = IPv4Address | IPv6Address


class ReverseDnsOptions(BaseModel):
    """How addresses are looked up."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    timeout: float = Field(default=2, ge=0.1, le=30, description="Seconds a name server has to answer a query.")
    tries: int = Field(default=2, ge=1, le=10, description="How often each name server is asked before giving up.")
    parallel: int = Field(default=10, ge=1, le=200, description="Queries at once.")
    rate: float = Field(default=50, ge=0.1, le=1000, description="Queries per second.")


def configure(options: dict[str, Any], pace: Pace) -> ReverseDnsOptions:
    """Complete the policy's options with what its intensity means here."""
    parallel, rate = PACES[pace.intensity]
    return ReverseDnsOptions.model_validate({"parallel": parallel, "rate": rate, **options})


@dataclass(frozen=True, slots=True)
class Named:
    """What an address is called, by the question's name: the names kept, and what is to be said of the others."""

    question: str
    rcode: str
    names: tuple[str, ...]
    remark: str


class Inquiry:
    """The questions of one unit."""

    def __init__(self, options: ReverseDnsOptions, asking: Asking) -> None:
        self.lookup = Lookup(servers_of(asking.resolvers), wildcards=False, **options.model_dump())

    async def ask(self, question: str) -> Named:
        """Ask for PTR, and ask on where a server that does not recurse left an alias open."""
        owner, rcode = dns.name.from_text(question), ""
        targets: list[dns.name.Name] = []
        for _ in range(MAX_ALIASES):
            response, rcode = await self.lookup.exchange(owner, "PTR")
            if response is None:
                break
            asked, (owner, targets) = owner, _read(response, owner)
            # A server that recursed has said all there is.
            if targets or owner == asked or rcode == "NXDOMAIN" or response.flags & dns.flags.RA:
                break
        return Named(question, rcode, *_kept(targets))


def _read(response: dns.message.Message, owner: dns.name.Name) -> tuple[dns.name.Name, list[dns.name.Name]]:
    """Where the aliases of an answer end, and what names it gives there."""
    for _ in range(MAX_ALIASES):
        if not (alias := answered(response, owner, "CNAME")):
            break
        owner = alias[0].target
    return owner, [pointer.target for pointer in answered(response, owner, "PTR")]


def _kept(targets: Sequence[dns.name.Name]) -> tuple[tuple[str, ...], str]:
    names, unfit = set(), 0
    for target in targets:
        try:
            names.add(parse_name(target.to_text()))
        except InvalidTarget:
            unfit += 1
    # Servers rotate the order; sorted, two scans keep the same ones of too many.
    kept = tuple(sorted(names)[:MAX_NAMES])
    remarks = [f"{unfit} of its names are no host names"] if unfit else []
    if len(kept) < len(names):
        remarks.append(f"only {MAX_NAMES} of its {len(names)} names were kept")
    return kept, ", ".join(remarks)


def probe(batch: Batch, options: ReverseDnsOptions, asking: Asking) -> Iterator[Found]:
    """Ask for the names of every address of a batch; yield what is found of each record together, its coverage last.

    Raises `LookupFailed` at the end where no name server answered anything.
    """
    asked = {record: _addresses(record, asking) for record in batch if isinstance(record, Host | Network)}
    questions = {dns.reversename.from_address(str(at)).to_text(True): at for each in asked.values() for at in each}
    inquiry = Inquiry(options, asking)
    known: dict[Address, Named] = {}
    for named in streamed(tuple(questions), inquiry.ask, asking):
        known[questions[named.question]] = named
        asking.report(100 * len(known) / len(questions))
    for record, addresses in asked.items():
        yield from _found(record, addresses, known, asking)
    if inquiry.lookup.is_unheard and not asking.is_stopped():
        raise LookupFailed(
            "reverse_dns: no name server answered",
            hint="name servers that this worker can reach belong into PULSAR_RESOLVERS",
        )


def effort(batch: Batch, options: ReverseDnsOptions, scope: Scope) -> Effort:
    """Queries: one for each address, where name servers follow aliases themselves."""
    hosts = sum(isinstance(record, Host) for record in batch)
    networks = [record for record in batch if isinstance(record, Network)]
    small = [each for each in networks if ip_network(each.cidr).num_addresses <= MAX_ASKED]
    asked = hosts + addresses_left(small, scope)
    return Effort(Sends.QUERIES, asked, asked, options.rate)


def _addresses(record: Host | Network, asking: Asking) -> tuple[Address, ...]:
    """The addresses of a record, without those that the scope keeps out; none of a network that is too large."""
    if isinstance(record, Host):
        return (ip_address(record.address),)
    network = ip_network(record.cidr)
    if network.num_addresses > MAX_ASKED:
        return ()
    return tuple(address for address in network if asking.scope.decide(Host(str(address))).touch)


def _found(
    record: Host | Network, addresses: Sequence[Address], known: dict[Address, Named], asking: Asking
) -> Iterator[Found]:
    here = {address: known[address] for address in addresses if address in known}
    pattern, alike = _pattern(here, len(addresses))
    kept = {address: named for address, named in here.items() if address not in alike[KEPT_ALIKE:]}
    names = dict.fromkeys(name for named in kept.values() for name in named.names)
    inside = [name for name in names if asking.scope.decide(DomainName(name)).touch]
    yield from (DomainName(name) for name in inside)
    yield from (DnsRecord(named.question, "PTR", name) for named in kept.values() for name in named.names)
    remarks = [
        f"{len(alike)} addresses have names like {pattern}, {KEPT_ALIKE} of them were kept" if alike else "",
        _outside([name for name in names if name not in inside]),
        *(f"{address}: {named.remark}" for address, named in list(kept.items())[:TOLD] if named.remark),
    ]
    yield _coverage(record, addresses, here, "; ".join(filter(None, remarks)), is_sampled=bool(alike))


def _outside(names: Sequence[str]) -> str:
    more = f" and {len(names) - TOLD} more" if len(names) > TOLD else ""
    return f"outside of the scope: {', '.join(names[:TOLD])}{more}" if names else ""


def _pattern(here: dict[Address, Named], asked: int) -> tuple[str, list[Address]]:
    """The pattern that most addresses have their names from, and those addresses; none where there is no such one."""
    patterns = {address: _likeness(address, named.names[0]) for address, named in here.items() if named.names}
    commonest = Counter(patterns.values()).most_common(1)
    if not commonest or commonest[0][1] < max(ALIKE, asked / 2):
        return "", []
    pattern = commonest[0][0]
    return pattern, [address for address, each in patterns.items() if each == pattern]


_NUMBERS = {4: re.compile(r"\d+"), 6: re.compile(r"(?<![a-z0-9])[0-9a-f]+(?![a-z0-9])")}


def _likeness(address: Address, name: str) -> str:
    """A name with `#` for every number in it that is a part of the address, or all of it in hexadecimal digits."""
    whole = address.packed.hex()
    base = 10 if address.version == 4 else 16
    parts = set(address.packed) if base == 10 else {int(group, 16) for group in address.exploded.split(":")}
    return _NUMBERS[address.version].sub(
        lambda match: "#" if int(match[0], base) in parts else match[0], name.replace(whole, "#")
    )


def _coverage(
    record: Record, addresses: Sequence[Address], here: dict[Address, Named], remarks: str, *, is_sampled: bool
) -> Coverage:
    subject = subject_of(record)
    if not addresses:
        return Coverage(subject, Outcome.NOT_LOOKED_AT, f"over {MAX_ASKED} addresses, or none that may be asked about")
    named = sum(bool(each.names) for each in here.values())
    failed = Counter(each.rcode or "no answer" for each in here.values() if each.rcode not in ("NOERROR", "NXDOMAIN"))
    notes = [f"{named} of {len(addresses)} addresses have a name" if isinstance(record, Network) else "", remarks]
    if failed:
        notes.append(", ".join(f"{count} times {rcode}" for rcode, count in failed.most_common()))
    note = "; ".join(filter(None, notes))
    if len(here) < len(addresses):
        return Coverage(subject, Outcome.NOT_LOOKED_AT, f"it ended with {len(here)} of its addresses asked: {note}")
    if failed.total() == len(addresses):
        is_mute = set(failed) == {"no answer"}
        return Coverage(subject, Outcome.TIMED_OUT if is_mute else Outcome.NOT_LOOKED_AT, note)
    if is_sampled:
        return Coverage(subject, Outcome.SAMPLED, note)
    return Coverage(subject, Outcome.ANSWERED if named else Outcome.SILENT, note)


def _is_elsewhere(record: Network | Host) -> bool:
    """Name servers know nothing of loopback: it is another machine's everywhere (RFC 6761)."""
    return not ip_network(subject_of(record)).is_loopback


TOOL = Tool(
    name="reverse_dns",
    summary="Asks which names the addresses of networks and hosts say they have, and follows those inside the scope.",
    risk=Risk.PASSIVE,
    accepts=(
        Intake(Network, batch=4, key=lambda network: network.cidr, where=_is_elsewhere),
        # A host that was found in a network was asked about with it.
        Intake(
            Host,
            batch=64,
            key=lambda host: host.address,
            where=lambda host: host.name is not None and _is_elsewhere(host),
        ),
        Intake(Host, batch=64, key=lambda host: host.address, where=_is_elsewhere, roots_only=True),
    ),
    produces=(DomainName, DnsRecord),
    options=ReverseDnsOptions,
    configure=configure,
    effort=effort,
    probe=probe,
)
