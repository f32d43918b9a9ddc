"""What a schedule scans when it comes due, and whether it does: its target and policy are looked up anew each time."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from uuid import UUID

from sqlalchemy.orm import Session

from footprint.admission import NewScan, admit
from footprint.errors import Conflict, RequestError
from footprint.notify_rules import NotifyRules, effective_rules
from footprint.policy import ScanPolicy
from footprint.settings import Settings
from footprint.store.assets import scope_for
from footprint.store.scans import insert_scan, waiting_for
from footprint.store.schedule_tables import QUEUE, QUEUED, SCANNED, SKIPPED, ScheduleRow
from footprint.store.schedule_turns import (
    has_queued,
    hold_schedule,
    note_run,
    run_of_task,
    unended,
    waits_for,
)
from footprint.store.schedules import targets_of, timing_of
from footprint.store.tables import now
from tasks.authorization import require_authorization
from tasks.occurrences import next_after
from tasks.policies import usable_policy

REMOVED = "its schedule is not there any more"
PAUSED = "its schedule is paused"
MISSED = "a later run of its schedule has come due meanwhile: at most one is caught up"
ONE_WAITS = "the last run of its schedule has not ended, and another one waits for that already"


@dataclass(frozen=True, slots=True)
class Turn:
    """What becomes of a time that a schedule comes due: its scans, or why there are none."""

    scans: tuple[UUID, ...] = ()
    skipped: str | None = None


def admitted(session: Session, settings: Settings, schedule: ScheduleRow) -> list[NewScan]:
    """The scans that a schedule would ask for now.

    Raises `InvalidSchedule`, and what a request for one of them would raise, for the first that would be refused.
    """
    wanted = [_admitted(session, settings, schedule, target) for target in targets_of(session, schedule)]
    waiting_for(wanted[0].policy)
    return wanted


def take_turn(session: Session, settings: Settings, schedule_id: UUID, task_id: UUID, due_at: datetime) -> Turn:
    """Decide for a Prefect run that came for a schedule; asked again for the same run, it decides nothing anew.

    The first scan is that run's own; the others have none yet. Raises `RequestError` where none may be carried out.
    """
    schedule = hold_schedule(session, schedule_id)
    if schedule is None:
        return Turn(skipped=REMOVED)
    if known := run_of_task(session, task_id):
        return Turn(skipped=known.reason) if known.outcome == SKIPPED else Turn()
    if (reason := _why_skipped(session, schedule, due_at)) is not None:
        note_run(session, schedule_id, SKIPPED, task_id=task_id, due_at=due_at, reason=reason)
        return Turn(skipped=reason)
    return Turn(_ask(session, settings, schedule, task_id, due_at))


def take_extra_turn(session: Session, settings: Settings, schedule_id: UUID) -> tuple[UUID, ...]:
    """Ask for a schedule's scans out of turn; none has a Prefect run yet. Raises `Conflict` while the last goes on."""
    schedule = hold_schedule(session, schedule_id)
    if schedule is None:
        raise Conflict(REMOVED)
    if (reason := _overlap(session, schedule)) is not None:
        raise Conflict(reason, hint="wait for its end, or cancel it")
    return _ask(session, settings, schedule, None, None)


def _why_skipped(session: Session, schedule: ScheduleRow, due_at: datetime) -> str | None:
    if not schedule.active:
        return PAUSED
    following = next_after(timing_of(schedule), due_at)
    if following is not None and following <= now():
        return MISSED
    return _overlap(session, schedule)


def _overlap(session: Session, schedule: ScheduleRow) -> str | None:
    """Why nothing is asked for while the last run goes on, where that is so."""
    last = unended(session, schedule.id)
    if last is None:
        return None
    if schedule.overlap != QUEUE:
        return f"the last run of its schedule has not ended: scan {last.id}"
    return ONE_WAITS if has_queued(session, schedule.id) else None


def _ask(
    session: Session, settings: Settings, schedule: ScheduleRow, task_id: UUID | None, due_at: datetime | None
) -> tuple[UUID, ...]:
    last = unended(session, schedule.id)
    outcome = QUEUED if last else SCANNED
    reason = waits_for(last) if last else None
    run = note_run(session, schedule.id, outcome, task_id=task_id, due_at=due_at, reason=reason)
    scans: list[UUID] = []
    refused: list[RequestError] = []
    for target in targets_of(session, schedule):
        try:
            own = None if scans else task_id
            with session.begin_nested():
                new = _admitted(session, settings, schedule, target, number=run.id, task_id=own)
                scans.append(insert_scan(session, new)[0].id)
        except RequestError as error:
            refused.append(error)
    if not scans:
        raise refused[0]
    if refused:
        run.reason = f"{len(refused)} of {len(refused) + len(scans)} roots were refused: {refused[0].detail}"
    return tuple(scans)


def _admitted(
    session: Session,
    settings: Settings,
    schedule: ScheduleRow,
    target: str,
    *,
    number: int | None = None,
    task_id: UUID | None = None,
) -> NewScan:
    new = admit(
        settings,
        target=target,
        policy=ScanPolicy.model_validate(schedule.policy) if schedule.policy else schedule.policy_name,
        comment=schedule.comment,
        origin="schedule",
        task_id=task_id,
        find=partial(usable_policy, session),
        scoped=partial(scope_for, session),
        schedule=(schedule.id, number) if number is not None else None,
    )
    require_authorization(session, settings, new)
    own = NotifyRules.model_validate(schedule.notify) if schedule.notify is not None else None
    return replace(new, policy=new.policy.model_copy(update={"notify": effective_rules(new.policy.notify, own)}))
