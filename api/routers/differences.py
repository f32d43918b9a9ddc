"""What changed: from scan to scan, and of an asset since a time."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import Query, Response
from pydantic import AwareDatetime, BeforeValidator
from sqlalchemy.orm import Session

from api.difference_schemas import ChangeOut, ComparedScan, DifferenceOut, DiffOut, StepOut, counts_of
from api.given import Id, canonical
from api.kept_drifts import KeptDriftsDep
from api.paging import Page, PagingDep
from api.reading import ReadingDep
from api.routing import router
from footprint.drift import Change
from footprint.store.changes import ChangeView, changes_of_asset
from footprint.store.differences import pair_of

scan_differences = router("scans")
asset_changes = router("assets")

OtherScan = Annotated[
    UUID | None,
    Query(description="An earlier scan of the same asset; else the last comparable one."),
    BeforeValidator(canonical),
]
Since = Annotated[AwareDatetime | None, Query(description="Only what changed after this time (ISO 8601, with a zone).")]


@scan_differences.get("/{scan_id}/diff/", response_model=DiffOut)
async def read_diff(
    scan_id: Id,
    paging: PagingDep,
    reading: ReadingDep,
    kept: KeptDriftsDep,
    against: OtherScan = None,
    change: Annotated[Change | None, Query(description="Only these.")] = None,
) -> Response:
    """What differs in a scan: new, back again, changed field by field, gone, or not looked at this time."""

    def page(session: Session) -> DiffOut:
        scan, other = pair_of(session, scan_id, against)
        drift = kept.of(session, scan, other)
        wanted = [each for each in drift.differences if change in (None, each.change)]
        shown = [DifferenceOut.of(each) for each in wanted[paging.offset : paging.offset + paging.limit]]
        return DiffOut(
            scan=scan_id,
            against=ComparedScan.of(other),
            counts=counts_of(drift),
            **dict(paging.of(shown, len(wanted))),
        )

    return await reading(page)


@asset_changes.get("/{asset_id}/changes/", response_model=Page[ChangeOut])
async def read_asset_changes(asset_id: Id, paging: PagingDep, reading: ReadingDep, since: Since = None) -> Response:
    """What the scans of an asset found changed, each against the last comparable one; the latest first."""

    def page(session: Session) -> Page[ChangeOut]:
        rows, count = changes_of_asset(session, asset_id, since, paging.offset, paging.limit)
        return paging.of([_shown(row) for row in rows], count)

    return await reading(page)


def _shown(row: ChangeView) -> ChangeOut:
    return ChangeOut(
        at=row.at,
        scan=row.scan,
        change=row.change,
        kind=row.kind,
        subject=row.subject,
        severity=row.severity,
        fields=StepOut.all_of(row.fields),
        reason=row.reason,
    )
