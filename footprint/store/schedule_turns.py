"""What becomes of each time that a schedule comes due: scanned, queued behind the last, or skipped; written down."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import and_, delete, exists, select, update
from sqlalchemy.orm import Session, aliased

from footprint.states import LIVE, Status
from footprint.store.schedule_tables import QUEUED, SCANNED, ScheduleRow, ScheduleRunRow
from footprint.store.tables import Scan, now

LONG = timedelta(minutes=15)
"""After this a queued scan looks again for itself, should nobody have told it that its turn has come."""
# The numbers of runs that went with their schedule are given out again.
OF_RUN = and_(ScheduleRunRow.id == Scan.schedule_run, ScheduleRunRow.schedule_id == Scan.schedule_id)


def hold_schedule(session: Session, schedule_id: UUID) -> ScheduleRow | None:
    """A schedule, if there is one, for this transaction alone: two of its runs decide one after the other."""
    return session.scalars(select(ScheduleRow).where(ScheduleRow.id == schedule_id).with_for_update()).one_or_none()


def schedule_of_prefect(session: Session, prefect_id: UUID) -> UUID | None:
    """The schedule that this one of Prefect's was made for, if there is one."""
    known = select(ScheduleRow.id).where(ScheduleRow.prefect_id == prefect_id)
    return session.scalars(known.limit(1)).one_or_none()


def run_of_task(session: Session, task_id: UUID) -> ScheduleRunRow | None:
    """What was decided for this Prefect run before."""
    return session.scalars(select(ScheduleRunRow).where(ScheduleRunRow.task_id == task_id)).one_or_none()


def note_run(
    session: Session,
    schedule_id: UUID,
    outcome: str,
    *,
    task_id: UUID | None = None,
    due_at: datetime | None = None,
    reason: str | None = None,
) -> ScheduleRunRow:
    """Write down what becomes of a time."""
    row = ScheduleRunRow(schedule_id=schedule_id, task_id=task_id, due_at=due_at, outcome=outcome, reason=reason)
    session.add(row)
    session.flush()
    return row


def unended(session: Session, schedule_id: UUID, before: int | None = None) -> Scan | None:
    """A scan of the schedule that has not ended, of a run `before` that number or of any; the oldest."""
    live = select(Scan).where(Scan.schedule_id == schedule_id, Scan.status.in_(LIVE))
    if before is not None:
        live = live.where(Scan.schedule_run < before)
    return session.scalars(live.order_by(Scan.schedule_run, Scan.created_at).limit(1)).one_or_none()


def has_queued(session: Session, schedule_id: UUID) -> bool:
    """Whether a run of the schedule waits already."""
    waiting = select(Scan.id).join(ScheduleRunRow, OF_RUN)
    waiting = waiting.where(
        Scan.schedule_id == schedule_id,
        Scan.status.in_(LIVE),
        Scan.started_at.is_(None),
        ScheduleRunRow.outcome == QUEUED,
    )
    return session.scalars(waiting.limit(1)).one_or_none() is not None


def predecessor(session: Session, scan: Scan) -> Scan | None:
    """The scan of an earlier run of its schedule for which a queued scan waits."""
    # Its status may say STARTED before its flow has: the API writes there what Prefect says.
    has_begun = scan.started_at is not None or Status(scan.status).is_terminal
    if scan.schedule_id is None or scan.schedule_run is None or has_begun:
        return None
    run = session.get(ScheduleRunRow, scan.schedule_run)
    if run is None or run.schedule_id != scan.schedule_id or run.outcome != QUEUED:
        return None
    return unended(session, scan.schedule_id, scan.schedule_run)


def waits_for(scan: Scan) -> str:
    """What a scan that is queued behind this one waits for, in words."""
    return f"waits for the last run of its schedule: scan {scan.id} has not ended"


def released(session: Session) -> list[tuple[UUID, UUID]]:
    """Queued scans whose turn has come, with their Prefect runs."""
    before = aliased(Scan)
    earlier = exists().where(
        before.schedule_id == Scan.schedule_id, before.schedule_run < Scan.schedule_run, before.status.in_(LIVE)
    )
    turn = select(Scan.id, Scan.task_id).join(ScheduleRunRow, OF_RUN)
    turn = turn.where(Scan.status == Status.PENDING, Scan.task_id.is_not(None), Scan.resume_at.is_not(None))
    rows = session.execute(turn.where(ScheduleRunRow.outcome == QUEUED, ~earlier))
    return [(scan, task) for scan, task in rows if task is not None]


def note_released(session: Session, scan_id: UUID) -> None:
    """A queued scan was given to the workers: it only waits for one of them."""
    scan = session.get(Scan, scan_id)
    if scan is not None and scan.status == Status.PENDING:
        scan.resume_at = scan.waiting = None
        run = (ScheduleRunRow.id == scan.schedule_run, ScheduleRunRow.schedule_id == scan.schedule_id)
        session.execute(update(ScheduleRunRow).where(*run).values(outcome=SCANNED, reason=None))


def without_run(session: Session, older_than: timedelta) -> list[UUID]:
    """Scans that a schedule asked for and that got no Prefect run: whoever was to start them died, or found it away."""
    left = select(Scan.id).where(Scan.task_id.is_(None), Scan.schedule_id.is_not(None), Scan.status.in_(LIVE))
    return list(session.scalars(left.where(Scan.created_at < now() - older_than)))


def withdraw_turn(session: Session, scans: Sequence[UUID]) -> Scan | None:
    """Take back what was asked for out of turn, and its time: its caller is told so.

    Returns the first scan where a worker has taken it up already: then it stays, and so does its time.
    """
    first = session.get_one(Scan, scans[0], populate_existing=True)
    session.execute(delete(Scan).where(Scan.id.in_(scans), Scan.task_id.is_(None)))
    if first.task_id is not None:
        return first
    session.execute(delete(ScheduleRunRow).where(ScheduleRunRow.id == first.schedule_run))
    return None
