"""What differs between two scans that are kept: which two are compared, and what had been known before them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import Session, aliased

from footprint.baseline import Target, completed, open_targets
from footprint.drift import Change, Difference, Memory, compare
from footprint.errors import Conflict, NotFound
from footprint.records import DomainName, Record
from footprint.snapshots import KEPT_UNITS, SOUND, Sighted
from footprint.states import Status
from footprint.store.change_tables import ChangeRow
from footprint.store.snapshots import Loaded, seen, sightings_in, snapshot_of
from footprint.store.tables import CoverageRow, ModuleRun, Scan, Sighting, now
from footprint.store.views import scan_by_id

CANDIDATES = 500
"""Scans of the same target, newest first, among which a comparable one is looked for."""
IDS_AT_ONCE = 500
MOST_WITNESSES = 8
"""Earlier scans that are read to know what was where a scan could not look."""


@dataclass(frozen=True, slots=True)
class Drift:
    """What differs in a scan, and against which, if there was one. `ids` are the rows of the things of both."""

    scan: Scan
    against: Scan | None
    differences: tuple[Difference, ...]
    ids: Mapping[Record, int]


def comparable(session: Session, scan: Scan) -> Scan | None:
    """The last scan before this one that succeeded, of the same target, with the same modules and the same ports."""
    found = next(_comparable(session, scan), None)
    return session.get(Scan, found) if found else None


def _comparable(session: Session, scan: Scan) -> Iterator[UUID]:
    """All of them, the newest first."""
    other = aliased(Scan)
    earlier = (
        select(other.id, other.policy)
        .where(other.asset_id == scan.asset_id, other.target == scan.target, other.status == Status.SUCCESS)
        .where(other.created_at < scan.created_at)
        .order_by(other.created_at.desc(), other.id)
        .limit(CANDIDATES)
    )
    wanted = looked_at(scan.policy)
    return (row.id for row in session.execute(earlier) if looked_at(row.policy) == wanted)


def looked_at(policy: Mapping[str, Any]) -> tuple[list[str], str, dict[str, str]]:
    """What scans of this policy look at: its modules, its ports, the ports of modules that have their own."""
    modules = policy["modules"]
    own = {name: options["ports"] for name, options in modules.items() if "ports" in options}
    return sorted(modules), policy["ports"], own


def pair_of(session: Session, scan_id: UUID, against_id: UUID | None = None) -> tuple[Scan, Scan]:
    """A scan and the one that it is compared with: a given one, or the last comparable one.

    Raises `NotFound` where there is no such scan, `Conflict` where the two are not to be compared.
    """
    scan = scan_by_id(session, scan_id)
    if not Status(scan.status).is_terminal:
        raise Conflict("the scan has not ended: there is nothing to compare yet")
    against = scan_by_id(session, against_id) if against_id else comparable(session, scan)
    if against is None:
        raise NotFound(
            "there is no earlier scan to compare with: none of this target succeeded with these modules and ports",
            hint="name one: `against` takes any earlier scan of the same asset",
        )
    if against.asset_id != scan.asset_id:
        raise Conflict("the two scans are of different assets")
    if not Status(against.status).is_terminal or against.created_at >= scan.created_at:
        raise Conflict("a scan is compared with one that was asked for before it and has ended")
    return scan, against


def drift_of(session: Session, scan: Scan, against: Scan) -> Drift:
    """Compare a scan with an earlier one of its asset; both have ended."""
    before, after = baseline_of(session, against), snapshot_of(session, scan)
    # A name that the earlier scan listed and did not find to exist is no less new.
    unseen = {record: row for record, row in after.ids.items() if not before.snapshot.has(record)}
    gone = gone_before(session, scan, unseen)
    last = _last_seen(session, scan, {record: row for record, row in unseen.items() if record not in before.ids})
    memories = {record: Memory(record in gone, last.get(record, ())) for record in (*gone, *last)}
    return Drift(scan, against, compare(before.snapshot, after.snapshot, memories), {**before.ids, **after.ids})


def baseline_of(session: Session, scan: Scan) -> Loaded:
    """A scan as a later one is compared with it: where it could not look, with what the last that could had seen."""
    found = snapshot_of(session, scan)
    for witness, targets in _witnesses(session, scan, open_targets(found.snapshot)).items():
        older = snapshot_of(session, session.get_one(Scan, witness))
        gone = gone_before(session, scan, older.ids)
        whole = completed(found.snapshot, older.snapshot, targets, gone)
        added = {record: row for record, row in older.ids.items() if record in whole.things}
        found = Loaded(whole, {**added, **found.ids})
    return found


def _witnesses(session: Session, scan: Scan, targets: Collection[Target]) -> dict[UUID, set[Target]]:
    """The last comparable scans that looked at these to the end, the newest first, and at which of them."""
    if not targets:
        return {}
    earlier = list(islice(_comparable(session, scan), IDS_AT_ONCE))
    last: dict[datetime, set[Target]] = defaultdict(set)
    for module, subjects in _by_module(targets):
        looks = (
            select(CoverageRow.subject, func.max(Scan.created_at))
            .join(ModuleRun, ModuleRun.id == CoverageRow.module_run_id)
            .join(Scan, Scan.id == ModuleRun.scan_id)
            .where(Scan.id.in_(earlier), ModuleRun.module == module, ModuleRun.status.in_(KEPT_UNITS))
            .where(CoverageRow.subject.in_(subjects), CoverageRow.outcome.in_(SOUND))
            .group_by(CoverageRow.subject)
        )
        for subject, at in session.execute(looks):
            last[at].add((module, subject))
    when = select(Scan.created_at, Scan.id).where(Scan.id.in_(earlier), Scan.created_at.in_(list(last)))
    newest = session.execute(when.order_by(Scan.created_at.desc()).limit(MOST_WITNESSES))
    return {witness: last[at] for at, witness in newest}


def _by_module(targets: Iterable[Target]) -> Iterator[tuple[str, list[str]]]:
    """Modules with what they were to look at, in portions that a statement takes."""
    found: dict[str, list[str]] = defaultdict(list)
    for module, subject in targets:
        found[module].append(subject)
    for module, subjects in found.items():
        for start in range(0, len(subjects), IDS_AT_ONCE):
            yield module, subjects[start : start + IDS_AT_ONCE]


def returned(session: Session, scan: Scan, after: Loaded) -> list[Record]:
    """What of a scan had been known to be gone."""
    return [record for record in gone_before(session, scan, after.ids) if after.snapshot.has(record)]


def _by_kind(ids: Mapping[Record, int]) -> Iterator[tuple[str, Mapping[int, Record]]]:
    """Rows and their records, in portions that a statement takes."""
    kinds: dict[str, list[tuple[int, Record]]] = defaultdict(list)
    for record, row in ids.items():
        kinds[record.kind].append((row, record))
    for kind, rows in kinds.items():
        for start in range(0, len(rows), IDS_AT_ONCE):
            yield kind, dict(rows[start : start + IDS_AT_ONCE])


def gone_before(session: Session, scan: Scan, ids: Mapping[Record, int]) -> set[Record]:
    """Which of these things were known to be gone when this scan ended."""
    gone: set[Record] = set()
    for kind, records in _by_kind(ids):
        told = select(ChangeRow.entity_id, ChangeRow.change).where(
            ChangeRow.asset_id == scan.asset_id,
            ChangeRow.kind == kind,
            ChangeRow.entity_id.in_(records),
            ChangeRow.at < (scan.finished_at or now()),
        )
        last = {row.entity_id: row.change for row in session.execute(told.order_by(ChangeRow.at, ChangeRow.id))}
        gone.update(records[row] for row, change in last.items() if change == Change.GONE)
    return gone


def _last_seen(session: Session, scan: Scan, ids: Mapping[Record, int]) -> dict[Record, list[Sighted]]:
    """How these things were last seen by a scan before this one that succeeded."""
    found: dict[Record, list[Sighted]] = {}
    other = aliased(Scan)
    for kind, records in _by_kind(ids):
        earlier = [
            other.asset_id == scan.asset_id,
            other.status == Status.SUCCESS,
            other.created_at < scan.created_at,
            Sighting.kind == kind,
            Sighting.entity_id.in_(records),
        ]
        if kind == DomainName.kind:  # that a source listed a name does not say that it was there
            earlier.append(ModuleRun.module == "dns")
        newest = (
            select(Sighting.entity_id, func.max(other.created_at).label("at"))
            .join(ModuleRun, ModuleRun.id == Sighting.module_run_id)
            .join(other, other.id == Sighting.scan_id)
            .where(*earlier)
            .group_by(Sighting.entity_id)
            .subquery()
        )
        rows = (
            seen()
            .join(other, other.id == Sighting.scan_id)
            .join(newest, newest.c.entity_id == Sighting.entity_id)
            .where(*earlier, other.created_at == newest.c.at)
            .order_by(Sighting.id)
        )
        for row in session.execute(rows):
            found.setdefault(records[row.entity_id], []).extend(sightings_in(row))
    return found
