"""All that is known of a scan that says why it is where it is, and what a cause is."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from footprint.platform_facts import PoolSeen, RunSeen
from footprint.states import Status

UNPOLLED_LOOKS, UNPOLLED_MARGIN = 3, timedelta(seconds=12)
"""A worker that has missed this many of its looks for work, and a little, is gone or stands still."""


def silence_of(look: float) -> timedelta:
    """How long a pool may go without being asked for runs, where its workers look every so many seconds."""
    return UNPOLLED_LOOKS * timedelta(seconds=look) + UNPOLLED_MARGIN


@dataclass(frozen=True, slots=True)
class Cause:
    """One reason: a stable word, a sentence, what to do about it (empty where there is nothing to do), since when."""

    code: str
    detail: str
    remedy: str = ""
    since: datetime | None = None


@dataclass(frozen=True, slots=True)
class UnitSeen:
    """A unit that runs. `progress` is 0-100."""

    module: str
    batch: int
    targets: int
    progress: int
    since: datetime


@dataclass(frozen=True, slots=True)
class Trouble:
    """Units of one module that ended badly for one reason."""

    module: str
    status: str
    units: int
    error: str
    hint: str


@dataclass(frozen=True, slots=True)
class TellingSeen:
    """A receiver that is to be told of the scan: `status` as in the store, `error` of the last try."""

    receiver: str
    status: str
    tries: int = 0
    error: str = ""
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class ScanSeen:
    """A scan as the store has it. `renewed_at` is its last sign of life; `waiting` counts units that are to come."""

    id: UUID
    target: str
    status: Status
    created_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    cancelled_at: datetime | None = None
    renewed_at: datetime | None = None
    attempt: int = 0
    progress: int = 0
    error: str | None = None
    warnings: tuple[str, ...] = ()
    found: str = ""
    waiting: int = 0
    unit_timeout: int = 0
    units: tuple[UnitSeen, ...] = ()
    troubles: tuple[Trouble, ...] = ()
    put_back: str | None = None
    """Why it was put back to go on later, from `resume_at` on."""
    resume_at: datetime | None = None
    closed: str | None = None
    """Why it begins no unit although it runs: its window has closed."""
    schedule: str | None = None
    """Which schedule asked for it: its id, and its comment where it has one."""
    is_queued: bool = False
    """Whether it waits for the last run of that."""
    held: tuple[str, ...] = ()
    """What its modules wait for, each with who has it."""
    tellings: tuple[TellingSeen, ...] = ()


@dataclass(frozen=True, slots=True)
class Facts:
    """All that is known of a scan that matters for the reasons.

    `away` says why Prefect was not to be asked, `heard_at` when it last was. `run` is None where Prefect has no such
    run, `pool` where it has no pool. `others` names the scans of runs that hold places; `ahead` counts the runs that
    come before this one; `look` is how often a worker looks for work.
    """

    now: datetime
    scan: ScanSeen
    away: str | None = None
    heard_at: datetime | None = None
    run: RunSeen | None = None
    pool: PoolSeen | None = None
    others: dict[UUID, tuple[UUID, str]] = field(default_factory=dict)
    ahead: int = 0
    look: float = 1.0

    @property
    def silence(self) -> timedelta:
        """How long a pool may go without being asked for runs before nobody counts as being there."""
        return silence_of(self.look)
