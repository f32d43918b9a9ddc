"""What a unit costs, as far as it can be told before anything is sent: how much of what, and at which rate.

Counts hold where every question is answered at the first asking: what is asked again because nobody answers is in
`most` only where the tool's own sweep asks twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, collapse_addresses, ip_network
from typing import Any

from footprint.records import Network, Record
from footprint.scope import Scope


class Sends(StrEnum):
    """What is counted."""

    PACKETS = "packets"
    REQUESTS = "requests"
    QUERIES = "queries"
    CONNECTIONS = "connections"
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class Effort:
    """How much a batch takes: from the least to the most (None where nobody knows), so many a second at most.

    `rate` is None where only the answers set the pace. `waits` are seconds that pass whatever the rate is.
    """

    sends: Sends
    least: int
    most: int | None
    rate: float | None = None
    waits: float = 0.0

    @property
    def seconds(self) -> float:
        """How long it takes at least."""
        return self.waits + (self.least / self.rate if self.rate else 0.0)


NO_EFFORT = Effort(Sends.NOTHING, 0, 0)


def total(counts: Iterable[int | None]) -> int | None:
    """The sum of counts; unknown where one of them is."""
    listed = list(counts)
    return None if None in listed else sum(filter(None, listed))


def most_of(counts: Iterable[int | None]) -> int | None:
    """The largest of counts; unknown where one of them is."""
    listed = list(counts)
    return None if None in listed else max(filter(None, listed), default=0)


def sum_of(efforts: Sequence[Effort]) -> Effort:
    """The effort of all units of one module together; `rate` stays that of each."""
    first = efforts[0]
    return Effort(first.sends, sum(each.least for each in efforts), total(each.most for each in efforts), first.rate)


def addresses_left(batch: Sequence[Record], scope: Scope) -> int:
    """How many addresses the networks of a batch hold, without those that are excluded."""
    networks = [ip_network(record.cidr) for record in batch if isinstance(record, Network)]
    return sum(network.num_addresses for network in networks) - sum(
        hole.num_addresses for network in networks for hole in holes(network, excluded_by(scope))
    )


@lru_cache(maxsize=8)
def excluded_by(scope: Scope) -> tuple[IPv4Network | IPv6Network, ...]:
    """The networks that a scope excludes, read once for all the units of a preview."""
    return tuple(map(ip_network, scope.excluded_networks()))


def holes(
    network: IPv4Network | IPv6Network, excluded: Iterable[IPv4Network | IPv6Network]
) -> tuple[IPv4Network | IPv6Network, ...]:
    """What of a network is excluded, each address once."""
    others = [other for other in excluded if other.version == network.version and network.overlaps(other)]
    # Of two networks that share an address, one is within the other.
    inside: list[Any] = [max(network, other, key=lambda each: each.prefixlen) for other in others]
    return tuple(collapse_addresses(inside))
