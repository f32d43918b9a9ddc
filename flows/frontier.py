"""Which unit of a scan comes next: plain Python, without Prefect, store or network.

Every record that a scan knows of is offered once to each module that accepts its kind. There is no barrier: a module
gets the records of its kind as soon as there are any and a place is free, in batches as large as have gathered by
then and the module takes.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from math import ceil
from typing import Protocol

from footprint.budget import destinations
from footprint.records import Endpoint, Finding, Host, Record, Service, subject_of
from footprint.scope import Decision, Scope
from footprint.store.units import Finished, Unit
from tasks.tool import Intake, Tool

LOOKED_AHEAD = 1024
"""Keys of a lane among which those of another destination are looked for, where the oldest may not go."""


TOO_FAR = "further from the target than the policy's depth"


@dataclass(frozen=True, slots=True)
class Bounds:
    """How far a scan goes: discoveries away from its target, and records in all."""

    depth: int
    records: int


class Door(Protocol):
    """Decides which units may begin now."""

    def is_bearable(self, unit: Unit) -> bool:
        """False where it will never pass, being too heavy: fewer records may."""

    def admit(self, unit: Unit) -> bool:
        """True where it may begin now."""


@dataclass(slots=True)
class _Lane:
    """Records of one module that may share a unit, by key, in the order they came."""

    tool: Tool
    intake: Intake
    waiting: OrderedDict[Hashable, list[Record]] = field(default_factory=OrderedDict)
    depth: int = 0

    @property
    def units(self) -> int:
        return ceil(len(self.waiting) / self.intake.batch)

    def remove(self, records: Iterable[Record]) -> None:
        """Take out what goes into a unit."""
        for record in records:
            key = self.intake.key(record)
            self.waiting[key].remove(record)
            if not self.waiting[key]:
                del self.waiting[key]

    def choices(self) -> Iterator[list[Hashable]]:
        """Keys for a unit: the oldest; and where those may not go, the oldest of each destination by itself."""
        yield list(islice(self.waiting, self.intake.batch))
        by_place: dict[tuple[str, ...], list[Hashable]] = {}
        for key, records in islice(self.waiting.items(), LOOKED_AHEAD):
            chosen = by_place.setdefault(destinations(records), [])
            if len(chosen) < self.intake.batch:
                chosen.append(key)
        if len(by_place) > 1:
            yield from by_place.values()


class Frontier:
    """The records found so far, and the units of work they give rise to.

    `tools` are the policy's modules, in the order in which they are served; `batches` are the numbers that an earlier
    attempt gave out, by module. `left_out` says, by subject, which
    records were kept out of further work and by which rule; `over_limit` and `too_deep` count those out of bounds.
    """

    def __init__(
        self, tools: Sequence[Tool], scope: Scope, bounds: Bounds, batches: Mapping[str, int] | None = None
    ) -> None:
        self.left_out: dict[str, str] = {}
        self.over_limit = 0
        self._tools = tuple(tools)
        self._scope = scope
        self._bounds = bounds
        self._known: set[Record] = set()
        self._far: set[Record] = set()
        self._hosts: dict[str, set[str]] = {}
        self._services: dict[str, dict[int, Service]] = {}
        self._given: set[tuple[str, Record]] = set()
        self._lanes: OrderedDict[tuple[str, str, str], _Lane] = OrderedDict()
        self._batches: Counter[str] = Counter(batches or {})

    def offer(self, records: Iterable[Record], depth: int = 0) -> None:
        """Take records in: those found by a unit of `depth` are one discovery further from the target."""
        for record in records:
            if not isinstance(record, Finding) and self._is_admitted(record, depth):
                for tool in self._tools:
                    self._queue(tool, record, depth)
                self.offer(self._endpoints(record), depth)

    def resume(self, finished: Sequence[Finished]) -> None:
        """Take up what was done before: nobody is given again what he had, and what was found is offered."""
        for done in finished:
            self._given.update((done.unit.module, record) for record in done.unit.records)
            self._batches[done.unit.module] = max(self._batches[done.unit.module], done.unit.batch)
        for done in finished:
            self.offer(done.found, done.unit.depth + 1)

    def _endpoints(self, record: Record) -> list[Endpoint]:
        """What a host or an identified service makes reachable, together with what was known before."""
        match record:
            case Host(address=address, name=name):
                names = self._hosts.setdefault(address, set())
                if name is not None:
                    names.add(name)
                services: Iterable[Service] = self._services.get(address, {}).values()
                return [_endpoint(service, name) for service in services]
            case Service(address=address, name=str()) if record.protocol == "tcp":
                self._services.setdefault(address, {})[record.port] = record
                return [_endpoint(record, name) for name in (None, *sorted(self._hosts.get(address, ())))]
            case _:
                return []

    def _decide(self, record: Record) -> Decision:
        """What the scope says; a service belongs to a host that is in it, or that was found to be."""
        decision = self._scope.decide(record)
        if decision.touch and isinstance(record, Service | Endpoint) and record.address not in self._hosts:
            return self._scope.decide(Host(record.address))
        return decision

    def _is_admitted(self, record: Record, depth: int) -> bool:
        subject = subject_of(record)
        decision = self._decide(record)
        if not decision.touch:
            if record not in self._known:
                self.left_out.setdefault(subject, decision.rule)
            return False
        self.left_out.pop(subject, None)
        if record not in self._known and len(self._known) >= self._bounds.records:
            self.over_limit += 1
            return False
        self._known.add(record)
        return self._is_near(record, depth)

    def _is_near(self, record: Record, depth: int) -> bool:
        if depth <= self._bounds.depth:
            self._far.discard(record)
            return True
        if any(tool.intake_of(record) and (tool.name, record) not in self._given for tool in self._tools):
            self._far.add(record)
        return False

    def kept_out(self) -> dict[str, str]:
        """All that was kept out of further work, by subject, with the rule; those over the limit are only counted."""
        far = {subject_of(record): TOO_FAR for record in self._far}
        return far | self.left_out

    @property
    def too_deep(self) -> int:
        """How many records would have been looked at, and are too far from the target."""
        return len(self._far)

    def _queue(self, tool: Tool, record: Record, depth: int) -> None:
        intake = tool.intake_of(record, is_root=depth == 0)
        if intake is None or (tool.name, record) in self._given:
            return
        self._given.add((tool.name, record))
        place = (tool.name, record.kind, intake.lane(record))
        lane = self._lanes.setdefault(place, _Lane(tool, intake))
        lane.waiting.setdefault(intake.key(record), []).append(record)
        lane.depth = max(lane.depth, depth)

    def take(self, running: Iterable[str] = (), door: Door | None = None, *, in_order: bool = False) -> Unit | None:
        """The next unit, or None while there is nothing to do: modules in the policy's order, oldest records first.

        `running` are the modules that are at work: those that come last wait for the others. A unit that the `door`
        does not let pass stays, and others pass it by, unless they are to go `in_order`.
        """
        for lane in self._ready(running):
            for chosen in lane.choices():
                unit = self._unit(lane, chosen)
                if door:
                    unit = _bearable(unit, lane.intake, door)
                if door is None or door.admit(unit):
                    self._batches[unit.module] = unit.batch
                    lane.remove(unit.records)
                    return unit
                if in_order:
                    return None
        return None

    def _ready(self, running: Iterable[str]) -> list[_Lane]:
        """The lanes that may be served, in the order in which they are."""
        last = {tool.name for tool in self._tools if tool.comes_last}
        served = {tool.name: number for number, tool in enumerate(self._tools)}
        ready = sorted((lane for lane in self._lanes.values() if lane.waiting), key=lambda lane: served[lane.tool.name])
        first = [lane for lane in ready if not lane.tool.comes_last]
        return first or ([] if set(running) - last else ready)

    def _unit(self, lane: _Lane, chosen: Sequence[Hashable]) -> Unit:
        records = tuple(record for key in chosen for record in lane.waiting[key])
        return Unit(lane.tool.name, self._batches[lane.tool.name] + 1, lane.depth, records)

    def waiting(self) -> dict[str, int]:
        """How many units are waiting, by module."""
        waiting: Counter[str] = Counter()
        for lane in self._lanes.values():
            waiting[lane.tool.name] += lane.units
        return {name: units for name, units in waiting.items() if units}


def _bearable(unit: Unit, intake: Intake, door: Door) -> Unit:
    """As much of a unit as may ever pass: fewer keys first, and at last fewer records of one; all where none may."""
    smaller = unit
    while len(smaller.records) > 1 and not door.is_bearable(smaller):
        keys = list(dict.fromkeys(intake.key(record) for record in smaller.records))
        kept = set(keys[: max(1, len(keys) // 2)])
        most = len(smaller.records) if len(keys) > 1 else len(smaller.records) // 2
        smaller = replace(unit, records=tuple(one for one in smaller.records if intake.key(one) in kept)[:most])
    return smaller if door.is_bearable(smaller) else unit


def _endpoint(service: Service, name: str | None) -> Endpoint:
    return Endpoint(service.address, service.port, name, service.name, service.tunnel, service.product)
