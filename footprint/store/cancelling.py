"""How scans are ended before their time, and taken out of the store."""

from __future__ import annotations

from collections.abc import Collection
from uuid import UUID

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from footprint.errors import Conflict, NotFound
from footprint.states import LIVE, Status
from footprint.store.endings import finish
from footprint.store.tables import Scan, now
from footprint.verdict import Verdict

REVOKED = "Cancelled"
"""What Prefect calls it."""


def request_cancel(session: Session, scan_id: UUID) -> Scan:
    """Ask for a scan's end; asking again changes nothing.

    One that no flow ever took up ends here and now. One that was put back is for `revoke_put_back`; else its flow sees
    the mark within a second, whether Prefect answers or not. Raises `NotFound`, or `Conflict` where the scan has ended.
    """
    scan = _held(session, scan_id)
    if Status(scan.status).is_terminal:
        raise Conflict(f"the scan has ended already: {scan.status}")
    scan.cancelled_at = scan.cancelled_at or now()
    session.flush()
    if scan.lease_until is None and not scan.attempt:
        finish(session, scan_id, Verdict(Status.REVOKED), REVOKED, processes=0)
        session.refresh(scan)
    return scan


def is_put_back(scan: Scan) -> bool:
    """Whether no flow is at work on a scan, and one was: something of it may be left."""
    return scan.lease_until is None and scan.attempt > 0 and not Status(scan.status).is_terminal


def revoke_put_back(session: Session, scan_id: UUID, *, processes: int, left: Collection[int]) -> Scan:
    """End a cancelled scan that was put back, after a look at its processes: so many were ended, and `left` were not.

    Nothing is changed of one that is not put back any more. Raises `NotFound`.
    """
    scan = _held(session, scan_id)
    if is_put_back(scan):
        if left:
            note_stuck(session, scan_id, left)
        else:
            finish(session, scan_id, Verdict(Status.REVOKED), REVOKED, processes=processes)
        session.refresh(scan)
    return scan


def is_cancelled(session: Session, scan_id: UUID) -> bool:
    """Whether somebody asked for the scan's end."""
    return session.scalar(select(Scan.cancelled_at).where(Scan.id == scan_id)) is not None


def note_stuck(session: Session, scan_id: UUID, left: Collection[int]) -> str:
    """Write down why a cancelled scan is not revoked yet, and return the words: `left` could not be ended."""
    said = f"processes of it could not be ended: {', '.join(map(str, sorted(left)))}"
    session.execute(update(Scan).where(Scan.id == scan_id, Scan.status.in_(LIVE)).values(waiting=said))
    return said


def revoke_waiting(session: Session) -> list[UUID]:
    """End every scan that has not begun; returns their Prefect runs. Those that are asked for right now are left."""
    ended = {"status": Status.REVOKED, "state": REVOKED, "cancelled_at": now(), "finished_at": now()}
    ended |= {"processes_ended": 0, "processes_gone_at": now(), "waiting": None, "resume_at": None}
    unbegun = update(Scan).where(Scan.status == Status.PENDING, Scan.attempt == 0, Scan.task_id.is_not(None))
    return [run for run in session.scalars(unbegun.values(**ended).returning(Scan.task_id)) if run is not None]


def delete_scan(session: Session, scan_id: UUID) -> None:
    """Forget a scan, its units and its sightings; what is known of the asset stays.

    Raises `NotFound`, or `Conflict` where the scan has not ended.
    """
    scan = _held(session, scan_id)
    if not Status(scan.status).is_terminal:
        raise Conflict(f"the scan has not ended: {scan.status}", hint="cancel it first")
    session.execute(delete(Scan).where(Scan.id == scan_id))


def _held(session: Session, scan_id: UUID) -> Scan:
    wanted = select(Scan).where(Scan.id == scan_id, Scan.task_id.is_not(None)).with_for_update()
    scan = session.scalars(wanted).one_or_none()
    if scan is None:
        raise NotFound("there is no scan of that id")
    return scan
