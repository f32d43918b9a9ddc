"""What the user's own scripts say of names, hosts and services: `PULSAR_HOME/extensions`, each run in a sandbox.

Comes last, so that a script is told of all that the scan has found, and so that one that hangs holds up nobody but
those after it. Each extension is run once for each record that it accepts, one after another; what happens to one
does not touch the others. The sandbox (sandbox.py) is all or nothing: without it none is run. One that reaches its
record over the network (extension_reach.py) makes the module an active one; it is run behind a fence, or not at all.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from footprint.budget import INTENSITIES, Load
from footprint.errors import (
    FenceMissing,
    PlatformError,
    PulsarError,
    ToolTimedOut,
    UnitError,
)
from footprint.extensions import Broken, Extension, installed
from footprint.manifest import Manifest, Name
from footprint.records import Coverage, DomainName, Finding, Host, Outcome, Record, Service, subject_of
from footprint.scope import Scope
from footprint.settings import Settings
from footprint.store import Store
from footprint.store.surroundings import Surroundings, surroundings_of
from footprint.text import clean
from tasks.effort import NO_EFFORT, Effort, Sends
from tasks.extension_answers import told_of
from tasks.extension_reach import Bounds, bounds_of, check_reach, in_their_words
from tasks.extension_trial import Trial, try_extension
from tasks.runner import Limits
from tasks.sandbox import check_sandbox
from tasks.tool import Asking, Batch, Found, Intake, Pace, Risk, Tool

GIVEN_UP = 2
"""Records in a row on which an extension reached its time limit, after which the unit's others are spared it."""
NAMED = 5
"""Extensions that are named where some are not run."""
RATE = 100
"""Packets a second that one may send which reaches its record, where the policy is not gentler."""
CONNECTIONS = 4
"""What such a one is taken to have open at once. Its packets are held to its share, its connections are not."""


class ExtensionOptions(BaseModel):
    """Which extensions are run, and how much each may take at most, whatever its manifest asks for."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    names: tuple[Name, ...] = Field(
        default=(), max_length=100, description="The extensions that are run; all that are installed where empty."
    )
    timeout: int = Field(default=600, ge=1, le=3600, description="Seconds that each may take for one record.")
    memory: int = Field(default=1024, ge=16, le=2048, description="MiB that each may use.")
    network: Literal["none", "scoped"] = Field(
        default="scoped", description="What they may reach at most; with none, those that are scoped are not run."
    )
    max_rate: int = Field(
        default=RATE, ge=1, le=50_000, description="Packets a second that a scoped one may send to its record."
    )


def configure(options: dict[str, Any], pace: Pace) -> ExtensionOptions:
    """Complete the policy's options with what its intensity means here; raises pydantic's `ValidationError`."""
    rate = min(RATE, int(INTENSITIES[pace.intensity].packets))
    return ExtensionOptions.model_validate({"max_rate": rate, **options})


def effort(batch: Batch, options: ExtensionOptions, scope: Scope) -> Effort:
    """Nothing is sent where no extension has a network."""
    return NO_EFFORT


def fitted(tool: Tool, settings: Settings) -> Tool:
    """The module with what is installed: what it takes of that, and where some reach their records, as an active one.

    Only those reach anything that were installed so as the module was judged: none that is put in its place later.
    """
    manifests = _manifests(settings)
    scoped = frozenset(one.name for one in manifests if one.is_scoped)
    tool = replace(tool, accepts=_intakes(manifests))
    if not scoped:
        return tool

    def reaches(options: ExtensionOptions) -> bool:
        return options.network == "scoped" and (not options.names or not scoped.isdisjoint(options.names))

    def sends(batch: Batch, options: ExtensionOptions, scope: Scope) -> Effort:
        # How much, only a script knows; how fast, the fence sees to.
        return Effort(Sends.PACKETS, 0, None, float(options.max_rate)) if reaches(options) else NO_EFFORT

    return replace(
        tool,
        risk=Risk.SAFE,
        risk_with=lambda options: Risk.SAFE if reaches(options) else Risk.PASSIVE,
        effort=sends,
        load=lambda batch, options: Load(float(options.max_rate), 1.0, CONNECTIONS),
        probe=partial(probe, scoped=scoped),
    )


def reduced(settings: Settings) -> str:
    """What is to be said where extensions are installed that reach their records, and cannot be held to them."""
    names = [one.name for one in _manifests(settings) if one.is_scoped]
    if not names:
        return ""
    try:
        check_reach(settings.work_dir)
    except FenceMissing as missing:
        return f"not run: {', '.join(names[:NAMED])}{' …' if names[NAMED:] else ''}: {missing}"
    return ""


def check(settings: Settings, store: Store | None) -> None:
    """Raise `InstallationError` where extensions are installed and cannot be run; none at all is in order."""
    found = installed(settings.home)
    if found and all(isinstance(one, Broken) for one in found):
        first = next(one for one in found if isinstance(one, Broken))
        raise PlatformError(
            f"no extension can be run: {first.name}: {first.error.detail}", hint="`pulsar extension list` shows them"
        )
    if found:
        check_sandbox(settings.home, settings.work_dir)


def _manifests(settings: Settings) -> list[Manifest]:
    return [one.manifest for one in installed(settings.home) if isinstance(one, Extension)]


def _intakes(manifests: list[Manifest]) -> tuple[Intake, ...]:
    kinds = (DomainName, Host, Service)
    return tuple(_intake(kind, manifests) for kind in kinds if any(_accepts(kind, one) for one in manifests))


def _accepts(kind: type[DomainName | Host | Service], manifest: Manifest) -> bool:
    return kind.kind in manifest.accepts


def _intake(kind: type[Record], manifests: list[Manifest]) -> Intake:
    def is_taken(record: Record) -> bool:
        return not manifests or any(manifest.takes(record) for manifest in manifests)

    return Intake(kind, batch=4, key=lambda record: record, where=is_taken)


@dataclass(slots=True)
class _Shift:
    """One unit's turn of the chosen extensions: how often each hung in a row, and what went wrong first."""

    options: ExtensionOptions
    asking: Asking
    bounds: Bounds
    hung: Counter[str] = field(default_factory=Counter)
    error: UnitError | None = None
    unheld: FenceMissing | None = None
    """Why one that reaches its record could not be held to it."""
    ran: int = 0
    ended_well: int = 0
    findings: int = 0

    def about(self, record: Record, extensions: list[Extension], notes: list[str]) -> Iterator[Finding | Coverage]:
        """Run each that accepts the record, as it is known by now; the record's coverage comes last."""
        around = self._around(record)
        record = around.known(record)
        outcome, given = Outcome.SILENT, told_of(record, around)
        for extension in (one for one in extensions if one.manifest.takes(record)):
            if self.hung[extension.name] >= GIVEN_UP or self.asking.is_over():
                reason = "the time was up" if self.asking.is_over() else "it hung on those before"
                notes.append(f"{extension.name}: not run, as {reason}")
                outcome = Outcome.NOT_LOOKED_AT
                continue
            try:
                reach = self.bounds.reach_of(record, around) if extension.manifest.is_scoped else None
                if extension.manifest.is_scoped and reach is None:
                    notes.append(f"{extension.name}: not run, as there is nothing of it that it may reach")
                    continue
                trial = try_extension(extension, record, given, *self._limits(extension), reach)
            except FenceMissing as missing:
                self.unheld = in_their_words(missing)
                notes.append(f"{extension.name}: not run: {self.unheld}")
                outcome = Outcome.NOT_LOOKED_AT
                continue
            self._count(trial)
            yield from trial.reading.findings
            notes += trial.notes
            outcome = _worse(outcome, trial)
        yield Coverage(subject_of(record), outcome, "; ".join(notes))

    def _around(self, record: Record) -> Surroundings:
        if self.asking.store is None or self.asking.scan_id is None:
            return Surroundings()
        with self.asking.store.read() as session:
            return surroundings_of(session, self.asking.scan_id, record)

    def _limits(self, extension: Extension) -> tuple[Limits, int]:
        wanted, most, asking = extension.manifest, self.options, self.asking
        seconds = min(wanted.timeout, most.timeout, max(1.0, asking.deadline - time.monotonic()))
        return Limits(round(seconds, 1), asking.work_dir, asking.scan_id, asking.stopped), min(
            wanted.memory, most.memory
        )

    def _count(self, trial: Trial) -> None:
        self.hung[trial.name] = self.hung[trial.name] + 1 if isinstance(trial.error, ToolTimedOut) else 0
        self.error = self.error or trial.error
        self.ran += 1
        self.ended_well += trial.error is None
        self.findings += len(trial.reading.findings)


def _worse(outcome: Outcome, trial: Trial) -> Outcome:
    """What is to be said of a record after one more run: the worst that happened, since half an answer is none."""
    if trial.error is None:
        said = Outcome.ANSWERED if trial.reading.findings else Outcome.SILENT
    else:
        said = Outcome.TIMED_OUT if isinstance(trial.error, ToolTimedOut) else Outcome.NOT_LOOKED_AT
    order = (Outcome.SILENT, Outcome.ANSWERED, Outcome.TIMED_OUT, Outcome.NOT_LOOKED_AT)
    return max(outcome, said, key=order.index)


def probe(
    batch: Batch, options: ExtensionOptions, asking: Asking, scoped: frozenset[str] = frozenset()
) -> Iterator[Found]:
    """Run every chosen extension for every record that it accepts; each record's coverage comes after its findings.

    Of those that reach their records, the `scoped` are run, as far as the policy lets them. Raises the first failure at
    the end, where no run ended well or others found something: the unit is then `failed` or `partial` by it, and by its
    coverage otherwise; and `FenceMissing` where none was run for the lack of a fence.
    """
    chosen, notes = _chosen(options, asking.settings, scoped)
    shift = _Shift(options, asking, bounds_of(asking, options.max_rate))
    for number, record in enumerate(batch, start=1):
        yield from shift.about(record, chosen, notes)
        notes = []
        asking.report(100 * number / len(batch))
    if shift.error and (shift.findings or not shift.ended_well):
        raise type(shift.error)(f"extension: {shift.error.detail}", hint=shift.error.hint)
    if shift.unheld and not shift.ran:
        raise FenceMissing(f"extension: {shift.unheld.detail}", hint=shift.unheld.hint)


def _chosen(options: ExtensionOptions, settings: Settings, scoped: frozenset[str]) -> tuple[list[Extension], list[str]]:
    """The extensions that are run, and what is to be said of those that are not."""
    found: dict[str, Extension | Broken] = {one.name: one for one in installed(settings.home)}
    wanted = options.names or tuple(found)
    absent = [f"{name}: no such extension is installed" for name in wanted if name not in found]
    there = [found[name] for name in wanted if name in found]
    broken = [f"{one.name}: {_said(one.error)}" for one in there if isinstance(one, Broken)]
    sound = [one for one in there if isinstance(one, Extension)]
    held_back = [
        one.name for one in sound if one.manifest.is_scoped and (options.network == "none" or one.name not in scoped)
    ]
    reason = "the policy gives it no network" if options.network == "none" else "it has been changed meanwhile"
    refused = [f"{name}: not run, as {reason}" for name in held_back]
    return [one for one in sound if one.name not in held_back], [*absent, *broken, *refused]


def _said(error: PulsarError) -> str:
    return clean(error.detail, 300)


TOOL = Tool(
    name="extension",
    summary="Runs scripts of your own on names, hosts and services, each in a sandbox.",
    risk=Risk.PASSIVE,
    accepts=tuple(_intake(kind, []) for kind in (DomainName, Host, Service)),
    produces=(Finding,),
    options=ExtensionOptions,
    configure=configure,
    effort=effort,
    probe=probe,
    check=check,
    fitted=fitted,
    reduced=reduced,
    comes_last=True,
)
