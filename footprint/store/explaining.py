"""What the store knows of a scan that says why it is where it is, and the lines that its units make of a log."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from footprint.journal import UnitTold
from footprint.scan_facts import ScanSeen, TellingSeen, Trouble, UnitSeen
from footprint.states import Status
from footprint.store.closings import closed_upon
from footprint.store.deliveries import deliveries_of
from footprint.store.scans import LEASE
from footprint.store.schedule_tables import ScheduleRow
from footprint.store.schedule_turns import predecessor
from footprint.store.tables import ModuleRun, Scan, now
from footprint.verdict import UnitStatus

MOST_UNITS = 1000
BAD = (UnitStatus.FAILED, UnitStatus.SKIPPED, UnitStatus.PARTIAL)


def scan_seen(session: Session, scan: Scan) -> ScanSeen:
    """A scan with what runs of it, or with what went wrong once it has ended."""
    status = Status(scan.status)
    return ScanSeen(
        id=scan.id,
        target=scan.target,
        status=status,
        created_at=scan.created_at,
        started_at=scan.started_at,
        finished_at=scan.finished_at,
        cancelled_at=scan.cancelled_at,
        renewed_at=scan.lease_until - LEASE if scan.lease_until else None,
        attempt=scan.attempt,
        progress=scan.progress,
        error=scan.error,
        warnings=tuple(scan.warnings),
        found=_found(scan),
        waiting=sum(line.get("waiting", 0) + line.get("planned", 0) for line in scan.modules),
        unit_timeout=int(scan.policy.get("unit_timeout", 0)),
        units=() if status.is_terminal else _running(session, scan.id),
        troubles=_troubles(session, scan.id) if status.is_terminal else (),
        put_back=scan.waiting,
        closed=closed_upon(scan, now()),
        schedule=_schedule(session, scan),
        is_queued=predecessor(session, scan) is not None,
        resume_at=scan.resume_at,
        held=tuple(
            f"{line['name']} waits for {line['waiting_for']}" for line in scan.modules if line.get("waiting_for")
        ),
        tellings=_tellings(session, scan.id) if status.is_terminal else (),
    )


def _tellings(session: Session, scan_id: UUID) -> tuple[TellingSeen, ...]:
    return tuple(
        TellingSeen(one.receiver, one.status, one.tries, one.last_error or "", one.delivered_at)
        for one in deliveries_of(session, scan_id)
    )


def _schedule(session: Session, scan: Scan) -> str | None:
    if scan.schedule_id is None:
        return None
    known = session.get(ScheduleRow, scan.schedule_id)
    return f"{scan.schedule_id} ({known.comment})" if known and known.comment else str(scan.schedule_id)


def _found(scan: Scan) -> str:
    counts = (f"{kind.replace('_', ' ')} {count}" for kind, count in scan.counts.items() if count)
    return ", ".join(counts) or "nothing was found"


def _running(session: Session, scan_id: UUID) -> tuple[UnitSeen, ...]:
    running = select(ModuleRun).where(ModuleRun.scan_id == scan_id, ModuleRun.status == UnitStatus.RUNNING)
    runs = session.scalars(running.order_by(ModuleRun.started_at).limit(MOST_UNITS))
    return tuple(
        UnitSeen(run.module, run.batch, len(run.inputs), run.progress, run.started_at) for run in runs if run.started_at
    )


def _troubles(session: Session, scan_id: UUID) -> tuple[Trouble, ...]:
    reason = (ModuleRun.module, ModuleRun.status, ModuleRun.error, ModuleRun.hint)
    bad = select(*reason, func.count()).where(
        ModuleRun.scan_id == scan_id, ModuleRun.status.in_(BAD), ModuleRun.error.is_not(None)
    )
    grouped = session.execute(bad.group_by(*reason).order_by(ModuleRun.status, ModuleRun.module).limit(MOST_UNITS))
    return tuple(
        Trouble(module, status, units, error or "", hint or "") for module, status, error, hint, units in grouped
    )


def scans_of_tasks(session: Session, task_ids: Sequence[UUID]) -> dict[UUID, tuple[UUID, str]]:
    """The scans, by id and target, that these Prefect runs carry out."""
    rows = session.execute(select(Scan.task_id, Scan.id, Scan.target).where(Scan.task_id.in_(task_ids)))
    return {task_id: (scan_id, target) for task_id, scan_id, target in rows if task_id}


def units_told(session: Session, scan_id: UUID) -> Iterable[UnitTold]:
    """What each unit of a scan says of itself, in the order they were planned."""
    told = (ModuleRun.records, ModuleRun.error, ModuleRun.hint, ModuleRun.stderr, ModuleRun.started_at)
    columns = (ModuleRun.module, ModuleRun.batch, ModuleRun.status, *told, ModuleRun.finished_at)
    # The inputs themselves may be many, and only their number is told.
    targets = func.json_array_length(ModuleRun.inputs).label("targets")
    rows = session.execute(select(*columns, targets).where(ModuleRun.scan_id == scan_id).order_by(ModuleRun.id))
    return [UnitTold(**{**row, "status": UnitStatus(row["status"])}) for row in rows.mappings()]
