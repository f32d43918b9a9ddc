"""How a unit's result is kept: by the store, and while that is away by the spool and in memory, until it is back.

Whoever carries a unit out tries once (`keep_result`). What was not kept then is the flow's to try again, as long as it
lives (`unsettled`), and then the next attempt's on this machine (`take_up`).
"""

from __future__ import annotations

import logging
from functools import partial
from uuid import UUID

from sqlalchemy.exc import SQLAlchemyError

from footprint.errors import ScanStopped, StoreUnavailable
from footprint.spool import Spool, Spooled
from footprint.store.scans import ASKED_ANEW, Begun
from footprint.store.spooled import settle_spooled
from footprint.store.units import settle_unit
from tasks.installation import Installation

Log = logging.Logger | logging.LoggerAdapter[logging.Logger]

_held: dict[UUID, dict[int, Spooled]] = {}


def keep_result(here: Installation, scan: Begun, unit_id: int, ended: Spooled, log: Log) -> int | None:
    """Have the store keep how a unit ended, or see to it that this is not lost where it does not.

    Returns how many records were kept, None where that is still to be done. Raises `ScanStopped`.
    """
    try:
        with here.store.write() as session:
            return settle_unit(session, scan.id, scan.attempt, unit_id, ended.settled)
    except StoreUnavailable as away:
        _held.setdefault(scan.id, {})[unit_id] = ended
        if ended.settled.error_code not in ASKED_ANEW:
            _spool(here, scan, ended, away, log)
    return None


def _spool(here: Installation, scan: Begun, ended: Spooled, away: StoreUnavailable, log: Log) -> None:
    found = f"what {ended.unit.module} batch {ended.unit.batch} found"
    try:
        Spool(here.settings.spool_dir).keep(scan.id, ended)
        log.warning("%s: %s is kept in the spool until it is back", away, found)
    except OSError as full:
        why = full.strerror or type(full).__name__
        log.error("%s; the spool cannot be written either (%s): %s is in memory only", away, why, found)


def unsettled(scan_id: UUID) -> dict[int, Spooled]:
    """What of a scan the store has not taken yet, by the unit's id."""
    return dict(_held.get(scan_id, {}))


def forget(here: Installation, scan_id: UUID, unit_id: int) -> None:
    """The store has it, or never will."""
    ended = _held.get(scan_id, {}).pop(unit_id, None)
    if ended is not None:
        Spool(here.settings.spool_dir).drop(scan_id, ended)


def settle_rest(here: Installation, scan: Begun) -> None:
    """Offer the store once more what it has not taken: this attempt is at its end."""
    for unit_id, ended in unsettled(scan.id).items():
        settle_one = partial(settle_unit, scan_id=scan.id, attempt=scan.attempt, unit_id=unit_id, settled=ended.settled)
        try:
            with here.store.write() as session:
                settle_one(session)
        except (StoreUnavailable, ScanStopped):
            return
        forget(here, scan.id, unit_id)


def take_up(here: Installation, scan: Begun, log: Log) -> int:
    """Have the store keep what earlier attempts of a scan left in the spool of this machine; returns how many units.

    Those are done, and are not planned again. Raises `ScanStopped`, `StoreUnavailable`.
    """
    spool = Spool(here.settings.spool_dir)
    taken = 0
    for spooled in spool.of_scan(scan.id, log.warning):
        unit = spooled.unit
        change = partial(settle_spooled, scan_id=scan.id, attempt=scan.attempt, spooled=spooled)
        try:
            is_new = here.store.keep(change)
        except SQLAlchemyError as refused:
            log.warning("%s is set aside: the store refuses it (%s)", spooled.name, type(refused).__name__)
            spool.set_aside(scan.id, spooled)
            continue
        spool.drop(scan.id, spooled)
        if is_new:
            taken += 1
            log.info("%s batch %d was kept in the spool, and is done", unit.module, unit.batch)
    return taken
