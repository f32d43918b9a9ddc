"""The log of a scan: what its run said line by line, and what its units say where the lines are gone or not enough."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from footprint.text import clean
from footprint.verdict import UnitStatus

MESSAGE_KEPT, STDERR_LINES, STDERR_LINE_KEPT = 4096, 40, 500
"""Bytes of a message; the last lines of a tool's standard error, and bytes of each."""
MOST_LINES = 10_000
"""Lines of a run that are read at once."""
ARRIVAL = timedelta(seconds=30)
"""How long a line of a run may take to arrive in Prefect: it is sent in batches."""
_TASK_NAME = re.compile(r"([a-z][a-z0-9_]*) batch (\d{1,9})")
_OWN_WORDS = re.compile(_TASK_NAME.pattern + r" (began|ended)\b")


class Level(StrEnum):
    """How much a line matters; a filter takes those of its level and above."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"
    CRITICAL = "critical"

    @property
    def number(self) -> int:
        """Python's number for it."""
        return NUMBERS[self]

    @classmethod
    def of(cls, number: int) -> Level:
        """The level of Python's number."""
        return max((level for level in cls if level.number <= number), key=NUMBERS.__getitem__, default=cls.DEBUG)


NUMBERS = {level: 10 * (position + 1) for position, level in enumerate(Level)}


@dataclass(frozen=True, slots=True)
class Said:
    """A line as Prefect keeps it. `task` is the task run that said it, None for the flow itself."""

    id: UUID
    at: datetime
    level: int
    message: str
    task: UUID | None


@dataclass(frozen=True, slots=True)
class UnitTold:
    """What a unit's row says of how it went."""

    module: str
    batch: int
    status: UnitStatus
    targets: int
    records: int
    error: str | None
    hint: str | None
    stderr: str | None
    started_at: datetime | None
    finished_at: datetime | None


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of a scan's log. `stderr` is what the unit's tool said last, on the line that tells of its error.

    `source` is `prefect` for what the run said, and `store` for what a unit's row says; `id` is the same each time.
    """

    id: str
    at: datetime
    level: Level
    module: str | None
    batch: int | None
    message: str
    stderr: tuple[str, ...]
    source: str


def unnamed(lines: Sequence[Said]) -> list[UUID]:
    """The task runs whose module and batch these lines do not tell themselves."""
    told = names_told(lines)
    return list(dict.fromkeys(line.task for line in lines if line.task and line.task not in told))


def names_told(lines: Iterable[Said]) -> dict[UUID, tuple[str, int]]:
    """Module and batch of task runs, by what they say when they begin and end: Prefect lists them with a delay."""
    found: dict[UUID, tuple[str, int]] = {}
    for line in lines:
        if line.task and (words := _OWN_WORDS.match(line.message)):
            found.setdefault(line.task, (words[1], int(words[2])))
    return found


def name_of_task(name: str) -> tuple[str, int] | None:
    """Module and batch of a task run, by its name in Prefect."""
    words = _TASK_NAME.fullmatch(name)
    return (words[1], int(words[2])) if words else None


def weave(
    lines: Sequence[Said], names: Mapping[UUID, tuple[str, int]], units: Iterable[UnitTold], now: datetime
) -> list[Entry]:
    """One log, in order: the run's lines by module and batch, and each unit's error with its tool's last words.

    An error that no line tells of (the flow was killed before it could) is told by the unit's row.
    """
    entries = [_entry(line, names) for line in sorted(lines, key=lambda line: line.at)]
    last_bad = {
        (entry.module, entry.batch): position
        for position, entry in enumerate(entries)
        if entry.module and entry.level.number >= Level.WARNING.number
    }
    for unit in units:
        position = last_bad.get((unit.module, unit.batch))
        if position is None and unit.finished_at and now - unit.finished_at > ARRIVAL:
            entries += [entry for entry in _of_unit(unit) if entry.level is not Level.INFO]
        elif position is not None and unit.error:
            entries[position] = replace(entries[position], stderr=_last_words(unit.stderr))
    return sorted(entries, key=lambda entry: entry.at)


def cut_off(last: Entry) -> Entry:
    """What is said after the last of so many lines that the rest was not read."""
    said = f"only {MOST_LINES} lines are read at once: ask for those `after` this one"
    return Entry("cut-off", last.at, Level.WARNING, None, None, said, (), "store")


def from_units(units: Iterable[UnitTold]) -> list[Entry]:
    """The log that is left when Prefect is away, or has forgotten the run: what the units' rows tell."""
    return sorted((entry for unit in units for entry in _of_unit(unit)), key=lambda entry: entry.at)


def _entry(line: Said, names: Mapping[UUID, tuple[str, int]]) -> Entry:
    module, batch = (names.get(line.task) if line.task else None) or (None, None)
    message = clean(line.message, MESSAGE_KEPT)
    return Entry(str(line.id), line.at, Level.of(line.level), module, batch, message, (), "prefect")


def _of_unit(unit: UnitTold) -> Iterator[Entry]:
    name = f"{unit.module} batch {unit.batch}"
    key = f"{unit.module}-{unit.batch}"
    if unit.started_at:
        message = f"{name} began: {unit.targets} targets"
        yield Entry(f"{key}-began", unit.started_at, Level.INFO, unit.module, unit.batch, message, (), "store")
    if unit.finished_at:
        level = Level.INFO if unit.status is UnitStatus.DONE else Level.WARNING
        reason = f": {unit.error}" if unit.error else ""
        remedy = f" ({unit.hint})" if unit.error and unit.hint else ""
        message = clean(f"{name} ended {unit.status}, {unit.records} records{reason}{remedy}", MESSAGE_KEPT)
        words = _last_words(unit.stderr) if unit.error else ()
        yield Entry(f"{key}-ended", unit.finished_at, level, unit.module, unit.batch, message, words, "store")


def _last_words(stderr: str | None) -> tuple[str, ...]:
    lines = (clean(line, STDERR_LINE_KEPT) for line in (stderr or "").splitlines())
    return tuple(line for line in lines if line.strip())[-STDERR_LINES:]
