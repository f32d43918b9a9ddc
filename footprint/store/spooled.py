"""How the store takes over what a spool has kept for it."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from footprint.errors import StoreUnavailable
from footprint.records import Record
from footprint.spool import Spool, Spooled
from footprint.states import LIVE
from footprint.store.engine import Store
from footprint.store.packing import unpack
from footprint.store.scans import hold
from footprint.store.tables import ModuleRun, Scan
from footprint.store.units import Unit, plan_unit, settle_unit


def settle_spooled(session: Session, scan_id: UUID, attempt: int, spooled: Spooled) -> bool:
    """Keep what an earlier attempt found, as a unit of this one, before this one plans any.

    False where its module was given some of its records in a unit that is over: the store has that result, and the
    file outlived it. Raises `ScanStopped`.
    """
    hold(session, scan_id, attempt)
    unit = spooled.unit
    runs = session.scalars(select(ModuleRun).where(ModuleRun.scan_id == scan_id, ModuleRun.module == unit.module)).all()
    given: set[Record] = {unpack(packed) for run in runs for packed in run.inputs}
    if given & set(unit.records):
        return False
    batches = {run.batch for run in runs}
    batch = unit.batch if unit.batch not in batches else max(batches) + 1
    unit_id = plan_unit(session, scan_id, attempt, Unit(unit.module, batch, unit.depth, unit.records))
    settle_unit(session, scan_id, attempt, unit_id, spooled.settled)
    run = session.get_one(ModuleRun, unit_id)
    run.started_at, run.finished_at = spooled.begun_at, spooled.ended_at
    return True


def clear_spool(store: Store, spool: Spool) -> list[UUID]:
    """Drop what is kept of scans that have ended; returns which. A store that is away leaves all of it.

    What is of a scan that the store does not know is left: it may be another installation's.
    """
    there = spool.scans()
    if not there:
        return []
    over = select(Scan.id).where(Scan.id.in_(there), Scan.status.not_in(LIVE))
    try:
        with store.read() as session:
            ended = list(session.scalars(over))
    except StoreUnavailable:
        return []
    for scan_id in ended:
        spool.drop_scan(scan_id)
    return ended
