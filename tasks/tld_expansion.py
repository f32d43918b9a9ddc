"""Which domains of the same name there are below other public suffixes: example.com, and example.org, example.de …

Asked of the name servers that this installation knows: a domain that is registered has name servers of its own (NS),
which the answers of a wildcard top-level domain have not. That somebody registered the name does not make it the same
organisation's: what is found is a hint, lies outside of the scan's scope, and is looked at only where that is widened.

The public suffix list is the one that the library ships (publicsuffix.org); nothing is downloaded.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import dns.asyncquery
import dns.exception
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
from publicsuffixlist import PublicSuffixList
from pydantic import BaseModel, ConfigDict, Field

from footprint.errors import LookupFailed, TargetRefused
from footprint.records import Coverage, DomainName, Outcome
from footprint.scope import Scope
from tasks.dns import servers_of
from tasks.effort import Effort, Sends
from tasks.outside import Turns, side_by_side, why_not
from tasks.tool import Asking, Batch, Found, Intake, Pace, Risk, Tool

PACES = ((1, 1), (2, 5), (5, 20), (10, 50), (20, 100), (50, 300))
"""Queries at once and queries per second, for the intensities 0 to 5."""
TOLERATED_SILENCE = 0.1
"""The part of all names that may stay without an answer before the unit counts as incomplete."""

_COMMON = """
com net org de co.uk cn com.cn nl info ru com.br fr eu it com.au co io biz ca pl ch us in co.in es be at se jp co.jp
online shop app dev ai xyz me tv uk
dk no fi cz pt com.pt ie ro hu gr sk si hr bg lt lv ee lu li is
com.mx mx com.ar ar cl com.co com.pe pe com.tr co.za com.sg sg com.hk hk com.tw tw co.kr kr com.my my co.id id co.th
in.th com.vn vn com.ph ph co.nz nz co.il ae com.sa com.eg ng com.ng co.ke ma com.pk ir com.ua ua by kz su
store site tech cloud club live pro top vip space website link group agency company digital global world today life
network systems solutions services software email media news blog wiki design studio center international finance
bank health care education academy energy industries engineering consulting ventures capital partners legal
gmbh ltd asia mobi name cc ws to gg fm sh org.uk net.au org.au ac nu im page one work team
"""
SUFFIXES = tuple(_COMMON.split())
"""Public suffixes, those first below which most domains are registered."""
PARKING = (
    *("sedoparking.com", "bodis.com", "parkingcrew.net", "above.com", "dan.com", "afternic.com", "undeveloped.com"),
    *(
        "parklogic.com",
        "domainparking.ru",
        "voodoo.com",
        "uniregistrymarket.link",
        "namebrightdns.com",
        "cashparking.com",
    ),
)
"""Whose name servers show that a domain is only for sale."""


class TldExpansionOptions(BaseModel):
    """Which siblings are looked for, and how."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    suffixes: int = Field(default=40, ge=1, le=len(SUFFIXES), description="Public suffixes to try, the usual first.")
    timeout: float = Field(default=3, ge=0.1, le=30, description="Seconds a name server has to answer a query.")
    tries: int = Field(default=2, ge=1, le=10, description="How often each name server is asked before giving up.")
    parallel: int = Field(default=10, ge=1, le=100, description="Queries at once.")
    rate: float = Field(default=50, ge=0.1, le=1000, description="Queries per second.")


def configure(options: dict[str, Any], pace: Pace) -> TldExpansionOptions:
    """Complete the policy's options with what its intensity means here."""
    parallel, rate = PACES[pace.intensity]
    return TldExpansionOptions.model_validate({"parallel": parallel, "rate": rate, **options})


@cache
def _public_suffixes() -> PublicSuffixList:
    return PublicSuffixList()


def registrable(name: str, *, accept_unknown: bool = False) -> tuple[str, str] | None:
    """The label that somebody registered, and the public suffix it is below; None where there is neither.

    `accept_unknown` takes the last label for a suffix where the list has none (`example.test`).
    """
    domain = _public_suffixes().privatesuffix(name, accept_unknown=accept_unknown)
    if not isinstance(domain, str):
        return None
    label, _, suffix = domain.partition(".")
    return label, suffix


@dataclass(frozen=True, slots=True)
class Delegation:
    """The name servers that a name has of its own; `is_answered` is False where nobody said."""

    name: str
    servers: frozenset[str] = frozenset()
    is_answered: bool = True

    @property
    def suffix(self) -> str:
        return self.name.partition(".")[2]

    @property
    def is_parked(self) -> bool:
        """True where one of them only serves domains that are for sale."""
        return any(server == host or server.endswith(f".{host}") for server in self.servers for host in PARKING)


class Delegations:
    """Asks for names' own name servers (NS), at a pace."""

    def __init__(self, options: TldExpansionOptions, asking: Asking) -> None:
        self._attempts = servers_of(asking.resolvers) * options.tries
        self._timeout = options.timeout
        self._parallel = options.parallel
        self._turns = Turns(options.rate)
        self._asking = asking

    def of(self, names: Sequence[str]) -> Iterator[Delegation]:
        """What is known of each name, as it comes."""
        return side_by_side(names, self._ask, self._asking, parallel=self._parallel, around=nullcontext())

    async def _ask(self, text: str) -> Delegation:
        name = dns.name.from_text(text)
        for address, port in self._attempts:
            await self._turns.take()
            try:
                response, _ = await dns.asyncquery.udp_with_fallback(
                    dns.message.make_query(name, "NS"),
                    address,
                    self._timeout,
                    port,
                    ignore_unexpected=True,
                    ignore_errors=True,
                )
            except (dns.exception.DNSException, OSError, EOFError):
                continue
            if response.rcode() in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
                return Delegation(text, _own_servers(response, name))
        return Delegation(text, is_answered=False)


def _own_servers(response: dns.message.Message, name: dns.name.Name) -> frozenset[str]:
    """Those in the answer, or in the referral of a server that does not recurse; names of others do not count."""
    return frozenset(
        record.target.to_text(omit_final_dot=True).lower()
        for rrset in (*response.answer, *response.authority)
        if rrset.rdtype == dns.rdatatype.NS and rrset.name == name
        for record in rrset
    )


@dataclass(slots=True)
class Siblings:
    """The candidates of one root, and what became of them."""

    domain: str
    candidates: tuple[str, ...]
    found: list[str] = field(default_factory=list)
    related: int = 0
    parked: int = 0
    anyway: int = 0
    """Below a suffix that has name servers for any name."""
    unanswered: int = 0
    answered: int = 0

    def look_up(self, delegations: Delegations) -> Iterator[Found]:
        """Yield those that are registered and in use."""
        known = {each.name: each for each in delegations.of((self.domain, *self.candidates))}
        own = known.pop(self.domain, Delegation(self.domain)).servers
        self.answered = sum(each.is_answered for each in known.values())
        self.unanswered = len(known) - self.answered
        registered = [known[name] for name in self.candidates if name in known and known[name].servers]
        nobody = _nobody_below({each.suffix for each in registered}, delegations)
        for each in registered:
            control = nobody.get(each.suffix)
            if control is None or not control.is_answered:
                self.unanswered += 1
            elif control.servers:
                self.anyway += 1
            elif each.is_parked:
                self.parked += 1
            else:
                self.found.append(each.name)
                self.related += bool(each.servers & own)
                yield DomainName(each.name)

    def coverage(self, root: str, asking: Asking) -> Coverage:
        """What is to be said of the root."""
        if not self.candidates:
            return Coverage(root, Outcome.SILENT, "it is below no public suffix, so it has no siblings")
        if not self.answered:
            reason = why_not(asking) if asking.is_over() else "no name server answered"
            return Coverage(root, Outcome.NOT_LOOKED_AT if asking.is_over() else Outcome.TIMED_OUT, reason)
        said = [f"{len(self.found)} of {len(self.candidates)} domains of the same name exist, perhaps of others"]
        said += [f"{self.related} of them share name servers with {self.domain}"] if self.related else []
        said += [f"{self.parked} that are parked were left out"] if self.parked else []
        said += [f"{self.anyway} below suffixes that answer for any name were left out"] if self.anyway else []
        said += [f"{self.unanswered} were not answered"] if self.unanswered else []
        if asking.is_over():
            return Coverage(root, Outcome.TIMED_OUT, "; ".join([*said, why_not(asking)]))
        if self.unanswered > TOLERATED_SILENCE * len(self.candidates):
            return Coverage(root, Outcome.TIMED_OUT, "; ".join(said))
        return Coverage(root, Outcome.ANSWERED if self.found else Outcome.SILENT, "; ".join(said))


def _nobody_below(suffixes: Iterable[str], delegations: Delegations) -> dict[str, Delegation]:
    """What is said of a name that nobody would register, by suffix."""
    names = tuple(f"px{secrets.token_hex(8)}.{suffix}" for suffix in sorted(suffixes))
    return {each.suffix: each for each in delegations.of(names)}


def _siblings_of(root: str, options: TldExpansionOptions, asking: Asking) -> Siblings:
    parts = registrable(root)
    if parts is None:
        return Siblings(root, ())
    label, own = parts
    names = (f"{label}.{suffix}" for suffix in SUFFIXES[: options.suffixes] if suffix != own)
    return Siblings(f"{label}.{own}", tuple(name for name in names if _may_be_asked(name, asking)))


def _may_be_asked(name: str, asking: Asking) -> bool:
    """False for what is excluded, and for what is a public suffix itself (`co.uk`, were it a sibling of `co.in`)."""
    try:
        asking.scope.admit(DomainName(name))
    except TargetRefused:
        return False
    return registrable(name) is not None


def effort(batch: Batch, options: TldExpansionOptions, scope: Scope) -> Effort:
    """Queries: one for each suffix, and another where the domain exists below it."""
    roots = sum(registrable(record.name) is not None for record in batch if isinstance(record, DomainName))
    return Effort(Sends.QUERIES, roots * options.suffixes, roots * (1 + 2 * options.suffixes), options.rate)


def probe(batch: Batch, options: TldExpansionOptions, asking: Asking) -> Iterator[Found]:
    """Look for the siblings of every domain; yield those that exist, the domain's coverage last.

    Raises `LookupFailed` at the end where no name server answered.
    """
    roots = dict.fromkeys(record.name for record in batch if isinstance(record, DomainName))
    delegations, unheard = Delegations(options, asking), False
    for number, root in enumerate(roots, start=1):
        siblings = _siblings_of(root, options, asking)
        if siblings.candidates:
            yield from siblings.look_up(delegations)
            unheard = unheard or not (siblings.answered or asking.is_over())
        yield siblings.coverage(root, asking)
        asking.report(100 * number / len(roots))
    if unheard:
        raise LookupFailed(
            "tld_expansion: no name server answered",
            hint="name servers that this worker can reach belong into PULSAR_RESOLVERS",
        )


TOOL = Tool(
    name="tld_expansion",
    summary="Finds domains of the same name below other public suffixes.",
    risk=Risk.PASSIVE,
    accepts=(Intake(DomainName, batch=1, key=lambda record: record.name, roots_only=True),),
    produces=(DomainName,),
    options=TldExpansionOptions,
    configure=configure,
    effort=effort,
    probe=probe,
)
