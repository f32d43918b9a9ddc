"""What our schedules and Prefect's differ in, and what mends it. Nothing is asked and nothing is written here.

Prefect's word counts for whether a schedule is active and when it comes due, for it may be paused and edited in its UI.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from footprint.platform_facts import ScheduleSeen, SchedulesSeen
from footprint.timing import Timing


@dataclass(frozen=True, slots=True)
class Ours:
    """A schedule of the store, of scans of `what`. `prefect_id` and `deployment_id` are None while it is being made."""

    id: UUID
    prefect_id: UUID | None
    deployment_id: UUID | None
    active: bool
    timing: Timing
    changed_at: datetime
    is_gone: bool
    what: str


@dataclass(frozen=True, slots=True)
class TakeOver:
    """The row is to say what Prefect says: `timing` is None where it stays."""

    id: UUID
    prefect_id: UUID
    active: bool
    timing: Timing | None


@dataclass(frozen=True, slots=True)
class Gone:
    """It was deleted in Prefect."""

    id: UUID


@dataclass(frozen=True, slots=True)
class Remake:
    """Prefect lost it with its deployment, or lost its parameters: it is to be made again."""

    id: UUID
    timing: Timing
    active: bool
    what: str


@dataclass(frozen=True, slots=True)
class Remove:
    """Prefect has it, and the store does not: its making was given up, or its removal not finished."""

    prefect_id: UUID


Step = TakeOver | Gone | Remake | Remove


def differences(ours: Sequence[Ours], seen: SchedulesSeen, looked_at: datetime) -> Iterator[Step]:
    """What is to be mended, by a look at Prefect that began at `looked_at`: what changed since is left alone."""
    there = {schedule.ours: schedule for schedule in seen.known if schedule.ours}
    for schedule in ours:
        if schedule.changed_at < looked_at and schedule.prefect_id is not None:
            yield from _difference(schedule, there.get(schedule.id), seen.deployment_id)
    known = {schedule.id for schedule in ours}
    # A store without any schedule may be the wrong one: then nothing of the right one's is removed.
    if known:
        yield from (Remove(schedule.prefect_id) for id_, schedule in there.items() if id_ not in known)


def _difference(ours: Ours, theirs: ScheduleSeen | None, deployment: UUID | None) -> Iterator[Step]:
    if theirs is None:
        if ours.deployment_id != deployment and not ours.is_gone:
            yield Remake(ours.id, ours.timing, ours.active, ours.what)
        elif not ours.is_gone:
            yield Gone(ours.id)
        return
    timing = theirs.timing if theirs.timing and theirs.timing != ours.timing else None
    if timing or theirs.active != ours.active or theirs.prefect_id != ours.prefect_id or ours.is_gone:
        yield TakeOver(ours.id, theirs.prefect_id, theirs.active, timing)
    if not theirs.is_whole:
        yield Remake(ours.id, theirs.timing or ours.timing, theirs.active, ours.what)
