"""Whose an address is: its prefix, the network that announces it, and its country; asked of RIPEstat's data API.

Two calls an address: `prefix-overview` says prefix, AS number and holder as seen in BGP; `rir-stats-country` the
country that the registry has written down for it (`rir-geo` is its deprecated former name). That is where the address
is registered, not where the machine is. Addresses of one /24 (IPv6: /48) are asked about once: routes are no longer
than that as a rule, so one answer holds for those of them that its prefix covers, while a larger prefix may have holes.

Special-purpose addresses (RFC 6890) are never asked about: nobody outside knows them, and nobody should learn of them.
"""

from __future__ import annotations

import asyncio
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from footprint.address_space import Span, carried_ipv4, special_purpose
from footprint.errors import LookupFailed, OutputNotUnderstood, PulsarError
from footprint.records import Coverage, Host, Outcome
from tasks.outside import Manners, Outside, side_by_side, why_not
from tasks.tool import Asking, Batch, Found, Intake, Pace, Risk, Tool

PACES = ((1, 0.5), (1, 1), (2, 2), (4, 5), (6, 10), (8, 20))
"""Calls at once (the service allows 8) and calls per second, for the intensities 0 to 5."""
MOST_BYTES = 1 << 20
COUNTRY = re.compile(r"[A-Z]{2}")
NO_COUNTRY = frozenset({"ZZ", "XX"})
"""Codes of ISO 3166-1 that say that it is not known."""


class RipestatOptions(BaseModel):
    """How RIPEstat is asked."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    parallel: int = Field(default=4, ge=1, le=8, description="Calls at once.")
    rate: float = Field(default=5, ge=0.1, le=100, description="Calls per second.")
    timeout: float = Field(default=30, ge=0.1, le=300, description="Seconds the service has for one whole answer.")
    tries: int = Field(default=3, ge=1, le=10, description="How often it is asked where it is busy or away.")
    pause: float = Field(default=2, ge=0.01, le=60, description="Seconds before the second attempt; doubled each time.")


@dataclass(frozen=True, slots=True)
class Owner:
    """What RIPEstat says of an address. `refusal` is why it said nothing, `others` further networks announcing it."""

    prefix: str | None = None
    asn: int | None = None
    holder: str | None = None
    country: str | None = None
    others: tuple[int, ...] = ()
    refusal: str = ""

    @property
    def is_known(self) -> bool:
        return bool(self.asn or self.country)


def configure(options: dict[str, Any], pace: Pace) -> RipestatOptions:
    """Complete the policy's options with what its intensity means here."""
    parallel, rate = PACES[pace.intensity]
    return RipestatOptions.model_validate({"parallel": parallel, "rate": rate, **options})


def probe(batch: Batch, options: RipestatOptions, asking: Asking) -> Iterator[Found]:
    """Ask about every address; yield its host with what is known of it, its coverage last.

    Raises the `UnitError` of the first call that got no answer: the rest was not looked at then.
    """
    hosts = {record.address: record for record in batch if isinstance(record, Host)}
    for address in [address for address in hosts if _is_special(address)]:
        del hosts[address]
        yield Coverage(address, Outcome.REFUSED, "a special-purpose address: nobody outside is asked about those")
    total, failure = len(hosts), None
    desk = Desk(asking.settings.ripestat_url, _outside(options, asking))
    try:
        addresses = tuple(sorted(hosts, key=lambda text: (":" in text, int(ip_address(text)))))
        for address, owner in side_by_side(addresses, desk.ask, asking, parallel=options.parallel, around=desk.outside):
            yield from _results(hosts.pop(address), owner)
            asking.report(100 * (total - len(hosts)) / total)
    except PulsarError as error:
        failure = error
    for address in hosts:
        yield Coverage(address, Outcome.NOT_LOOKED_AT, failure.detail if failure else why_not(asking))
    if failure:
        raise failure


def _outside(options: RipestatOptions, asking: Asking) -> Outside:
    manners = Manners(options.timeout, MOST_BYTES, options.rate, options.tries, options.pause)
    return Outside("ripestat", asking.settings, manners)


def _is_special(text: str) -> bool:
    address = ip_address(text)
    return any(special_purpose(Span.of(str(each))) for each in (address, *carried_ipv4(address)))


class Desk:
    """Where addresses are asked about, those of one neighbourhood one after another and, if may be, once."""

    def __init__(self, url: str, outside: Outside) -> None:
        self.outside = outside
        self._url = url.rstrip("/")
        self._owners: dict[str, list[Owner]] = defaultdict(list)
        self._turn: dict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def ask(self, address: str) -> tuple[str, Owner]:
        """The owner of an address, as known from a neighbour or asked for. Raises `UnitError`s of the calls."""
        near = _neighbourhood(address)
        async with self._turn[near]:
            known = next((owner for owner in self._owners[near] if _covers(owner.prefix, address)), None)
            if known is None:
                known = await self._owner(address)
                self._owners[near].append(known)
        return address, known

    async def _owner(self, address: str) -> Owner:
        overview = await self._data("prefix-overview", address)
        if isinstance(overview, str):
            return Owner(refusal=overview)
        owner = read_overview(overview, address)
        registered = await self._data("rir-stats-country", address)
        return owner if isinstance(registered, str) else replace(owner, country=read_country(registered))

    async def _data(self, question: str, address: str) -> dict[str, Any] | str:
        """The `data` of a call, or the word of its refusal."""
        asked = {"resource": address, "sourceapp": "pulsar"}
        reply = await self.outside.get(f"{self._url}/{question}/data.json", asked)
        if 400 <= reply.status < 500:
            return f"RIPEstat answered {reply.status}"
        if reply.status != 200:
            raise LookupFailed(
                f"ripestat: the service answered {reply.status}", hint="try later; see PULSAR_RIPESTAT_URL"
            )
        document = reply.json("ripestat")
        data = document.get("data") if isinstance(document, dict) else None
        if not isinstance(data, dict):
            raise OutputNotUnderstood("ripestat: the answer holds no data", hint="see PULSAR_RIPESTAT_URL")
        return data


def read_overview(data: dict[str, Any], address: str) -> Owner:
    """Prefix, AS number and holder in the data of `prefix-overview`; what is malformed is left out."""
    announced = [entry for entry in _list(data.get("asns")) if isinstance(entry, dict) and _is_asn(entry.get("asn"))]
    if not announced:
        return Owner()
    prefix = data.get("resource")
    holder = announced[0].get("holder")
    return Owner(
        prefix if isinstance(prefix, str) and _covers(prefix, address) else None,
        announced[0]["asn"],
        holder if isinstance(holder, str) and holder else None,
        others=tuple(entry["asn"] for entry in announced[1:]),
    )


def read_country(data: dict[str, Any]) -> str | None:
    """The country in the data of `rir-stats-country`, where there is one alone."""
    located = [entry.get("location") for entry in _list(data.get("located_resources")) if isinstance(entry, dict)]
    codes = {code for code in located if isinstance(code, str) and COUNTRY.fullmatch(code)} - NO_COUNTRY
    return codes.pop() if len(codes) == 1 else None


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _is_asn(value: object) -> bool:
    return type(value) is int and 0 < value < 1 << 32


def _network(text: str | None) -> IPv4Network | IPv6Network | None:
    try:
        return ip_network(text) if text and "/" in text else None
    except ValueError:
        return None


def _covers(prefix: str | None, address: str) -> bool:
    network = _network(prefix)
    return network is not None and ip_address(address) in network


def _neighbourhood(address: str) -> str:
    return str(ip_network((address, 48 if ":" in address else 24), strict=False))


def _results(host: Host, owner: Owner) -> Iterator[Found]:
    if owner.refusal:
        yield Coverage(host.address, Outcome.NOT_LOOKED_AT, owner.refusal)
        return
    if not owner.is_known:
        yield Coverage(host.address, Outcome.SILENT, "RIPEstat knows neither an announcement nor a country of it")
        return
    yield replace(host, asn=owner.asn, prefix=owner.prefix, holder=owner.holder, country=owner.country)
    others = ", ".join(f"AS{number}" for number in owner.others[:10])
    notes = [f"announced by {others} as well"] if others else []
    notes += [] if owner.asn else ["not announced"]
    yield Coverage(host.address, Outcome.ANSWERED, "; ".join(notes))


TOOL = Tool(
    name="ripestat",
    summary="Says whose an address is: AS number, prefix, holder and country (RIPEstat).",
    risk=Risk.PASSIVE,
    accepts=(Intake(Host, batch=64, key=lambda host: host.address, where=lambda host: not _is_special(host.address)),),
    produces=(Host,),
    options=RipestatOptions,
    configure=configure,
    probe=probe,
)
