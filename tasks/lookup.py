"""Questions to name servers: asked side by side at a pace, aliases followed, wildcards found out."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import dns.asyncquery
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype

from footprint.errors import InvalidTarget
from footprint.target import canonical_address, parse_name
from tasks.streaming import streamed
from tasks.tool import Asking

MAX_ALIASES = 16
MAX_ADDRESSES = 64
"""Addresses kept of one name and family: whoever owns a zone decides how many it lists."""
FIRST_SAMPLES, MORE_SAMPLES, MAX_ROUNDS = 2, 4, 4
"""Names asked to find a wildcard, and to learn all that it answers with: rounds until one brings nothing new."""

SOA = dns.rdatatype.SOA
Server = tuple[str, int]


@dataclass(slots=True)
class Trail:
    """Where one question led: the aliases followed, in order, and the addresses at their end.

    `rcode` is the last answer's word, or that of the failure; empty where no server answered. An alias that is no
    name as we keep them is None.
    """

    rdtype: str
    rcode: str = ""
    aliases: tuple[str | None, ...] = ()
    addresses: tuple[str, ...] = ()
    note: str = ""

    @property
    def is_answered(self) -> bool:
        return self.rcode in ("NOERROR", "NXDOMAIN")


@dataclass(frozen=True, slots=True)
class Answer:
    """What is known of one name, from the trails of its questions.

    `wildcard` is True where any other name would be answered alike; `note` says where that could not be found out.
    """

    name: str
    trails: tuple[Trail, ...]
    wildcard: bool = False
    note: str = ""

    @property
    def exists(self) -> bool:
        return any(trail.rcode == "NOERROR" or trail.aliases for trail in self.trails)

    @property
    def alias(self) -> str | None:
        return next((trail.aliases[0] for trail in self.trails if trail.aliases), None)

    @property
    def addresses(self) -> frozenset[str]:
        return frozenset(address for trail in self.trails for address in trail.addresses)


@dataclass(frozen=True, slots=True)
class Wildcard:
    """How a zone answers names that nobody chose; `note` says where that could not be found out.

    `is_steady` is False where it went on answering with something new.
    """

    answers: tuple[Answer, ...] = ()
    note: str = ""
    is_steady: bool = True

    def covers(self, answer: Answer) -> bool:
        """True where the name answers as any other would, a part of a rotating pool of addresses included."""
        if not self.answers:
            return False
        aliases = {each.alias for each in self.answers}
        if not self.is_steady:
            return bool(answer.alias) == any(aliases)
        if answer.alias:
            return answer.alias in aliases
        if not answer.addresses:
            return not any(each.addresses or each.alias for each in self.answers)
        sets = {each.addresses for each in self.answers}
        return answer.addresses in sets or (len(sets) > 1 and answer.addresses <= frozenset().union(*sets))


def answered_with(samples: Sequence[Answer]) -> frozenset[str | None]:
    """All that names were answered with: addresses, and aliases."""
    return frozenset(each for answer in samples for each in (*answer.addresses, answer.alias))


class Lookup:
    """The questions of one unit, on one event loop: paced, bounded, each parent's wildcard asked once."""

    def __init__(
        self, servers: tuple[Server, ...], *, timeout: float, tries: int, parallel: int, rate: float, wildcards: bool
    ) -> None:
        self._attempts = servers * tries
        self._timeout = timeout
        self._slots = asyncio.Semaphore(parallel)
        self._gap = 1 / rate
        self._next_turn = 0.0
        self._finds_wildcards = wildcards
        self._wildcards: dict[dns.name.Name, asyncio.Task[Wildcard]] = {}
        self._heard = self._unheard = 0

    @property
    def is_unheard(self) -> bool:
        """True where servers were asked and none ever answered."""
        return bool(self._unheard and not self._heard)

    async def one(self, text: str) -> Answer:
        """What a name is answered with, and whether any other would be answered alike."""
        name = dns.name.from_text(text)
        answer = await self._ask(name)
        parent = name.parent()
        # Two labels and the root's empty one: a top-level domain itself is not asked for wildcards.
        if not (self._finds_wildcards and answer.exists and len(parent) >= 3):
            return answer
        wildcard = await self._wildcard_below(parent)
        return replace(answer, wildcard=wildcard.covers(answer), note=wildcard.note)

    def _wildcard_below(self, parent: dns.name.Name) -> asyncio.Task[Wildcard]:
        if parent not in self._wildcards:
            self._wildcards[parent] = asyncio.create_task(self._ask_wildcard(parent))
        return self._wildcards[parent]

    async def _ask_wildcard(self, parent: dns.name.Name) -> Wildcard:
        samples = await self._samples(parent, FIRST_SAMPLES)
        if not all(answer.exists for answer in samples):
            is_known = all(trail.is_answered for answer in samples for trail in answer.trails)
            return Wildcard(note="" if is_known else "whether a wildcard answers could not be found out")
        for _ in range(MAX_ROUNDS):
            if all(answered_with([answer]) == answered_with(samples) for answer in samples):
                return Wildcard(tuple(samples))
            known = answered_with(samples)
            samples += [answer for answer in await self._samples(parent, MORE_SAMPLES) if answer.exists]
            if answered_with(samples) <= known:
                return Wildcard(tuple(samples))
        return Wildcard(tuple(samples), is_steady=False)

    async def _samples(self, parent: dns.name.Name, count: int) -> list[Answer]:
        """The answers to names that nobody would choose, until one does not exist; none where they are too long."""
        samples: list[Answer] = []
        while len(samples) < count and all(answer.exists for answer in samples):
            label = f"px{secrets.token_hex(8)}".encode()
            try:
                name = dns.name.Name((label, *parent.labels))
            except dns.name.NameTooLong:
                break
            samples.append(await self._ask(name))
        return samples

    async def _ask(self, name: dns.name.Name) -> Answer:
        text = name.to_text(omit_final_dot=True)
        four = await self._follow(name, "A")
        if four.rcode == "NXDOMAIN":
            return Answer(text, (four,))
        return Answer(text, (four, await self._follow(name, "AAAA")))

    async def _follow(self, name: dns.name.Name, rdtype: str) -> Trail:
        """Ask, and ask on where a server that does not recurse left an alias open."""
        trail, seen = Trail(rdtype), [name]
        while True:
            response, trail.rcode = await self.exchange(seen[-1], rdtype)
            if response is None or not _read(response, trail, seen):
                trail.aliases = tuple(_name_or_none(alias) for alias in seen[1:])
                return trail

    async def exchange(self, name: dns.name.Name, rdtype: str) -> tuple[dns.message.Message | None, str]:
        """The first answer that says something of the name, and its rcode; or None and the last failure's word."""
        failure = ""
        for address, port in self._attempts:
            async with self._slots:
                await self._take_turn()
                try:
                    response, _ = await dns.asyncquery.udp_with_fallback(
                        dns.message.make_query(name, rdtype),
                        address,
                        self._timeout,
                        port,
                        ignore_unexpected=True,
                        ignore_errors=True,
                    )
                except (dns.exception.DNSException, OSError, EOFError):
                    self._unheard += 1
                    continue
            self._heard += 1
            rcode = dns.rcode.to_text(response.rcode())
            if rcode in ("NOERROR", "NXDOMAIN"):
                return response, rcode
            failure = rcode
        return None, failure

    async def _take_turn(self) -> None:
        now = time.monotonic()
        turn = max(now, self._next_turn)
        self._next_turn = turn + self._gap
        await asyncio.sleep(turn - now)


def _read(response: dns.message.Message, trail: Trail, seen: list[dns.name.Name]) -> bool:
    """Follow the aliases of an answer into `seen`, take the addresses; True where the last alias is still open."""
    known = len(seen)
    while records := answered(response, seen[-1], "CNAME"):
        if records[0].target in seen:
            trail.note = "its aliases form a loop"
            return False
        if len(seen) > MAX_ALIASES:
            trail.note = f"more than {MAX_ALIASES} aliases in a row"
            return False
        seen.append(records[0].target)
    # Servers rotate the order; sorted, two scans keep the same ones of too many.
    addresses = sorted(str(canonical_address(each.address)) for each in answered(response, seen[-1], trail.rdtype))
    trail.addresses = tuple(addresses[:MAX_ADDRESSES])
    if len(addresses) > MAX_ADDRESSES:
        trail.note = f"only {MAX_ADDRESSES} of its {len(addresses)} addresses were kept"
    # A server that recursed, or that names the zone's SOA (RFC 2308), has said all there is.
    is_final = response.flags & dns.flags.RA or any(rrset.rdtype == SOA for rrset in response.authority)
    return len(seen) > known and not (addresses or trail.rcode == "NXDOMAIN" or is_final)


def answered(response: dns.message.Message, name: dns.name.Name, rdtype: str) -> list[Any]:
    kind = dns.rdatatype.from_text(rdtype)
    return list(response.get_rrset(response.answer, name, dns.rdataclass.IN, kind) or ())


def _name_or_none(alias: dns.name.Name) -> str | None:
    try:
        return parse_name(alias.to_text())
    except InvalidTarget:
        return None


def answers(lookup: Lookup, names: tuple[str, ...], asking: Asking) -> Iterator[Answer]:
    """Look names up and pass their answers on as they come, until all are there, the deadline, or a stop."""
    return streamed(names, lookup.one, asking)
