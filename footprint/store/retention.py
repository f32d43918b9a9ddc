"""Which scans are old enough to be forgotten, and which of those are needed all the same.

Never forgotten: a scan that goes on; the last good one of each target, for each set of modules and ports that looked
at it; what a scan that goes on will be compared with; a scan that somebody is still to be told of; and one that was the
last to see something of which it is not known that it is gone: without it that thing would be told of as new the next
time. When things were seen first and last, and what changed, is kept apart from scans, and outlives them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TypeVar
from uuid import UUID

from sqlalchemy import Text, cast, func, or_, select
from sqlalchemy.orm import Session

from footprint.drift import Change
from footprint.records import DomainName
from footprint.states import LIVE, TERMINAL, Status
from footprint.store.change_tables import ChangeRow
from footprint.store.differences import IDS_AT_ONCE, comparable, looked_at
from footprint.store.notification_tables import NotificationRow
from footprint.store.outbox import Delivery
from footprint.store.tables import CoverageRow, ModuleRun, Scan, Sighting

T = TypeVar("T")
REST = timedelta(hours=1)
"""How long a scan that has ended is left alone: its flow writes its report, and somebody is told of it."""


@dataclass(frozen=True, slots=True)
class Keeping:
    """For how many days after their end scans are kept, and how many of one target; 0 is for ever."""

    days: int
    scans: int


@dataclass(frozen=True, slots=True)
class Doomed:
    """A scan that is to be forgotten, and why. `bytes` are those of its rows' content, `records` what it saw."""

    id: UUID
    target: str
    policy: str
    status: Status
    ended_at: datetime
    task_id: UUID | None
    reason: str
    records: int = 0
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class _Ended:
    id: UUID
    asset_id: UUID
    target: str
    policy: str
    status: Status
    created_at: datetime
    ended_at: datetime
    task_id: UUID | None


def doomed_scans(session: Session, keeping: Keeping, at: datetime) -> list[Doomed]:
    """The scans that need not be kept any longer, the oldest first. Changes nothing."""
    groups: dict[tuple[UUID, str], list[_Ended]] = defaultdict(list)
    for scan in _ended(session):
        groups[scan.asset_id, scan.target].append(scan)
    found = {scan.id: (scan, why) for group in groups.values() for scan, why in _over_age(group, keeping, at)}
    if not found:
        return []
    needed = _needed_by_live(session) | _untold(session)
    needed |= _last_good(session, {scan.id: scan for scan, _ in found.values()}, groups)
    left = {scan_id: scan for scan_id, (scan, _) in found.items() if scan_id not in needed}
    needed |= _last_witnesses(session, list(left.values()))
    doomed = [_doomed(scan, why) for scan_id, (scan, why) in found.items() if scan_id not in needed]
    return sorted(_measured(session, doomed), key=lambda scan: (scan.ended_at, scan.id))


def _ended(session: Session) -> Iterator[_Ended]:
    columns = (Scan.id, Scan.asset_id, Scan.target, Scan.policy_name, Scan.status, Scan.created_at)
    ended_at = func.coalesce(Scan.finished_at, Scan.created_at, type_=Scan.finished_at.type)
    wanted = select(*columns, ended_at, Scan.task_id).where(Scan.status.in_(TERMINAL))
    for scan_id, asset_id, target, policy, status, created_at, ended, task_id in session.execute(wanted):
        yield _Ended(scan_id, asset_id, target, policy, Status(status), created_at, ended, task_id)


def _over_age(group: Sequence[_Ended], keeping: Keeping, at: datetime) -> Iterator[tuple[_Ended, str]]:
    newest_first = sorted(group, key=lambda scan: scan.created_at, reverse=True)
    for place, scan in enumerate(newest_first):
        if scan.ended_at > at - REST:
            continue
        if keeping.days and scan.ended_at < at - timedelta(days=keeping.days):
            yield scan, f"older than {keeping.days} days"
        elif keeping.scans and place >= keeping.scans:
            newest = "newest" if keeping.scans == 1 else f"{keeping.scans} newest"
            yield scan, f"older than the {newest} of its target"


def _doomed(scan: _Ended, reason: str) -> Doomed:
    return Doomed(scan.id, scan.target, scan.policy, scan.status, scan.ended_at, scan.task_id, reason)


def _needed_by_live(session: Session) -> set[UUID]:
    """What scans that go on will be compared with."""
    live = session.scalars(select(Scan).where(Scan.status.in_(LIVE), Scan.task_id.is_not(None)))
    return {against.id for scan in live if (against := comparable(session, scan))}


def _untold(session: Session) -> set[UUID]:
    """The scans that receivers are still to be told of: what is to be said goes with its scan."""
    waiting = NotificationRow.status.in_((Delivery.UNDECIDED, Delivery.PENDING))
    return set(session.scalars(select(NotificationRow.scan_id).where(waiting)))


def _last_good(
    session: Session, candidates: dict[UUID, _Ended], groups: dict[tuple[UUID, str], list[_Ended]]
) -> set[UUID]:
    """The newest success of each target and each way of looking at it."""
    kept: set[UUID] = set()
    for key in {(scan.asset_id, scan.target) for scan in candidates.values()}:
        good = sorted(
            (scan for scan in groups[key] if scan.status is Status.SUCCESS),
            key=lambda scan: scan.created_at,
            reverse=True,
        )
        seen: list[object] = []
        for some in _in_portions(good):
            wanted = select(Scan.id, Scan.policy).where(Scan.id.in_([one.id for one in some]))
            policies = {scan_id: policy for scan_id, policy in session.execute(wanted)}  # noqa: C416 -- a row is no pair
            for scan in some:
                way = looked_at(policies[scan.id])
                if way not in seen:
                    seen.append(way)
                    kept.add(scan.id)
    return kept


def _last_witnesses(session: Session, candidates: Sequence[_Ended]) -> set[UUID]:
    """The scans that were the last to see something of which it is not known that it is gone."""
    by_asset: dict[UUID, list[_Ended]] = defaultdict(list)
    for scan in candidates:
        if scan.status is Status.SUCCESS:
            by_asset[scan.asset_id].append(scan)
    return {scan_id for asset_id, scans in by_asset.items() for scan_id in _witnesses(session, asset_id, scans)}


def _witnesses(session: Session, asset_id: UUID, scans: Sequence[_Ended]) -> Iterator[UUID]:
    own = {scan.id for scan in scans}
    # That a source listed a name does not say that it was there: see `differences`.
    counts = (
        Scan.asset_id == asset_id,
        Scan.status == Status.SUCCESS,
        or_(Sighting.kind != DomainName.kind, ModuleRun.module == "dns"),
    )
    joined = select(Sighting.kind, Sighting.entity_id, func.max(Scan.created_at).label("at"))
    joined = joined.join(ModuleRun, ModuleRun.id == Sighting.module_run_id).join(Scan, Scan.id == Sighting.scan_id)
    last = joined.where(*counts).group_by(Sighting.kind, Sighting.entity_id)
    last_of = last.having(func.max(Scan.created_at) <= max(scan.created_at for scan in scans)).subquery()
    seen = (
        select(Scan.id, Sighting.kind, Sighting.entity_id)
        .join(ModuleRun, ModuleRun.id == Sighting.module_run_id)
        .join(Scan, Scan.id == Sighting.scan_id)
        .join(last_of, (last_of.c.kind == Sighting.kind) & (last_of.c.entity_id == Sighting.entity_id))
        .where(*counts, Scan.created_at == last_of.c.at)
        .distinct()
    )
    by_kind: dict[str, dict[int, UUID]] = defaultdict(dict)
    for scan_id, kind, entity_id in session.execute(seen):
        if scan_id in own:
            by_kind[kind][entity_id] = scan_id
    for kind, things in by_kind.items():
        gone = _known_to_be_gone(session, asset_id, kind, list(things))
        yield from (scan_id for entity_id, scan_id in things.items() if entity_id not in gone)


def _known_to_be_gone(session: Session, asset_id: UUID, kind: str, ids: Sequence[int]) -> set[int]:
    last: dict[int, str] = {}
    for some in _in_portions(ids):
        told = select(ChangeRow.entity_id, ChangeRow.change).where(
            ChangeRow.asset_id == asset_id, ChangeRow.kind == kind, ChangeRow.entity_id.in_(some)
        )
        last |= {row.entity_id: row.change for row in session.execute(told.order_by(ChangeRow.at, ChangeRow.id))}
    return {entity_id for entity_id, change in last.items() if change == Change.GONE}


def _measured(session: Session, doomed: Sequence[Doomed]) -> Iterator[Doomed]:
    """The same, with how much each holds."""
    for some in _in_portions(doomed):
        ids = [scan.id for scan in some]
        size, text = func.sum, func.length
        saw = select(Sighting.scan_id, func.count(), size(text(cast(Sighting.facts, Text)))).group_by(Sighting.scan_id)
        records = {row[0]: (row[1], row[2]) for row in session.execute(saw.where(Sighting.scan_id.in_(ids)))}
        told = text(cast(ModuleRun.inputs, Text)) + text(ModuleRun.command) + func.coalesce(text(ModuleRun.stderr), 0)
        ran = select(ModuleRun.scan_id, size(told)).group_by(ModuleRun.scan_id).where(ModuleRun.scan_id.in_(ids))
        units = {row[0]: row[1] for row in session.execute(ran)}
        looked = select(ModuleRun.scan_id, size(text(CoverageRow.subject) + text(CoverageRow.note)))
        looked = looked.join(CoverageRow, CoverageRow.module_run_id == ModuleRun.id).group_by(ModuleRun.scan_id)
        looks = {row[0]: row[1] for row in session.execute(looked.where(ModuleRun.scan_id.in_(ids)))}
        for scan in some:
            count, held = records.get(scan.id, (0, 0))
            yield replace(
                scan, records=count, bytes=int(held or 0) + int(units.get(scan.id) or 0) + int(looks.get(scan.id) or 0)
            )


def _in_portions(things: Sequence[T]) -> Iterable[Sequence[T]]:
    return (things[start : start + IDS_AT_ONCE] for start in range(0, len(things), IDS_AT_ONCE))
