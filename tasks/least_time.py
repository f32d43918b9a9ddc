"""How long units take at least: as long as each takes by itself, and as what they share lets them.

They share the scan's `concurrency`, the places of a tool on the installation, and the budgets of their destinations. Of
all that can be said of the least, the most counts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from footprint.budget import LEAST_PART, Allowance, Load, destinations
from footprint.records import Record
from footprint.scope import Scope
from tasks.effort import Effort
from tasks.pacing import load_of
from tasks.tool import Batch, Tool


@dataclass(frozen=True, slots=True)
class Planned:
    """A unit as it is alone at its destinations. `load` is what it asks for of each, None where it sends them nothing.

    `parts` says how much each destination (CIDR) is sent at least, in packets.
    """

    module: str
    effort: Effort
    load: Load | None
    parts: Mapping[str, int]

    @property
    def seconds(self) -> float:
        """How long it takes at least."""
        return self.effort.seconds


@dataclass(frozen=True, slots=True)
class Shared:
    """What the units of a scan share: `concurrency`, places by tool, and what one destination may be sent."""

    concurrency: int
    places: Mapping[str, int]
    allowance: Allowance


@dataclass(frozen=True, slots=True)
class Bound:
    """Seconds that cannot be undercut, and why, in words; empty where a unit itself takes so long."""

    seconds: float
    why: str = ""


def planned(tool: Tool, batch: Batch, wanted: Any, held: Any, scope: Scope) -> Planned:
    """A unit with options as the policy has them, and as they are held to what it is given of its destinations."""
    effort, load = _effort(tool, batch, held, scope), load_of(tool, batch, wanted)
    networks = destinations(batch) if load else ()
    if len(networks) == 1:
        return Planned(tool.name, effort, load, {networks[0]: effort.least})
    shares: dict[str, list[Record]] = {network: [] for network in networks}
    for record in batch if networks else ():
        if len(own := destinations((record,))) == 1:
            shares[own[0]].append(record)
    parts = {key: _effort(tool, tuple(own), held, scope).least if own else 0 for key, own in shares.items()}
    return Planned(tool.name, effort, load, parts)


def least_time(units: Sequence[Planned], shared: Shared) -> Bound:
    """The least that units take together, and what makes it so long."""
    return max(_bounds(units, shared), key=lambda bound: bound.seconds)


def _bounds(units: Sequence[Planned], shared: Shared) -> Iterator[Bound]:
    yield Bound(max((unit.seconds for unit in units), default=0.0))
    at_once = shared.concurrency
    yield Bound(sum(unit.seconds for unit in units) / at_once, f"the policy's concurrency, {at_once}")
    for module, places in shared.places.items():
        together = sum(unit.seconds for unit in units if unit.module == module)
        yield Bound(together / places, f"PULSAR_TOOL_LIMITS, {module}:{places}")
    sent: dict[str, list[Planned]] = {}
    for unit in units:
        for network in unit.parts:
            sent.setdefault(network, []).append(unit)
    for network, those in sent.items():
        yield from _at_destination(network, those, shared.allowance)


def _at_destination(network: str, units: Sequence[Planned], allowance: Allowance) -> Iterator[Bound]:
    packets = sum(unit.parts[network] for unit in units)
    yield Bound(packets / allowance.packets, f"the budget of {network}, {allowance.packets:,.0f} packets a second")
    sweeps = [unit.seconds for unit in units if unit.load and unit.load.is_sweep]
    yield Bound(sum(sweeps), f"sweeps of {network}, which follow one another" if len(sweeps) > 1 else "")
    held = sum(_fewest(unit.load, allowance) * unit.seconds for unit in units if unit.load)
    yield Bound(held / allowance.connections, f"{allowance.connections} connections at once to {network}")


def _fewest(load: Load, allowance: Allowance) -> float:
    """The connections that a unit holds at least while it runs, however few are left."""
    return max(load.fewest, LEAST_PART * min(load.connections, allowance.connections))


def least_of_one(unit: Planned, allowance: Allowance) -> float:
    """Seconds that each of many such units of one record takes of one destination.

    What cannot be held to a rate has its part of the budget for a second.
    """
    burst = unit.load.packets / allowance.packets if unit.load and unit.load.is_burst else 0.0
    return max(unit.seconds, burst)


def _effort(tool: Tool, batch: Batch, options: Any, scope: Scope) -> Effort:
    assert tool.effort is not None, tool.name
    return tool.effort(batch, options, scope)
