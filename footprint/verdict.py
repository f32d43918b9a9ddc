"""How a scan ended, in a word and in sentences: decided aloud from what every unit of it says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from footprint.records import Outcome
from footprint.states import Status

NOTES_NAMED = 5
"""Targets that a warning names before it only counts the rest."""


class UnitStatus(StrEnum):
    """What became of one unit of a scan."""

    PLANNED = "planned"
    RUNNING = "running"
    DONE = "done"
    PARTIAL = "partial"
    FAILED = "failed"
    SKIPPED = "skipped"

    @property
    def is_over(self) -> bool:
        """True once nothing more will come of it."""
        return self not in UNFINISHED


UNFINISHED = (UnitStatus.PLANNED, UnitStatus.RUNNING)


@dataclass(frozen=True, slots=True)
class UnitReport:
    """What one unit says of itself. `coverage` counts its targets by outcome.

    `notes` says what was odd, by target; `silent`, of which targets nothing came back.
    """

    module: str
    batch: int
    status: UnitStatus
    coverage: dict[Outcome, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    silent: tuple[str, ...] = ()
    error: str | None = None
    degraded: str | None = None

    @property
    def is_lost(self) -> bool:
        """True where it gave no answer, or none that was kept."""
        return self.status in (UnitStatus.FAILED, UnitStatus.SKIPPED) or not self.status.is_over


@dataclass(frozen=True, slots=True)
class Verdict:
    """SUCCESS, perhaps with warnings, or FAILURE with the error that made it one."""

    status: Status
    warnings: tuple[str, ...] = ()
    error: str | None = None


def conclude(
    units: Sequence[UnitReport],
    required: Sequence[str],
    *,
    counts_for: Mapping[str, str] | None = None,
    cut_short: str | None = None,
    left_out: Sequence[str] = (),
) -> Verdict:
    """Judge a scan by its units.

    `required` names the modules without which a scan is a failure, `counts_for` those that look ahead for others, with
    these: where a network turns out to be empty, there is nothing left for the others to do. `cut_short` says why work
    was left undone (the scan's time limit, say); `left_out` says what was found and not touched, and by which rule.
    """
    ahead = counts_for or {}
    warnings = (
        *_warnings(units, {*required, *(name for name, other in ahead.items() if other in required)}),
        *_capped(left_out, "records were left out"),
        *([cut_short] if cut_short else []),
    )
    error = _failure(units, required, ahead, left_out)
    if error:
        return Verdict(Status.FAILURE, tuple(text for text in warnings if text != error), error)
    return Verdict(Status.SUCCESS, warnings)


def _failure(
    units: Sequence[UnitReport], required: Sequence[str], ahead: Mapping[str, str], left_out: Sequence[str]
) -> str | None:
    if not units:
        return "nothing was looked at: no module of this policy takes such a target"
    if all(unit.is_lost for unit in units):
        return _first_error(units) or "nothing was looked at: every unit failed"
    for module in required:
        own = [unit for unit in units if unit.module == module] or [
            unit for unit in units if ahead.get(unit.module) == module
        ]
        if own and all(unit.is_lost for unit in own):
            return _first_error(own) or f"{module}: it failed everywhere"
        if not own:
            return _unreached(units, module, left_out)
    return None


def _unreached(units: Sequence[UnitReport], module: str, left_out: Sequence[str]) -> str:
    notes = (note for unit in units for note in (*unit.notes, *unit.silent))
    return f"{module} had nothing to look at: {next(iter(left_out), None) or next(notes, 'no address was found')}"


def _first_error(units: Iterable[UnitReport]) -> str | None:
    return next((unit.error for unit in units if unit.error), None)


def _warnings(units: Sequence[UnitReport], required: Container[str]) -> Iterable[str]:
    """What did not go well. That nothing came back is an answer like others, but for what a scan is made for."""
    errors = Counter(unit.error for unit in units if unit.error)
    unfinished = Counter(f"{unit.module}: a unit did not end" for unit in units if not unit.status.is_over)
    errors.update(unfinished)
    for error, times in errors.items():
        yield error if times == 1 else f"{error} ({times} units)"
    yield from dict.fromkeys(f"{unit.module}: {unit.degraded}" for unit in units if unit.degraded)
    silent = (f"{unit.module}: {note}" for unit in units if unit.module in required for note in unit.silent)
    notes = dict.fromkeys([*(f"{unit.module}: {note}" for unit in units for note in unit.notes), *silent])
    yield from _capped(list(notes), "targets did not answer fully")


def _capped(lines: Sequence[str], what: str) -> Iterable[str]:
    yield from lines[:NOTES_NAMED]
    if len(lines) > NOTES_NAMED:
        yield f"and {len(lines) - NOTES_NAMED} more {what}"
