"""Schedules as the API keeps them: made, attached to Prefect's, read with what came of them, removed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, cast
from uuid import UUID

from sqlalchemy import CursorResult, Select, delete, func, select, update
from sqlalchemy.orm import Session

from footprint.errors import InvalidSchedule, NotFound
from footprint.faults import Fault
from footprint.schedule_reconciliation import Gone, Ours, TakeOver
from footprint.states import Status
from footprint.store.assets import roots_of
from footprint.store.schedule_tables import SKIPPED, ScheduleRow, ScheduleRunRow
from footprint.store.tables import Asset, Scan, now
from footprint.timing import Timing, as_said


@dataclass(frozen=True, slots=True)
class LastScan:
    """The scan that a schedule asked for last."""

    id: UUID
    status: Status
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Past:
    """What came of a schedule: its last scan, the last time it came due, and how many times were skipped."""

    last_scan: LastScan | None
    last_run: ScheduleRunRow | None
    skipped: int


def schedules_page(session: Session, offset: int, limit: int) -> tuple[Sequence[ScheduleRow], int]:
    """A page of schedules, the oldest first, and how many there are in all."""
    known = _known()
    count = session.scalar(select(func.count()).select_from(known.subquery())) or 0
    page = known.order_by(ScheduleRow.created_at, ScheduleRow.id).offset(offset).limit(limit)
    return session.scalars(page).all(), count


def schedule_by_id(session: Session, schedule_id: UUID, *, held: bool = False) -> ScheduleRow:
    """One schedule, or one that is held until the transaction ends. Raises `NotFound`."""
    wanted = _known().where(ScheduleRow.id == schedule_id)
    row = session.scalars(wanted.with_for_update() if held else wanted).one_or_none()
    if row is None:
        raise NotFound("there is no schedule of that id", hint="`GET /api/schedules/` lists them")
    return row


def past_of(session: Session, schedule_id: UUID) -> Past:
    """What came of a schedule."""
    of_it = select(Scan).where(Scan.schedule_id == schedule_id, Scan.task_id.is_not(None))
    scan = session.scalars(of_it.order_by(Scan.created_at.desc(), Scan.id).limit(1)).one_or_none()
    runs = select(ScheduleRunRow).where(ScheduleRunRow.schedule_id == schedule_id)
    skipped = select(func.count()).where(ScheduleRunRow.schedule_id == schedule_id, ScheduleRunRow.outcome == SKIPPED)
    return Past(
        last_scan=LastScan(scan.id, Status(scan.status), scan.created_at) if scan else None,
        last_run=session.scalars(runs.order_by(ScheduleRunRow.id.desc()).limit(1)).one_or_none(),
        skipped=session.scalar(skipped) or 0,
    )


def runs_page(
    session: Session, schedule_id: UUID, offset: int, limit: int
) -> tuple[list[tuple[ScheduleRunRow, list[UUID]]], int]:
    """The times a schedule came due, each with its scans, the last first; and how many in all. Raises `NotFound`."""
    schedule_by_id(session, schedule_id)
    wanted = select(ScheduleRunRow).where(ScheduleRunRow.schedule_id == schedule_id)
    count = session.scalar(select(func.count()).select_from(wanted.subquery())) or 0
    rows = session.scalars(wanted.order_by(ScheduleRunRow.id.desc()).offset(offset).limit(limit)).all()
    asked = select(Scan.schedule_run, Scan.id).where(
        Scan.schedule_id == schedule_id, Scan.schedule_run.in_([row.id for row in rows]), Scan.task_id.is_not(None)
    )
    scans: dict[int | None, list[UUID]] = {}
    for run, scan in session.execute(asked.order_by(Scan.created_at, Scan.id)):
        scans.setdefault(run, []).append(scan)
    return [(row, scans.get(row.id, [])) for row in rows], count


def targets_of(session: Session, schedule: ScheduleRow) -> tuple[str, ...]:
    """What a schedule scans now: its target, or the roots that its asset has. Raises `InvalidSchedule`."""
    if schedule.asset_id is None:
        return (schedule.target or "",)
    if session.get(Asset, schedule.asset_id) is None:
        raise InvalidSchedule.because_of([Fault("asset", "there is no asset of that id")])
    roots = roots_of(session, [schedule.asset_id])
    if not roots:
        raise InvalidSchedule.because_of([Fault("asset", "it has no root that could be scanned")])
    return roots


def attach_schedule(session: Session, schedule_id: UUID, prefect_id: UUID, deployment_id: UUID) -> bool:
    """Give a schedule its schedule in Prefect. False where its row is gone."""
    known = update(ScheduleRow).where(ScheduleRow.id == schedule_id)
    made = known.values(prefect_id=prefect_id, deployment_id=deployment_id, gone_at=None, changed_at=now())
    return cast("CursorResult[Any]", session.execute(made)).rowcount == 1


def delete_schedule(session: Session, schedule_id: UUID) -> None:
    """Forget a schedule and what became of its times; its scans stay."""
    session.execute(delete(ScheduleRow).where(ScheduleRow.id == schedule_id))


def withdraw_forgotten_schedules(session: Session, older_than: timedelta) -> None:
    """Take back requests whose caller never got an answer."""
    forgotten = (ScheduleRow.prefect_id.is_(None), ScheduleRow.created_at < now() - older_than)
    session.execute(delete(ScheduleRow).where(*forgotten))


def ours(session: Session) -> list[Ours]:
    """Every schedule, those in the making as well, as far as it has to agree with Prefect's."""
    return [
        Ours(
            row.id,
            row.prefect_id,
            row.deployment_id,
            active=row.active,
            timing=timing_of(row),
            changed_at=row.changed_at,
            is_gone=row.gone_at is not None,
            what=what_of(row),
        )
        for row in session.scalars(select(ScheduleRow))
    ]


def take_over(session: Session, step: TakeOver | Gone) -> None:
    """Have a row say what Prefect says."""
    row = session.scalars(select(ScheduleRow).where(ScheduleRow.id == step.id).with_for_update()).one_or_none()
    if row is None:
        return
    if isinstance(step, Gone):
        row.active, row.gone_at = False, now()
        return
    row.active, row.prefect_id, row.gone_at = step.active, step.prefect_id, None
    if step.timing is not None:
        row.timing, row.said = step.timing.pack(), as_said(step.timing)
        row.timezone = row.timezone if step.timing.kind == "interval" else step.timing.timezone


def what_of(schedule: ScheduleRow) -> str:
    """What a schedule scans, in a word."""
    return schedule.target or "asset"


def timing_of(schedule: ScheduleRow) -> Timing:
    """When a schedule comes due."""
    return Timing.unpack(schedule.timing)


def _known() -> Select[tuple[ScheduleRow]]:
    return select(ScheduleRow).where(ScheduleRow.prefect_id.is_not(None))
