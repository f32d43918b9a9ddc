"""Which zones their name servers give to anybody, whole (AXFR, RFC 5936), and what is in them.

Needs no program. A name is asked for its own name servers (NS) where every name is asked; only a zone has some. Those
servers may be the target's: they are sent one request each, over TCP, and only at addresses that the scope allows. The
first that gives the zone is read to the end; of the others it is only learnt whether they would.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from footprint.errors import LookupFailed
from footprint.records import Coverage, DnsRecord, DomainName, Finding, Host, Outcome, Severity
from footprint.text import clean
from tasks.axfr import Bounds, End, Transfer, transfer
from tasks.dns import servers_of
from tasks.dns_records import Reply, fetch, names_in
from tasks.lookup import Lookup
from tasks.outside import why_not
from tasks.streaming import streamed
from tasks.tool import Asking, Batch, Found, Intake, Pace, Risk, Tool

PACES = ((1, 1), (2, 5), (5, 20), (10, 50), (20, 100), (50, 300))
"""Queries at once and queries per second, for the intensities 0 to 5."""
MAX_SERVERS = 8
"""Name servers, and addresses of them, that are asked of one zone: its owner decides how many it lists."""
TRANSFERS_AT_ONCE = 2
SHOWN = 10
REFERENCE = "https://www.rfc-editor.org/rfc/rfc5936"
CVSS, SCORE = "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:N/A:N", 7.5
"""Strangers read everything that the zone holds."""


class ZoneTransferOptions(BaseModel):
    """How zones are found, and how much of one is read."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    timeout: float = Field(default=5, ge=0.1, le=60, description="Seconds for a query, a connection, or one message.")
    seconds: float = Field(default=60, ge=0.1, le=3600, description="Seconds for one transfer in all.")
    records: int = Field(default=100_000, ge=1, le=1_000_000, description="Records read of one zone.")
    port: int = Field(default=53, ge=1, le=65535, description="Port of the zones' own name servers.")
    tries: int = Field(default=2, ge=1, le=10, description="How often each resolver is asked before giving up.")
    parallel: int = Field(default=10, ge=1, le=200, description="Queries at once.")
    rate: float = Field(default=50, ge=0.1, le=1000, description="Queries per second.")


def configure(options: dict[str, Any], pace: Pace) -> ZoneTransferOptions:
    """Complete the policy's options with what its intensity means here."""
    parallel, rate = PACES[pace.intensity]
    return ZoneTransferOptions.model_validate({"parallel": parallel, "rate": rate, **options})


@dataclass(frozen=True, slots=True)
class Attempt:
    """What came of one name: its name servers, those that the scope forbids, and what the others gave."""

    name: str
    delegation: Reply
    forbidden: tuple[str, ...] = ()
    transfers: tuple[Transfer, ...] = ()

    @property
    def given(self) -> list[Transfer]:
        return [each for each in self.transfers if each.is_given]


class Registrar:
    """Finds zones' name servers and asks them."""

    def __init__(self, options: ZoneTransferOptions, asking: Asking) -> None:
        self._options = options
        self._asking = asking
        self._slots = asyncio.Semaphore(TRANSFERS_AT_ONCE)
        self.lookup = Lookup(
            servers_of(asking.resolvers),
            timeout=options.timeout,
            tries=options.tries,
            parallel=options.parallel,
            rate=options.rate,
            wildcards=False,
        )

    async def ask(self, name: str) -> Attempt:
        """Ask for a name's zone, if it is one's."""
        delegation = await fetch(self.lookup, name, "NS")
        allowed: dict[str, str] = {}
        forbidden: list[str] = []
        for server in sorted(set(names_in(delegation)))[:MAX_SERVERS]:
            for host in await self._hosts(server):
                if self._asking.scope.decide(host).touch:
                    allowed.setdefault(host.address, server)
                else:
                    forbidden.append(f"{server} ({host.address})")
        transfers = await self._transfers(name, allowed)
        return Attempt(name, delegation, tuple(forbidden), tuple(transfers))

    async def _hosts(self, server: str) -> list[Host]:
        answer = await self.lookup.one(server)
        return [
            Host(address, server, trail.aliases[-1] if trail.aliases else None)
            for trail in answer.trails
            for address in trail.addresses
            if not trail.aliases or trail.aliases[-1] is not None
        ][:MAX_SERVERS]

    async def _transfers(self, zone: str, allowed: dict[str, str]) -> list[Transfer]:
        done: list[Transfer] = []
        bounds = Bounds(self._options.timeout, self._options.seconds, self._options.records)
        for address, server in [*allowed.items()][:MAX_SERVERS]:
            async with self._slots:
                enough = any(each.end is End.WHOLE for each in done)
                limits = replace(bounds, records=2) if enough else bounds
                done.append(await transfer(zone, server, address, self._options.port, limits))
        return done


def probe(batch: Batch, options: ZoneTransferOptions, asking: Asking) -> Iterator[Found]:
    """Ask for every zone; yield what is in those that are given, and each name's coverage, as they come.

    Raises `LookupFailed` at the end where no name server answered anything.
    """
    waiting = dict.fromkeys(record.name for record in batch if isinstance(record, DomainName))
    total = len(waiting)
    registrar = Registrar(options, asking)
    for attempt in streamed(tuple(waiting), registrar.ask, asking):
        del waiting[attempt.name]
        yield from _contents(attempt, asking)
        yield _coverage(attempt)
        asking.report(100 * (total - len(waiting)) / total)
    for name in waiting:
        yield Coverage(name, Outcome.NOT_LOOKED_AT, why_not(asking))
    if registrar.lookup.is_unheard and not asking.is_stopped():
        raise LookupFailed(
            "zone_transfer: no name server answered",
            hint="name servers that this worker can reach belong into PULSAR_RESOLVERS",
        )


def _contents(attempt: Attempt, asking: Asking) -> Iterator[Found]:
    """The names and records of a zone that was given, as far as they are in the scope, and that it was."""
    if not attempt.given:
        return
    best = max(attempt.given, key=lambda each: each.count)
    inside = [name for name in best.names if asking.scope.decide(DomainName(name)).touch]
    yield from (DomainName(name, best.names[name]) for name in inside)
    yield from (record for record in best.kept if asking.scope.decide(DomainName(record.name)).touch)
    yield Finding(
        "zone_transfer/allowed",
        attempt.name,
        title="A name server gives this zone to anybody, whole",
        severity=Severity.HIGH,
        evidence=clean(f"{_given(best)}; {_shown(inside)}; given by {', '.join(_servers(attempt.given))}", 1000),
        reference=REFERENCE,
        cvss=CVSS,
        score=SCORE,
    )


def _given(given: Transfer) -> str:
    said = [f"{given.count} records", f"{len(given.names)} names"]
    said += [f"{given.left_out} more than are kept"] if given.left_out else []
    said += [f"{given.foreign} of other zones"] if given.foreign else []
    said += [f"{len(given.wildcards)} wildcards ({given.wildcards[0]})"] if given.wildcards else []
    said += [given.note or str(given.end)] if given.end is not End.WHOLE else []
    return ", ".join(said)


def _shown(names: Sequence[str]) -> str:
    return ", ".join(names[:SHOWN]) + (", …" if len(names) > SHOWN else "")


def _servers(transfers: Sequence[Transfer]) -> list[str]:
    return [each.server for each in transfers]


def _coverage(attempt: Attempt) -> Coverage:
    delegation, name = attempt.delegation, attempt.name
    if not delegation.is_answered:
        outcome = Outcome.NOT_LOOKED_AT if delegation.rcode else Outcome.TIMED_OUT
        return Coverage(name, outcome, f"NS: {delegation.rcode or 'no answer'}")
    if not delegation.data:
        return Coverage(name, Outcome.SILENT, "no zone of its own")
    said = [f"{each.server}: {_word(each)}" for each in attempt.transfers]
    said += [f"not asked, out of the scope: {', '.join(attempt.forbidden)}"] if attempt.forbidden else []
    return Coverage(name, _outcome(attempt), clean("; ".join(said) or "its name servers have no address", 1000))


def _word(each: Transfer) -> str:
    return f"gave {_given(each)}" if each.is_given else f"{each.end} ({each.note})" if each.note else str(each.end)


def _outcome(attempt: Attempt) -> Outcome:
    ends = {each.end for each in attempt.transfers}
    if not attempt.transfers:
        return Outcome.REFUSED if attempt.forbidden else Outcome.SILENT
    if End.WHOLE not in ends and any(each.is_given for each in attempt.transfers):
        return Outcome.SAMPLED
    return Outcome.SILENT if ends == {End.SILENT} else Outcome.ANSWERED


TOOL = Tool(
    name="zone_transfer",
    summary="Asks zones' own name servers for the zones as a whole, and reads those that are given.",
    risk=Risk.SAFE,
    accepts=(Intake(DomainName, batch=50, key=lambda record: record.name, where=lambda record: not record.wildcard),),
    produces=(DomainName, DnsRecord, Finding),
    options=ZoneTransferOptions,
    configure=configure,
    probe=probe,
)
