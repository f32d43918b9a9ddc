"""How much one destination is sent: what an intensity means, what a unit wants, and what of it is to be had now.

A destination is a network: the /24 or /64 around an address. Its budget is in packets a second that we send it and in
connections open at once, whatever tool, scan or worker they come from. Nothing here asks a store: that is the ledger.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_network
from typing import NamedTuple
from uuid import UUID

from footprint.policy import ScanPolicy
from footprint.records import Endpoint, Host, Network, Record, Service
from footprint.settings import Settings

RESERVE = 0.15
"""The part of a budget that no sweep takes, so that a light question need not wait for a sweep's end."""
LEAST_PART = 0.25
"""A unit that would get less than this part of what it wants waits for more."""
LEAST_PART_OF_SWEEP = 0.75
"""The same of a sweep: it is long, and would still go slowly when those in its way are done."""
PREFIXES = {4: 24, 6: 64}
"""What is behind one uplink and one firewall, as far as can be told from outside."""


class Allowance(NamedTuple):
    """What one destination may be sent: packets a second, and connections at once."""

    packets: float
    connections: int


INTENSITIES = (
    Allowance(10, 2),
    Allowance(50, 4),
    Allowance(300, 16),
    Allowance(10_000, 64),
    Allowance(20_000, 128),
    Allowance(50_000, 256),
)
"""What the intensities 0 to 5 mean for one destination. Modules map what is their own beside it."""


def allowance_of(policy: ScanPolicy, settings: Settings) -> Allowance:
    """What a scan may send one destination: as its policy says, or its intensity; never more than the installation."""
    packets, connections = INTENSITIES[policy.intensity]
    packets = packets if policy.budget is None else policy.budget
    limit = settings.destination_rate
    return Allowance(packets if limit is None else min(packets, limit), policy.connections or connections)


@dataclass(frozen=True, slots=True)
class Load:
    """What a unit sends one destination: packets a second as it wants to, and at least if it is held to it.

    `connections` are those open at once, wanted and least. A sweep is heavy and long: of two, one waits.
    """

    packets: float
    least: float = 0.0
    connections: int = 1
    fewest: int = 1
    is_sweep: bool = False

    @property
    def is_burst(self) -> bool:
        """True where it cannot be held to a rate: what it sends within a second is all that is known."""
        return self.least >= self.packets


def paced_load(packets: float, rate: float) -> Load:
    """The load of a tool that sends so many packets in all, at a rate of its own that it can be held to."""
    return Load(min(packets, rate), 1.0, is_sweep=packets > rate)


@dataclass(frozen=True, slots=True)
class Share:
    """What a unit may send each of its destinations: packets a second, and connections at once."""

    packets: float
    connections: int


@dataclass(frozen=True, slots=True)
class Claim:
    """What a running unit takes of one key: a destination (`net:10.87.0.0/24`) or a tool's places (`tool:amass`)."""

    key: str
    share: Share
    is_sweep: bool
    scan_id: UUID
    module: str
    batch: int


@dataclass(frozen=True, slots=True)
class Request:
    """What a unit asks for before it is begun. `places` are the units that its tool may have at once, if limited."""

    module: str
    networks: tuple[str, ...]
    load: Load
    allowance: Allowance
    places: int | None = None

    @property
    def keys(self) -> tuple[str, ...]:
        """All that is claimed, in a stable order."""
        tool = () if self.places is None else (tool_key(self.module),)
        return (*tool, *map(network_key, self.networks))


@dataclass(frozen=True, slots=True)
class Held:
    """What a unit has to wait for, and who has it."""

    key: str
    holders: tuple[Claim, ...]

    @property
    def what(self) -> str:
        """The key in an operator's words: a network, or a place of a tool."""
        kind, _, name = self.key.partition(":")
        return name if kind == "net" else f"a place of {name}"


def network_key(cidr: str) -> str:
    """The key of a destination."""
    return f"net:{cidr}"


def tool_key(module: str) -> str:
    """The key of the units that a tool may have at once on the installation."""
    return f"tool:{module}"


def destinations(records: Iterable[Record]) -> tuple[str, ...]:
    """The networks (CIDR) that records lie in, sorted. Names have none; on loopback nothing leaves the machine."""
    return tuple(sorted({network for record in records for network in _networks_of(record)}))


def addresses_in(records: Iterable[Record]) -> int:
    """How many addresses hosts and networks are, one after the other."""
    return sum(ip_network(text).num_addresses for record in records if (text := _where(record)) and _networks(text))


def _networks_of(record: Record) -> tuple[str, ...]:
    text = _where(record)
    return _networks(text) if text else ()


def _where(record: Record) -> str | None:
    match record:
        case Host(address=text) | Service(address=text) | Endpoint(address=text) | Network(cidr=text):
            return text
        case _:
            return None


@lru_cache(maxsize=1 << 16)
def _networks(text: str) -> tuple[str, ...]:
    try:
        network = ip_network(text)
    except ValueError:
        return ()  # such a record is refused before anything is sent
    if network.is_loopback:
        return ()
    length = PREFIXES[network.version]
    if network.prefixlen >= length:
        return (str(network.supernet(new_prefix=length)),)
    return tuple(map(str, network.subnets(new_prefix=length)))


def decide(request: Request, claims: Sequence[Claim]) -> Share | Held:
    """What a unit gets beside the claims that there are: the same of each of its destinations, or it waits."""
    got: list[Share] = []
    for key in request.keys:
        own = tuple(claim for claim in claims if claim.key == key)
        if key == tool_key(request.module):
            if len(own) >= (request.places or 0):
                return Held(key, own)
            continue
        share = _left(request.load, request.allowance, own)
        if share is None:
            return Held(key, own)
        got.append(share)
    if not got:
        return alone(request.load, request.allowance)
    return Share(min(share.packets for share in got), min(share.connections for share in got))


def alone(load: Load, allowance: Allowance) -> Share:
    """What a unit gets of a destination where nobody else is."""
    ceiling = allowance.packets * (1 - RESERVE) if load.is_sweep else allowance.packets
    return Share(min(load.packets, max(ceiling, load.least)), min(load.connections, allowance.connections))


def _left(load: Load, allowance: Allowance, claims: Sequence[Claim]) -> Share | None:
    """What is left of one destination for this load, or None where that is too little."""
    if load.is_sweep and any(claim.is_sweep for claim in claims):
        return None
    wanted = alone(load, allowance)
    packets = min(wanted.packets, allowance.packets - sum(claim.share.packets for claim in claims))
    connections = min(wanted.connections, allowance.connections - sum(claim.share.connections for claim in claims))
    part = LEAST_PART_OF_SWEEP if load.is_sweep else LEAST_PART
    # What wants less than the least that it can be held to, gets what it wants.
    is_enough = packets >= max(min(load.least, load.packets), part * wanted.packets)
    if not is_enough or connections < max(load.fewest, LEAST_PART * wanted.connections):
        return None
    return Share(packets, connections)
