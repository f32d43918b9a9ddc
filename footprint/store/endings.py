"""How a scan ends: its verdict, and the units that will not end any more, in one transaction."""

from __future__ import annotations

from datetime import datetime
from typing import Any, cast
from uuid import UUID

from sqlalchemy import CursorResult, func, select, update
from sqlalchemy.orm import Session

from footprint.states import LIVE, Status
from footprint.store.ledger import release_all
from footprint.store.outbox import open_notifications
from footprint.store.scoring import scores_of_scan
from footprint.store.tables import ModuleRun, Scan, now
from footprint.store.units import digest_of
from footprint.verdict import UNFINISHED, UnitStatus, Verdict

LEFT = "the scan ended before this unit did"
SCAN_ENDED = "scan_ended"
"""The error code of such a unit."""


def finish(
    session: Session,
    scan_id: UUID,
    verdict: Verdict,
    state: str,
    *,
    at: datetime | None = None,
    attempt: int | None = None,
    processes: int | None = None,
) -> bool:
    """End a scan. False where it had ended before, or is not this attempt's: a terminal status never changes.

    `processes` is how many of its processes were ended for it, where that is known.
    """
    moment = now()
    ended: dict[str, Any] = {
        "status": verdict.status,
        "state": state,
        "finished_at": at or moment,
        "warnings": list(verdict.warnings),
        "error": verdict.error,
        "lease_until": None,
        "resume_at": None,
        "waiting": None,
    }
    if verdict.status is Status.SUCCESS:
        ended["progress"] = 100
    if verdict.status is Status.REVOKED:
        ended["cancelled_at"] = func.coalesce(Scan.cancelled_at, moment)
    if processes is not None:
        ended |= {"processes_ended": processes, "processes_gone_at": moment}
    own = update(Scan).where(Scan.id == scan_id, Scan.status.in_(LIVE))
    if attempt is not None:
        own = own.where(Scan.attempt == attempt, Scan.status == Status.STARTED)
    changed = session.execute(own.values(**ended))
    if not cast("CursorResult[Any]", changed).rowcount:
        return False
    _close_units(session, scan_id)
    release_all(session, scan_id)
    _, modules = digest_of(session, scan_id, {})
    score = scores_of_scan(session, scan_id).asset
    session.execute(update(Scan).where(Scan.id == scan_id).values(modules=modules, score=score))
    open_notifications(session, scan_id)
    return True


def _close_units(session: Session, scan_id: UUID) -> None:
    unfinished = select(ModuleRun).where(ModuleRun.scan_id == scan_id, ModuleRun.status.in_(UNFINISHED))
    for run in session.scalars(unfinished):
        run.status = UnitStatus.FAILED if run.started_at else UnitStatus.SKIPPED
        run.error_code, run.error, run.finished_at = SCAN_ENDED, LEFT, now()
    session.flush()
