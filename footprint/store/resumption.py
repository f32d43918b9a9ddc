"""How a scan goes on: put back to be taken up again as itself, or taken over by a new scan once it has ended."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, cast
from uuid import UUID

from sqlalchemy import ColumnElement, CursorResult, and_, case, insert, literal, or_, select, update
from sqlalchemy.orm import Session, aliased

from footprint.admission import NewScan
from footprint.errors import Conflict
from footprint.policy import ScanPolicy
from footprint.states import LIVE, Status
from footprint.store.assets import scope_for
from footprint.store.endings import SCAN_ENDED
from footprint.store.inventory import counts_of
from footprint.store.packing import record_of
from footprint.store.scans import ASKED_ANEW, forget_unfinished
from footprint.store.tables import CoverageRow, ModuleRun, Scan, Sighting
from footprint.store.units import digest_of
from footprint.verdict import UNFINISHED, UnitStatus

MOST_RESUMES = 2
"""How often a scan whose worker was lost goes on by itself."""
CRASH_PAUSE = timedelta(seconds=15)
"""Between a crash and the next attempt: a late report of the crash would end that one too."""


def put_back(
    session: Session, scan_id: UUID, *, attempt: int, reason: str, at: datetime, losses: int | None = None
) -> bool:
    """Give a scan back, to be taken up again at a time; until then it holds no lease, and its old flow cannot write.

    Its status is then RETRY, or PENDING where it has not begun. `losses` is given where its worker was lost: how often
    that had happened before. False where the scan has ended, or was taken up or put back by another.
    """
    own = update(Scan).where(Scan.id == scan_id, Scan.attempt == attempt, Scan.status.in_(LIVE))
    lost = {} if losses is None else {"losses": losses + 1}
    status = case((Scan.started_at.is_(None), Status.PENDING.value), else_=Status.RETRY.value)
    back = (own if losses is None else own.where(Scan.losses == losses)).values(
        status=status, lease_until=None, resume_at=at, waiting=reason, **lost
    )
    if not cast("CursorResult[Any]", session.execute(back)).rowcount:
        return False
    forget_unfinished(session, scan_id)
    _, modules = digest_of(session, scan_id, {})
    session.execute(update(Scan).where(Scan.id == scan_id).values(modules=modules))
    return True


def note_rescheduled(session: Session, scan_id: UUID) -> None:
    """Prefect has the run again: nothing is left to do but to wait for a worker."""
    session.execute(update(Scan).where(Scan.id == scan_id).values(resume_at=None))


def again(session: Session, scan: Scan) -> NewScan:
    """A request for the same scan, with the policy that was frozen into it, and the scope that holds now.

    Raises `Conflict` while it goes on.
    """
    if not Status(scan.status).is_terminal:
        raise Conflict(f"the scan has not ended: {scan.status}", hint="wait for its end, or cancel it")
    policy, target = ScanPolicy.model_validate(scan.policy), record_of(scan.target_kind, scan.target)
    return NewScan(target, policy, scan.comment, "api", scope=scope_for(session, target))


def take_over(session: Session, old: Scan, new: Scan, module: str | None = None) -> None:
    """Give a new scan what an ended one finished, so that only the rest is looked at.

    What failed, or was stopped, is not finished; `module` says that only its own units are to be done again. Raises
    `Conflict` where nothing is left to do, or the scan is being resumed already.
    """
    # Two requests at once would not see each other's scan.
    session.execute(select(Scan.id).where(Scan.id == old.id).with_for_update())
    other = select(Scan.id).where(Scan.resumed_from == old.id, Scan.status.in_(LIVE), Scan.id != new.id)
    if (running := session.scalars(other).first()) is not None:
        raise Conflict("the scan is being resumed already", hint=f"that is scan {running}")
    unfinished = _unfinished(module)
    left = session.scalars(select(ModuleRun.id).where(ModuleRun.scan_id == old.id, unfinished)).first()
    if left is None and (module or old.status == Status.SUCCESS):
        raise Conflict("every unit of it was finished: nothing is left to do", hint="`rerun` does all of it again")
    new.resumed_from = old.id
    _copy_units(session, old.id, new.id, ~unfinished)
    _, new.modules = digest_of(session, new.id, {})
    new.counts = counts_of(session, new.id)


def _unfinished(module: str | None) -> ColumnElement[bool]:
    if module is not None:
        return and_(ModuleRun.module == module, ModuleRun.status != UnitStatus.DONE)
    return or_(
        ModuleRun.status.in_((*UNFINISHED, UnitStatus.FAILED)),
        and_(ModuleRun.status == UnitStatus.SKIPPED, ModuleRun.error_code.is_not(None)),
        # A comparison with what is not there is neither true nor false, and neither is its opposite.
        and_(ModuleRun.error_code.is_not(None), ModuleRun.error_code.in_((*ASKED_ANEW, SCAN_ENDED))),
    )


def _copy_units(session: Session, old: UUID, new: UUID, finished: ColumnElement[bool]) -> None:
    own = [column for column in ModuleRun.__table__.columns if column.name not in ("id", "scan_id", "attempt")]
    taken = select(literal(new), literal(0), *own).where(ModuleRun.scan_id == old, finished).order_by(ModuleRun.id)
    names = ["scan_id", "attempt", *(column.name for column in own)]
    session.execute(insert(ModuleRun).from_select(names, taken, include_defaults=False))
    before, after = aliased(ModuleRun), aliased(ModuleRun)
    same = and_(after.module == before.module, after.batch == before.batch, after.scan_id == new)
    seen = select(after.id, CoverageRow.subject, CoverageRow.outcome, CoverageRow.note)
    seen = seen.join(before, before.id == CoverageRow.module_run_id).join(after, same).where(before.scan_id == old)
    session.execute(insert(CoverageRow).from_select(["module_run_id", "subject", "outcome", "note"], seen))
    found = select(literal(new), after.id, Sighting.kind, Sighting.entity_id, Sighting.facts)
    found = found.join(before, before.id == Sighting.module_run_id).join(after, same).where(before.scan_id == old)
    places = ["scan_id", "module_run_id", "kind", "entity_id", "facts"]
    session.execute(insert(Sighting).from_select(places, found.order_by(Sighting.id)))
