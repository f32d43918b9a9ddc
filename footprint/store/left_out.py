"""What a scan came upon and did not touch, and the rule by which: kept with the scan, bounded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from uuid import UUID

from sqlalchemy import delete, insert, literal, select, union, update
from sqlalchemy.orm import Session

from footprint.records import Outcome
from footprint.store.asset_tables import LeftOutRow
from footprint.store.tables import CoverageRow, ModuleRun, Scan
from footprint.store.views import count_of, scan_by_id

MOST_LISTED = 10_000
RULE_KEPT = 400


@dataclass(frozen=True, slots=True)
class LeftOutView:
    """Something that was not touched. `module` is the one that was about to, where it came that far."""

    subject: str
    rule: str
    module: str | None


def keep_left_out(session: Session, scan_id: UUID, rules: Mapping[str, str], *, besides: int = 0) -> None:
    """Write down what a scan kept out of its work: subjects with the rule. `besides` were counted and not noted."""
    session.execute(delete(LeftOutRow).where(LeftOutRow.scan_id == scan_id))
    rows = [
        {"scan_id": scan_id, "subject": subject, "rule": rule[:RULE_KEPT]}
        for subject, rule in islice(rules.items(), MOST_LISTED)
    ]
    if rows:
        session.execute(insert(LeftOutRow), rows)
    unlisted = len(rules) - len(rows) + besides
    session.execute(update(Scan).where(Scan.id == scan_id).values(not_listed=unlisted))


def left_out_page(session: Session, scan_id: UUID, offset: int, limit: int) -> tuple[list[LeftOutView], int]:
    """What a scan did not touch, by subject, and how much of it is listed. Raises `NotFound`."""
    scan_by_id(session, scan_id)
    found = select(LeftOutRow.subject, LeftOutRow.rule, literal("").label("module")).where(
        LeftOutRow.scan_id == scan_id
    )
    refused = (
        select(CoverageRow.subject, CoverageRow.note.label("rule"), ModuleRun.module)
        .join(ModuleRun, ModuleRun.id == CoverageRow.module_run_id)
        .where(ModuleRun.scan_id == scan_id, CoverageRow.outcome == Outcome.REFUSED)
    )
    both = union(found, refused).subquery()
    wanted = select(both).order_by(both.c.subject, both.c.module, both.c.rule)
    rows = session.execute(wanted.offset(offset).limit(limit))
    return [LeftOutView(row.subject, row.rule, row.module or None) for row in rows], count_of(session, wanted)
