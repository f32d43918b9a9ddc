"""What was known of an asset at a date: what had been seen by then and was not known to be gone, as it was seen last.

Nothing is known to be gone before a scan that looked for it ended. A thing is told of as the last scan until then saw
it; where that scan was deleted since, as it is known now. What was decided of a finding is what is decided now.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import ColumnElement, and_, exists, func, select
from sqlalchemy.orm import Session, aliased

from footprint.drift import Change
from footprint.store.change_tables import ChangeRow
from footprint.store.packing import unpack
from footprint.store.tables import ModuleRun, Scan, Sighting
from footprint.store.views import DomainView, FindingView, HostView, Row, ServiceView

View = TypeVar("View", DomainView, HostView, ServiceView, FindingView)


def there_at(table: type[Row], kind: str, at: datetime) -> ColumnElement[bool]:
    """The condition that a row's thing had been seen by then, and was not known to be gone."""
    gone, later = aliased(ChangeRow), aliased(ChangeRow)
    returned = exists().where(
        later.asset_id == gone.asset_id,
        later.kind == kind,
        later.entity_id == gone.entity_id,
        later.change != Change.GONE,
        later.at > gone.at,
        later.at <= at,
    )
    was_gone = exists().where(
        gone.asset_id == table.asset_id,
        gone.kind == kind,
        gone.entity_id == table.id,
        gone.change == Change.GONE,
        gone.at <= at,
        ~returned,
    )
    return and_(table.first_seen <= at, ~was_gone)


def shown_then(
    session: Session,
    rows: Sequence[Row],
    kind: str,
    at: datetime,
    show: Callable[[Row, list[Any]], View],
    show_now: Callable[[Row], View],
) -> list[View]:
    """Rows of one asset as the last scan until then saw them: `show` makes that of a row and its records."""
    seen = _seen_until(session, rows[0].asset_id, kind, [row.id for row in rows], at) if rows else {}
    found: list[View] = []
    for row in rows:
        records, last = seen.get(row.id, ([], None))
        view = show(row, records) if records else show_now(row)
        found.append(replace(view, last_seen=last or min(view.last_seen, at)))
    return found


def _seen_until(
    session: Session, asset_id: UUID, kind: str, ids: Sequence[int], at: datetime
) -> dict[int, tuple[list[Any], datetime]]:
    own = (Scan.asset_id == asset_id, Sighting.kind == kind, Sighting.entity_id.in_(ids), ModuleRun.finished_at <= at)
    newest = (
        select(Sighting.entity_id, func.max(Scan.created_at).label("asked_at"))
        .join(Scan, Scan.id == Sighting.scan_id)
        .join(ModuleRun, ModuleRun.id == Sighting.module_run_id)
        .where(*own)
        .group_by(Sighting.entity_id)
        .subquery()
    )
    rows = (
        select(Sighting.entity_id, Sighting.facts, ModuleRun.finished_at)
        .join(Scan, Scan.id == Sighting.scan_id)
        .join(ModuleRun, ModuleRun.id == Sighting.module_run_id)
        .join(newest, newest.c.entity_id == Sighting.entity_id)
        .where(*own, Scan.created_at == newest.c.asked_at)
        .order_by(Sighting.module_run_id)
    )
    found: dict[int, tuple[list[Any], datetime]] = {}
    for entity_id, facts, finished_at in session.execute(rows):
        records, last = found.get(entity_id, ([], finished_at))
        found[entity_id] = ([*records, *map(unpack, facts)], max(last, finished_at))
    return found
