"""What the user's own scripts say of names, hosts and services: `PULSAR_HOME/extensions`, each run in a sandbox.

Comes last, so that a script is told of all that the scan has found, and so that one that hangs holds up nobody but
those after it. Each extension is run once for each record that it accepts, one after another; what happens to one
does not touch the others. The sandbox (sandbox.py) is all or nothing: without it none is run.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from footprint.errors import (
    OutputTooLarge,
    PlatformError,
    PulsarError,
    ScanStopped,
    ToolCrashed,
    ToolKilled,
    ToolTimedOut,
    UnitError,
)
from footprint.extensions import Broken, Extension, installed
from footprint.manifest import Manifest, Name
from footprint.records import Coverage, DomainName, Finding, Host, Outcome, Record, Service, subject_of
from footprint.settings import Settings
from footprint.store import Store
from footprint.store.surroundings import Surroundings, surroundings_of
from footprint.text import clean
from tasks.extension_answers import Given, Reading, read_output, told_of
from tasks.runner import Limits
from tasks.sandbox import OUTPUT_CAP, Held, Script, check_sandbox, run_script
from tasks.tool import Asking, Batch, Ending, Found, Intake, Pace, Risk, Tool

GIVEN_UP = 2
"""Records in a row on which an extension reached its time limit, after which the unit's others are spared it."""


class ExtensionOptions(BaseModel):
    """Which extensions are run, and how much each may take at most, whatever its manifest asks for."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    names: tuple[Name, ...] = Field(
        default=(), max_length=100, description="The extensions that are run; all that are installed where empty."
    )
    timeout: int = Field(default=600, ge=1, le=3600, description="Seconds that each may take for one record.")
    memory: int = Field(default=1024, ge=16, le=2048, description="MiB that each may use.")


@dataclass(frozen=True, slots=True)
class Trial:
    """One run of one extension. `error` says how it failed, None where it ended well."""

    name: str
    held: Held
    reading: Reading
    error: UnitError | None

    @property
    def notes(self) -> tuple[str, ...]:
        """What is to be said of it besides its findings."""
        failed = (self.error.detail,) if self.error else ()
        return (*failed, *(f"{self.name}: {mistake}" for mistake in self.reading.mistakes))


def configure(options: dict[str, Any], pace: Pace) -> ExtensionOptions:
    """Take the policy's options; raises pydantic's `ValidationError`."""
    return ExtensionOptions.model_validate(options)


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


def takes(settings: Settings) -> tuple[Intake, ...]:
    """The kinds that what is installed accepts, and of these what some extension is run for; none where none is."""
    manifests = [one.manifest for one in installed(settings.home) if isinstance(one, Extension)]
    kinds = (DomainName, Host, Service)
    return tuple(_intake(kind, manifests) for kind in kinds if any(_accepts(kind, one) for one in manifests))


def _accepts(kind: type[DomainName | Host | Service], manifest: Manifest) -> bool:
    return kind.kind in manifest.accepts


def _intake(kind: type[Record], manifests: list[Manifest]) -> Intake:
    def is_taken(record: Record) -> bool:
        return not manifests or any(manifest.takes(record) for manifest in manifests)

    return Intake(kind, batch=4, key=lambda record: record, where=is_taken)


def try_extension(extension: Extension, record: Record, given: Given, limits: Limits, memory: int) -> Trial:
    """Run an extension for one record, in `memory` MiB. Raises `SandboxMissing`."""
    manifest = extension.manifest
    script = Script(manifest.script, extension.text, manifest.interpreter)
    held = run_script(script, given.stdin, given.environment, limits, memory)
    error = _error_of(extension.name, held, limits.seconds)
    reading = read_output(held.output.stdout, manifest, record, ended_well=error is None)
    return Trial(extension.name, held, reading, error)


def _error_of(name: str, held: Held, seconds: float) -> UnitError | None:
    output = held.output
    if held.exceeded:
        return ToolKilled(f"{name}: ended, as it {held.exceeded}", hint="its manifest sets `memory`")
    if output.ending is Ending.STOPPED:
        return ScanStopped(f"{name}: the scan was stopped")
    if output.ending is Ending.CAPPED:
        return OutputTooLarge(f"{name}: wrote more than {OUTPUT_CAP // 1024} KiB, and was cut off")
    # What is deaf to SIGTERM is killed, and then its code says that and no more.
    if output.ending is Ending.TIMED_OUT or (output.ending is Ending.KILLED and output.seconds >= seconds):
        return ToolTimedOut(f"{name}: stopped after {seconds:g} s, its time limit", hint="its manifest sets `timeout`")
    if output.ending is Ending.KILLED:
        return ToolKilled(f"{name}: ended by a signal (code {output.returncode})")
    if output.returncode:
        last = clean(next(iter(output.stderr.strip().splitlines()[-1:]), ""), 200)
        return ToolCrashed(f"{name}: ended with code {output.returncode}{f': {last}' if last else ''}")
    return None


@dataclass(slots=True)
class _Shift:
    """One unit's turn of the chosen extensions: how often each hung in a row, and what went wrong first."""

    options: ExtensionOptions
    asking: Asking
    hung: Counter[str] = field(default_factory=Counter)
    error: UnitError | None = None
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
            trial = try_extension(extension, record, given, *self._limits(extension))
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


def probe(batch: Batch, options: ExtensionOptions, asking: Asking) -> Iterator[Found]:
    """Run every chosen extension for every record that it accepts; each record's coverage comes after its findings.

    Raises the first failure at the end, where no run ended well or others found something: the unit is then `failed`
    or `partial` by it, and by its coverage otherwise.
    """
    chosen, notes = _chosen(options, asking.settings)
    shift = _Shift(options, asking)
    for number, record in enumerate(batch, start=1):
        yield from shift.about(record, chosen, notes)
        notes = []
        asking.report(100 * number / len(batch))
    if shift.error and (shift.findings or not shift.ended_well):
        raise type(shift.error)(f"extension: {shift.error.detail}", hint=shift.error.hint)


def _chosen(options: ExtensionOptions, settings: Settings) -> tuple[list[Extension], list[str]]:
    """The extensions that are run, and what is to be said of those that are not."""
    found: dict[str, Extension | Broken] = {one.name: one for one in installed(settings.home)}
    wanted = options.names or tuple(found)
    absent = [f"{name}: no such extension is installed" for name in wanted if name not in found]
    there = [found[name] for name in wanted if name in found]
    broken = [f"{one.name}: {_said(one.error)}" for one in there if isinstance(one, Broken)]
    return [one for one in there if isinstance(one, Extension)], [*absent, *broken]


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
    probe=probe,
    check=check,
    takes=takes,
    comes_last=True,
)
