"""What receivers are to be told of a scan: opened with its verdict, decided once it is known what changed.

Both may be repeated. A flow that dies between the two leaves rows without a message; `undecided` finds them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from enum import StrEnum
from uuid import UUID

from sqlalchemy import exists, select
from sqlalchemy.orm import Session

from footprint.drift import Difference
from footprint.notification import (
    Notification,
    ScanEnd,
    event_id,
    is_worth_telling,
    of_changes,
    of_failure,
    of_nothing,
    of_unknown,
)
from footprint.notify_rules import NotifyRules
from footprint.records import Finding, Outcome, Record
from footprint.states import Status
from footprint.store.changes import drift_at_end, write_down
from footprint.store.differences import Drift
from footprint.store.notification_tables import NotificationRow
from footprint.store.scoring import FALSE_POSITIVE
from footprint.store.tables import CoverageRow, FindingRow, ModuleRun, Scan, now

FLOW_TIME = timedelta(seconds=60)
"""What a flow has to say what changed, before somebody else does."""
DECIDED_AT_ONCE = 20
LOOKED_AT = (Outcome.ANSWERED, Outcome.SAMPLED, Outcome.SILENT)
IDS_AT_ONCE = 500


class Delivery(StrEnum):
    """How far a notification is."""

    UNDECIDED = "undecided"
    PENDING = "pending"
    DELIVERED = "delivered"
    GIVEN_UP = "given_up"
    NOT_NEEDED = "not_needed"


def rules_of(scan: Scan) -> NotifyRules:
    """Who is told of a scan, and of what: as its policy said when it was asked for, or its schedule."""
    return NotifyRules.model_validate(scan.policy.get("notify") or {})


def open_notifications(session: Session, scan_id: UUID) -> None:
    """Write down, with the verdict of a scan, who may have to be told. A failure is decided at once."""
    scan = session.get_one(Scan, scan_id, populate_existing=True)
    rules = rules_of(scan)
    status = Status(scan.status)
    if not rules.to or status not in (Status.SUCCESS, Status.FAILURE):
        return
    known = set(session.scalars(select(NotificationRow.receiver).where(NotificationRow.scan_id == scan_id)))
    at = now()
    for receiver in rules.to:
        if receiver not in known:
            row = NotificationRow(scan_id=scan_id, receiver=receiver, status=Delivery.UNDECIDED)
            row.created_at = row.next_try_at = at
            session.add(row)
    session.flush()
    if status is Status.FAILURE:
        _decide(session, scan, lambda: _failure(session, scan, rules))


def decide(session: Session, scan_id: UUID, drift: Drift | None) -> None:
    """Say what is told of a scan that ended well, given what changed; of one that had been decided, nothing new."""
    scan = session.get_one(Scan, scan_id)
    _decide(session, scan, lambda: _news(session, scan, drift))


def undecided(session: Session) -> list[UUID]:
    """The scans whose flow did not come to it, some of them."""
    late = (
        select(NotificationRow.scan_id)
        .where(NotificationRow.status == Delivery.UNDECIDED, NotificationRow.created_at < now() - FLOW_TIME)
        .distinct()
        .limit(DECIDED_AT_ONCE)
    )
    return list(session.scalars(late))


def decide_late(session: Session, scan_id: UUID) -> None:
    """Do what a flow did not come to: write down what changed, and decide."""
    drift = drift_at_end(session, scan_id)
    if drift is not None:
        write_down(session, drift)
    decide(session, scan_id, drift)


def decide_blindly(session: Session, scan_id: UUID) -> None:
    """Have receivers told that a scan has ended, where it cannot be found out what changed."""
    scan = session.get_one(Scan, scan_id)
    _decide(session, scan, lambda: of_unknown(_end(scan)))


def _decide(session: Session, scan: Scan, tell: Callable[[], Notification | None]) -> None:
    undecided = (NotificationRow.scan_id == scan.id, NotificationRow.status == Delivery.UNDECIDED)
    rows = session.scalars(select(NotificationRow).where(*undecided).with_for_update()).all()
    if not rows:
        return
    told = tell()
    for row in rows:
        if told is None:
            row.status = Delivery.NOT_NEEDED
            continue
        row.status, row.type = Delivery.PENDING, told.type
        row.event_id, row.message = event_id(scan.id, row.receiver, told.type), told.model_dump(mode="json")
        row.next_try_at = now()
    session.flush()


def _failure(session: Session, scan: Scan, rules: NotifyRules) -> Notification | None:
    if rules.on.failure or (rules.on.nothing_looked_at and not _has_looked(session, scan)):
        return of_failure(_end(scan), scan.error or "", scan.warnings)
    return None


def _news(session: Session, scan: Scan, drift: Drift | None) -> Notification | None:
    rules = rules_of(scan)
    differences = drift.differences if drift else ()
    if drift and is_worth_telling(differences, rules.on, _false_positives(session, drift, differences)):
        return of_changes(_end(scan), differences, is_first=drift.against is None)
    if rules.on.nothing_looked_at and not _has_looked(session, scan):
        return of_nothing(_end(scan), scan.warnings)
    return None


def _end(scan: Scan) -> ScanEnd:
    return ScanEnd(
        scan=scan.id,
        task_id=scan.task_id,
        target=scan.target,
        policy=scan.policy_name,
        status=scan.status,
        at=scan.finished_at or now(),
        found={kind: count for kind, count in scan.counts.items() if count},
    )


def _false_positives(session: Session, drift: Drift, differences: Sequence[Difference]) -> set[Record]:
    """Those of the findings that somebody marked as never having been there."""
    ids = {drift.ids[each.record]: each.record for each in differences if isinstance(each.record, Finding)}
    numbers = list(ids)
    found: set[Record] = set()
    for start in range(0, len(numbers), IDS_AT_ONCE):
        some = FindingRow.id.in_(numbers[start : start + IDS_AT_ONCE])
        marked = select(FindingRow.id).where(some, FindingRow.status == FALSE_POSITIVE)
        found.update(ids[number] for number in session.scalars(marked))
    return found


def _has_looked(session: Session, scan: Scan) -> bool:
    """Whether a target of a required module, or of any where none is required, was looked at."""
    looked = (
        select(CoverageRow.module_run_id)
        .join(ModuleRun, ModuleRun.id == CoverageRow.module_run_id)
        .where(ModuleRun.scan_id == scan.id, CoverageRow.outcome.in_(LOOKED_AT))
    )
    if required := scan.policy.get("required"):
        looked = looked.where(ModuleRun.module.in_(required))
    return bool(session.scalar(select(exists(looked))))
