"""What scans found changed, written down: the history of an asset, which outlives its scans.

Only what is new, changed, gone or back is written: of what was not looked at nothing is known to have changed. The
history tells a thing that is back from one that is new, and what was there at a date.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from footprint.drift import Change, Difference, Step, described
from footprint.records import Finding
from footprint.states import Status
from footprint.store.asset_views import asset_by_id
from footprint.store.change_tables import ChangeRow
from footprint.store.differences import Drift, comparable, drift_of, gone_before, returned
from footprint.store.scoring import ACCEPTED, OPEN
from footprint.store.snapshots import snapshot_of
from footprint.store.tables import FindingRow, Scan
from footprint.store.upsert import ROWS_AT_ONCE, upsert
from footprint.store.views import count_of, scan_by_id

REPLACED = "another certificate is shown instead"


@dataclass(frozen=True, slots=True)
class ChangeView:
    """One change of an asset. `scan` found it, unless it was deleted since; `severity` is of findings only."""

    at: datetime
    scan: UUID | None
    change: Change
    kind: str
    subject: str
    severity: str | None
    fields: tuple[Step, ...]
    reason: str


def drift_at_end(session: Session, scan_id: UUID) -> Drift | None:
    """What a scan that has ended found changed against the last comparable one; None of one that did not succeed.

    Without a comparable one, that is only what had been known to be gone and is back.
    """
    scan = scan_by_id(session, scan_id)
    if scan.status != Status.SUCCESS:
        return None
    against = comparable(session, scan)
    if against is not None:
        return drift_of(session, scan, against)
    after = snapshot_of(session, scan)
    back = tuple(Difference(Change.BACK, record) for record in returned(session, scan, after))
    return Drift(scan, None, back, after.ids)


def write_down(session: Session, drift: Drift) -> None:
    """Add what changed to the history, and open accepted findings that are back again. Safe to repeat."""
    scan, ids = drift.scan, drift.ids
    missing = {each.record: ids[each.record] for each in drift.differences if each.change is Change.GONE}
    known = gone_before(session, scan, missing)  # from a scan with another policy
    told = [each for each in drift.differences if each.change is not Change.NOT_LOOKED_AT and each.record not in known]
    told += [Difference(Change.GONE, each.replaced, reason=REPLACED) for each in told if each.replaced]
    rows = [_row(scan, each, ids[each.record]) for each in told]
    rows.sort(key=lambda row: (row["kind"], row["entity_id"]))
    keys = ["scan_id", "kind", "entity_id"]
    upsert(session, ChangeRow, rows, keys, lambda new: {"change": new.change, "steps": new.steps}, [ChangeRow.id])
    _reopen(
        session, [ids[each.record] for each in told if each.change is Change.BACK and each.record.kind == Finding.kind]
    )


def _row(scan: Scan, difference: Difference, entity_id: int) -> dict[str, Any]:
    record = difference.record
    return {
        "asset_id": scan.asset_id,
        "scan_id": scan.id,
        "kind": record.kind,
        "entity_id": entity_id,
        "change": difference.change.value,
        "subject": described(record),
        "severity": record.severity.value if isinstance(record, Finding) else None,
        "steps": [asdict(step) for step in difference.steps],
        "reason": difference.reason,
        "at": scan.finished_at,
    }


def _reopen(session: Session, findings: Sequence[int]) -> None:
    """Accepted was what there was then. A false positive stays one: it was never there."""
    for start in range(0, len(findings), ROWS_AT_ONCE):
        some = FindingRow.id.in_(findings[start : start + ROWS_AT_ONCE])
        session.execute(update(FindingRow).where(some, FindingRow.status == ACCEPTED).values(status=OPEN))


def changes_of_asset(
    session: Session, asset_id: UUID, since: datetime | None, offset: int, limit: int
) -> tuple[list[ChangeView], int]:
    """A page of what changed of an asset after a time, or ever, the latest first. Raises `NotFound`."""
    asset_by_id(session, asset_id)
    wanted = select(ChangeRow).where(ChangeRow.asset_id == asset_id)
    if since is not None:
        wanted = wanted.where(ChangeRow.at > since)
    rows = session.scalars(wanted.order_by(ChangeRow.at.desc(), ChangeRow.id).offset(offset).limit(limit))
    return [_shown(row) for row in rows], count_of(session, wanted)


def _shown(row: ChangeRow) -> ChangeView:
    steps = tuple(Step(step["field"], _value(step["before"]), _value(step["after"])) for step in row.steps)
    return ChangeView(row.at, row.scan_id, Change(row.change), row.kind, row.subject, row.severity, steps, row.reason)


def _value(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
