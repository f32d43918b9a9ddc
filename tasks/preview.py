"""What a scan of a target would do: modules, commands, how much of what is sent, and how long that takes at least.

Nothing is sent, resolved or started: commands come from the functions that scans use, and counts from what each
module says of its effort. What only a worker knows is assumed: raw sockets, and the usual version of each program.
"""

from __future__ import annotations

import shlex
import shutil
from collections import OrderedDict
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

from footprint.budget import Allowance, allowance_of, destinations
from footprint.errors import InstallationError, TooHeavy
from footprint.policy import ScanPolicy
from footprint.records import DomainName, Endpoint, Host, Network, Record, Service, subject_of
from footprint.scope import Scope
from footprint.seeds import seeds
from footprint.settings import Settings
from footprint.store import Store
from tasks.catalogue import tool_named
from tasks.effort import Effort, Sends, addresses_left, most_of, sum_of, total
from tasks.least_time import Planned, Shared, least_of_one, least_time, planned
from tasks.pacing import load_of, paced, too_heavy
from tasks.plan import Amount, File, Need, Preview, Run, Step, When
from tasks.preview_remarks import left_out, remarks, why_never
from tasks.reach import OPEN, Arrival, Outline
from tasks.runner import search_path
from tasks.tool import Batch, Binary, Command, Intake, Powers, Risk, Tool
from tasks.unit import command_of, options_of

SHOWN = 3
"""Units of a module whose commands are shown, and targets of a unit; all of them count."""
MOST_LEFT_OUT = 100
LOOPBACK = "127.0.0.1"


def preview(
    target: DomainName | Host | Network, policy: ScanPolicy, scope: Scope, settings: Settings, store: Store | None
) -> Preview:
    """Plan a scan that may be carried out. `store` is asked whether feeds were read, and nothing else."""
    roots = seeds(target)
    kept = [root for root in roots if scope.decide(root).touch]
    tools = [tool_named(name).here(settings) for name in policy.modules]
    planner = _Planner(policy, scope, settings, store, kept, Outline(tools, kept, scope, policy.depth))
    steps, units = [], []
    for tool in tools:
        step, efforts = planner.step(tool)
        steps.append(step)
        units += efforts
    bound = least_time(units, planner.shared)
    return Preview(
        target=subject_of(target),
        kind=target.kind,
        policy=policy.name,
        ports=policy.ports,
        addresses=addresses_left(kept, scope) if isinstance(target, Network) else None,
        left_out=tuple(islice(left_out(target, scope), MOST_LEFT_OUT)),
        steps=tuple(steps),
        totals=_totals(steps),
        seconds=bound.seconds,
        remarks=tuple(remarks(policy, steps, units, bound)),
    )


@dataclass(frozen=True, slots=True)
class _Planner:
    policy: ScanPolicy
    scope: Scope
    settings: Settings
    store: Store | None
    roots: Sequence[Record]
    outline: Outline

    @property
    def allowance(self) -> Allowance:
        """What one destination may be sent."""
        return allowance_of(self.policy, self.settings)

    @property
    def shared(self) -> Shared:
        """What its units share."""
        return Shared(self.policy.concurrency, self.settings.tool_limits, self.allowance)

    @property
    def is_local(self) -> bool:
        """True where the scan stays on loopback: there is no budget, and no rate."""
        roots = self.scope.roots
        return not any(isinstance(root, DomainName) for root in roots) and not destinations(roots)

    def step(self, tool: Tool) -> tuple[Step, list[Planned]]:
        """What a module would do, and each of its first units."""
        options = options_of(tool, self.policy, self.settings)
        batches = list(batches_of(tool, self.roots))
        needs = tuple(self._needs(tool, options))
        when = When.AT_ONCE if batches else When.LATER if needs else When.NEVER
        units = [planned(tool, batch, options, self._held(tool, batch, options), self.scope) for batch in batches]
        unbearable = self._too_heavy(tool, batches, options)
        lacking, options = self._as_installed(tool, options)
        effort = (
            sum_of([unit.effort for unit in units])
            if units
            else Effort(needs[0].sends if needs else Sends.NOTHING, 0, 0)
        )
        step = Step(
            module=tool.name,
            risk=tool.risk_of(options),
            when=when,
            why=why_never(tool, self.outline, self.roots, self.policy.depth) if when is When.NEVER else "",
            lacking=lacking or unbearable,
            without_raw_sockets=_lesser(tool, options),
            units=len(batches),
            records=sum(map(len, batches)),
            sends=effort.sends,
            least=effort.least,
            most=effort.most,
            rate=effort.rate,
            seconds=least_time(units, self.shared).seconds,
            runs=tuple(self._run(tool, batch, options) for batch in batches[:SHOWN]),
            needs=needs,
        )
        return step, units

    def _run(self, tool: Tool, batch: Batch, options: Any) -> Run:
        held = self._held(tool, batch, options)
        command = command_of(tool, batch, held, self.scope) if tool.command else Command(())
        files = tuple(File(name, text.count("\n")) for name, text in command.files.items())
        return Run(shlex.join(command.argv), files, tuple(map(subject_of, batch[:SHOWN])), len(batch))

    def _held(self, tool: Tool, batch: Batch, options: Any) -> Any:
        """Options as a unit has them that is alone at its destinations; as they are where none could bear it."""
        try:
            return paced(tool, batch, options, self.allowance, None)
        except TooHeavy:
            return options

    def _too_heavy(self, tool: Tool, batches: Sequence[Batch], options: Any) -> str:
        """Why no destination can bear the module under this policy; empty where one can."""
        samples = [(self._placed(each.record),) for each in self.outline.arrivals if tool.intake_of(each.record)]
        loads = [load for batch in (*batches, *samples) if (load := load_of(tool, batch, options))]
        return next((why for load in loads if (why := too_heavy(tool.name, load, self.allowance))), "")

    def _as_installed(self, tool: Tool, options: Any) -> tuple[str, Any]:
        """What the module lacks on this machine, and its options as they are here, as far as it has what it needs."""
        try:
            if tool.check:
                tool.check(self.settings, self.store)
            if tool.binary is None:
                return "", options
            binary = tool.binary_with(options) if tool.binary_with else tool.binary
            if tool.installed:
                options = tool.installed(options, self.settings, _version(binary))
        except InstallationError as error:
            return str(error), options
        missing = shutil.which(binary.name, path=search_path()) is None
        return f"{binary.name}: not installed ({binary.install})" if missing else "", options

    def _needs(self, tool: Tool, options: Any) -> Iterator[Need]:
        taken: dict[str, list[Arrival]] = {}
        for arrival in self.outline.arrivals:
            if 0 < arrival.depth <= self.policy.depth and tool.intake_of(arrival.record):
                taken.setdefault(arrival.record.kind, []).append(arrival)
        for kind, arrivals in taken.items():
            # Whoever takes open ports is not given them again once they are known better.
            chosen = [each for each in arrivals if each.record in OPEN and not _service_of(each.record)] or arrivals
            yield self._need(kind, chosen, [self._one(tool, each.record, options) for each in chosen])

    def _one(self, tool: Tool, sample: Record, options: Any) -> Planned:
        """One record, as in a unit that is full of such ones: a small unit is not given more than it can use."""
        one, intake = self._placed(sample), tool.intake_of(sample)
        full = (one,) * (intake.batch if intake else 1)
        unit = planned(tool, (one,), options, self._held(tool, full, options), self.scope)
        if (load := load_of(tool, full, options)) is None:
            return unit
        return replace(unit, load=replace(load, packets=load.packets / len(full), least=load.least / len(full)))

    def _placed(self, sample: Record) -> Record:
        """A sample where such records would be found."""
        match sample:
            case Host() | Service() | Endpoint() if self.is_local:
                return replace(sample, address=LOOPBACK)
            case _:
                return sample

    def _need(self, kind: str, arrivals: Sequence[Arrival], ones: Sequence[Planned]) -> Need:
        makers = dict.fromkeys(maker for each in arrivals for maker in each.makers)
        names = dict.fromkeys(filter(None, (_service_of(each.record) for each in arrivals)))
        return Need(
            kind=kind,
            such_as=tuple(names),
            found_by=tuple(makers),
            at_most=self._most_hosts() if kind == Host.kind else None,
            sends=ones[0].effort.sends,
            least=min(one.effort.least for one in ones),
            most=most_of(one.effort.most for one in ones),
            seconds=min(least_of_one(one, self.allowance) for one in ones),
        )

    def _most_hosts(self) -> int | None:
        """All addresses of the networks that are looked at; unknown where names lead to addresses."""
        only_networks = all(isinstance(root, Network) for root in self.scope.roots)
        return addresses_left(self.roots, self.scope) if only_networks else None


def batches_of(tool: Tool, roots: Sequence[Record]) -> Iterator[tuple[Record, ...]]:
    """The units that a module is given of a scan's first records, in a scan's order."""
    lanes: dict[tuple[str, str], tuple[Intake, OrderedDict[Hashable, list[Record]]]] = {}
    for record in roots:
        if intake := tool.intake_of(record, is_root=True):
            _, waiting = lanes.setdefault((record.kind, intake.lane(record)), (intake, OrderedDict()))
            waiting.setdefault(intake.key(record), []).append(record)
    for intake, waiting in lanes.values():
        keys = list(waiting)
        for start in range(0, len(keys), intake.batch):
            yield tuple(record for key in keys[start : start + intake.batch] for record in waiting[key])


def _version(binary: Binary) -> str:
    """The version that is assumed: to ask a program for it would be to start it."""
    return binary.usual or ".".join(map(str, binary.minimum))


def _lesser(tool: Tool, options: Any) -> str:
    if tool.degrade is None:
        return ""
    try:
        _, lesser = tool.degrade(options, Powers(raw_sockets=False))
    except InstallationError:
        return "does not run"
    return f"{lesser.got} instead of {lesser.wanted}" if lesser else ""


def _service_of(record: Record) -> str | None:
    match record:
        case Service(name=name) | Endpoint(service=name):
            return name
        case _:
            return None


def _totals(steps: Sequence[Step]) -> tuple[Amount, ...]:
    totals: dict[tuple[Sends, bool], list[Step]] = {}
    for step in steps:
        if step.when is When.AT_ONCE and step.sends is not Sends.NOTHING:
            totals.setdefault((step.sends, step.risk is not Risk.PASSIVE), []).append(step)
    return tuple(
        Amount(sends, to_target, sum(step.least for step in these), total(step.most for step in these))
        for (sends, to_target), these in totals.items()
    )
