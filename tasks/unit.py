"""One unit of a scan from its records to its settlement: scope, tool, process, answer. Nothing here raises."""

from __future__ import annotations

import shlex
import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, fields, replace
from ipaddress import ip_network
from pathlib import Path
from threading import Event
from typing import Any
from uuid import UUID

from footprint.area import Area
from footprint.budget import Share, allowance_of
from footprint.errors import (
    InstallationError,
    NotAuthorized,
    OutputNotUnderstood,
    OutputTooLarge,
    PulsarError,
    ScanStopped,
    TooHeavy,
    ToolCrashed,
    ToolKilled,
    ToolTimedOut,
)
from footprint.policy import ScanPolicy
from footprint.records import Coverage, Finding, Outcome, Record, subject_of
from footprint.scope import Scope
from footprint.settings import Settings
from footprint.store import Store
from footprint.store.units import Settlement, Unit
from footprint.text import clean
from footprint.verdict import UnitStatus
from tasks.catalogue import tool_named
from tasks.fence import Fence, fence_around, network_of
from tasks.inspection import powers, untried_version, version_of
from tasks.pacing import paced
from tasks.runner import Limits, containment, run
from tasks.tool import Asking, Batch, Command, Ending, Output, Pace, Risk, Tool

EXCLUDE_FILE = "exclude"
UNAUTHORIZED = "no authorisation that is valid now covers it"


@dataclass(frozen=True, slots=True)
class Circumstances:
    """Under what a unit is carried out. `report` takes the percentage done."""

    scan_id: UUID
    policy: ScanPolicy
    scope: Scope
    settings: Settings
    store: Store | None
    work_dir: Path
    stopped: Event
    report: Callable[[float], None]
    share: Share | None = None
    """What the unit was given of its destinations; without it, it may have all that the policy allows."""
    permitted: Area | None = None
    """What may be looked at actively, as this unit begins; None where no authorisation is needed."""
    quarantine: InstallationError | None = None
    """Why the module's tool is not to be run on this machine."""


@dataclass(slots=True)
class _Account:
    """What is known of a unit while it runs, for whichever settlement it comes to."""

    module: str
    found: list[Record] = field(default_factory=list)
    coverage: dict[str, Coverage] = field(default_factory=dict)
    command: str = ""
    version: str | None = None
    containment: str | None = None
    degraded: str | None = None
    stderr: str | None = None

    def take(self, results: Iterable[Record | Coverage]) -> None:
        for result in results:
            if isinstance(result, Coverage):
                self.coverage[result.subject] = result
            else:
                self.found.append(_kept(result, self.module))

    def settle(self, status: UnitStatus, batch: Batch, error: PulsarError | None = None) -> Settlement:
        for record in batch:
            unseen = Coverage(subject_of(record), Outcome.NOT_LOOKED_AT)
            self.coverage.setdefault(unseen.subject, unseen)
        return Settlement(
            status,
            records=tuple(self.found),
            coverage=tuple(self.coverage.values()),
            command=self.command,
            version=self.version,
            containment=self.containment,
            degraded=self.degraded,
            stderr=self.stderr,
            error_code=error.code if error else None,
            error=error.detail if error else None,
            hint=error.hint or None if error else None,
        )


def _kept(record: Record, module: str) -> Record:
    """A record as it is kept: what came from outside in one line, bounded; a finding with the module that made it."""
    texts = {field.name: getattr(record, field.name) for field in fields(record)}
    changed: dict[str, Any] = {
        name: short for name, text in texts.items() if type(text) is str and (short := clean(text)) != text
    }
    if isinstance(record, Finding):
        changed["module"] = module
    return replace(record, **changed) if changed else record


def carry_out(unit: Unit, under: Circumstances) -> Settlement:
    """Run one module against one batch. What it found before an error counts; the error is in the settlement."""
    account = _Account(unit.module)
    try:
        tool = tool_named(unit.module).here(under.settings)
        batch = _touchable(unit.records, under.scope, account)
        if not batch:
            return account.settle(UnitStatus.SKIPPED, unit.records)
        batch = _permitted(tool, batch, under, account)
        if under.quarantine:
            raise under.quarantine
        error = _ask(tool, batch, under, account) if tool.probe else _execute(tool, batch, under, account)
        return account.settle(_status(account, error), unit.records, error)
    except (InstallationError, NotAuthorized, TooHeavy) as lacking:
        return account.settle(UnitStatus.SKIPPED, unit.records, lacking)
    except PulsarError as error:
        return account.settle(_status(account, error), unit.records, error)
    except Exception as crash:
        # A defect of ours must not take the scan with it: it becomes this unit's outcome, traceback and all.
        trace = "".join(traceback.format_exception(crash))[-8000:]
        account.stderr = "\n".join(clean(line) for line in trace.splitlines())
        defect = ToolCrashed(f"{unit.module}: a defect in Pulsar: {type(crash).__name__}", hint="see the module's log")
        return account.settle(UnitStatus.FAILED, unit.records, defect)


def _status(account: _Account, error: PulsarError | None) -> UnitStatus:
    outcomes = {entry.outcome for entry in account.coverage.values()}
    if error:
        return UnitStatus.PARTIAL if account.found else UnitStatus.FAILED
    if outcomes & {Outcome.TIMED_OUT, Outcome.NOT_LOOKED_AT}:
        return UnitStatus.PARTIAL
    return UnitStatus.DONE


def _touchable(records: Sequence[Record], scope: Scope, account: _Account) -> Batch:
    """The records that scope still allows, asked again just before anything is sent."""
    allowed = []
    for record in records:
        decision = scope.decide(record)
        if decision.touch:
            allowed.append(record)
        else:
            subject = subject_of(record)
            account.coverage[subject] = Coverage(subject, Outcome.REFUSED, decision.rule)
    return allowed


def _permitted(tool: Tool, batch: Batch, under: Circumstances, account: _Account) -> Batch:
    """The records that the module may look at: where it is active, those that an authorisation covers now."""
    if under.permitted is None or tool.risk_of(options_of(tool, under.policy, under.settings)) is Risk.PASSIVE:
        return batch
    covered = [record for record in batch if under.permitted.covers(record)]
    for record in batch:
        if record not in covered:
            subject = subject_of(record)
            account.coverage[subject] = Coverage(subject, Outcome.REFUSED, UNAUTHORIZED)
    if not covered:
        raise NotAuthorized(f"{tool.name}: {UNAUTHORIZED}", hint="see the authorisations of the scan's asset")
    return covered


def pace_of(policy: ScanPolicy, own_ports: tuple[int, ...] = (), budget: float = float("inf")) -> Pace:
    """What a policy says that modules map to their own options."""
    return Pace(policy.intensity, policy.unit_timeout, policy.ports, own_ports, budget)


def _ask(tool: Tool, batch: Batch, under: Circumstances, account: _Account) -> PulsarError | None:
    assert tool.probe is not None
    if tool.check:
        tool.check(under.settings, under.store)
    asking = Asking(
        settings=under.settings,
        scope=under.scope,
        store=under.store,
        work_dir=under.work_dir,
        scan_id=under.scan_id,
        stopped=under.stopped,
        resolvers=under.settings.resolvers,
        deadline=time.monotonic() + under.policy.unit_timeout,
        report=under.report,
        allowance=allowance_of(under.policy, under.settings),
        permitted=under.permitted,
    )
    account.take(tool.probe(batch, _options(tool, batch, under), asking))
    if under.stopped.is_set():
        return ScanStopped(f"{tool.name}: the scan was stopped")
    return None


def options_of(tool: Tool, policy: ScanPolicy, settings: Settings) -> Any:
    """What the policy says of this module, completed with what its intensity means."""
    pace = pace_of(policy, settings.own_ports, allowance_of(policy, settings).packets)
    return tool.configure(policy.modules.get(tool.name, {}), pace)


def _options(tool: Tool, batch: Batch, under: Circumstances) -> Any:
    """The options, held to what the unit was given of its destinations. Raises `TooHeavy`."""
    options = options_of(tool, under.policy, under.settings)
    return paced(tool, batch, options, allowance_of(under.policy, under.settings), under.share)


def _execute(tool: Tool, batch: Batch, under: Circumstances, account: _Account) -> PulsarError | None:
    assert tool.command is not None
    assert tool.parse is not None
    assert tool.binary is not None
    if tool.check:
        tool.check(under.settings, under.store)
    options = _options(tool, batch, under)
    binary = tool.binary_with(options) if tool.binary_with else tool.binary
    account.version = version_of(binary, under.work_dir)
    lesser = [untried_version(binary, account.version)]
    if tool.installed:
        options = tool.installed(options, under.settings, account.version)
    if tool.degrade:
        options, degradation = tool.degrade(options, powers(under.work_dir))
        lesser.append(str(degradation or ""))
    fence, unfenced = _fence(tool, options, batch, under)
    lesser.append(unfenced)
    account.degraded = "; ".join(said for said in lesser if said) or None
    command = command_of(tool, batch, options, under.scope)
    account.command = shlex.join(command.argv)
    with fence as held:
        account.containment = f"{containment()}, {f'fenced as id {held.uid}' if held.uid else 'not fenced'}"
        limits = Limits(under.policy.unit_timeout, under.work_dir, under.scan_id, under.stopped, held.uid)
        output = run(command, limits, _watcher(tool, under.report))
    account.stderr = output.stderr or None
    held.check_start(tool.name, output)
    error = _read(tool, batch, output, account)
    return held.complaint(tool.name, error) or error


def _fence(tool: Tool, options: Any, batch: Batch, under: Circumstances) -> tuple[AbstractContextManager[Fence], str]:
    """What keeps a tool to its batch where this installation wants that, and what is to be said where it cannot."""
    if not under.settings.fence or tool.risk_of(options) is Risk.PASSIVE:
        return nullcontext(Fence()), ""
    if any(network_of(record) is None for record in batch):
        return nullcontext(Fence()), "not fenced: it is given names, and finds their addresses itself"
    return fence_around(batch, under.scope.excluded_networks(), under.work_dir), ""


def command_of(tool: Tool, batch: Batch, options: Any, scope: Scope) -> Command:
    """What is run for a batch, with what it must not touch. Raises what the module raises."""
    assert tool.command is not None
    return _with_exclusions(tool, tool.command(batch, options), batch, scope)


def _with_exclusions(tool: Tool, command: Command, batch: Batch, scope: Scope) -> Command:
    """Give the tool the networks it must not touch, of the family it is asked about, in a file of its own."""
    versions = {network.version for record in batch if (network := network_of(record))}
    excluded = [network for network in scope.excluded_networks() if ip_network(network).version in versions]
    if tool.exclude_flag is None or not excluded:
        return command
    files = {**command.files, EXCLUDE_FILE: "".join(f"{network}\n" for network in excluded)}
    return replace(command, argv=(*command.argv, tool.exclude_flag, EXCLUDE_FILE), files=files)


def _watcher(tool: Tool, report: Callable[[float], None]) -> Callable[[str], None]:
    def watch(piece: str) -> None:
        if tool.progress and (percent := tool.progress(piece)) is not None:
            report(percent)

    return watch


def _read(tool: Tool, batch: Batch, output: Output, account: _Account) -> PulsarError | None:
    """Read what a program wrote, whole or cut off; how it ended decides what is said of it."""
    assert tool.parse is not None
    ending = _error_of(tool, output)
    try:
        account.take(tool.parse(output, batch))
    except OutputNotUnderstood as unread:
        return ending or unread
    return ending


def _error_of(tool: Tool, output: Output) -> PulsarError | None:
    last = output.stderr.strip().splitlines()[-1:] or [""]
    match output.ending:
        case Ending.EXITED:
            return None
        case Ending.TIMED_OUT:
            seconds = round(output.seconds)
            return ToolTimedOut(f"{tool.name}: stopped after {seconds} s, the policy's unit_timeout")
        case Ending.CAPPED:
            return OutputTooLarge(f"{tool.name}: wrote more than it may; what fitted was read")
        case Ending.STOPPED:
            return ScanStopped(f"{tool.name}: the scan was stopped")
        case Ending.KILLED:
            return ToolKilled(f"{tool.name}: ended by a signal (code {output.returncode})", hint=last[0])
