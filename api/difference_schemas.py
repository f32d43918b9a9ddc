"""Differences over the wire."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from pydantic import BaseModel

from footprint.drift import Change, Difference, Step, Value, described, tally
from footprint.records import Finding
from footprint.store.differences import Drift
from footprint.store.inventory import PLURALS
from footprint.store.tables import Scan


class StepOut(BaseModel):
    """One field of a thing, from what to what."""

    field: str
    before: Value
    after: Value

    @classmethod
    def all_of(cls, steps: tuple[Step, ...]) -> list[StepOut]:
        """Fields, as they are shown."""
        return [cls(field=step.field, before=step.before, after=step.after) for step in steps]


class DifferenceOut(BaseModel):
    """A thing that differs. `title` and `severity` are of findings; `reason` says how it is known that it is gone,
    or why that is not known.
    """

    change: Change
    kind: str
    subject: str
    title: str | None
    severity: str | None
    fields: list[StepOut]
    reason: str

    @classmethod
    def of(cls, difference: Difference) -> DifferenceOut:
        """A difference, as it is shown."""
        record = difference.record
        finding = record if isinstance(record, Finding) else None
        return cls(
            change=difference.change,
            kind=record.kind,
            subject=described(record),
            title=finding.title if finding else None,
            severity=finding.severity.value if finding else None,
            fields=StepOut.all_of(difference.steps),
            reason=difference.reason,
        )


class ComparedScan(BaseModel):
    """The scan that another was compared with."""

    id: UUID
    policy: str
    status: str
    created_at: datetime
    finished_at: datetime | None

    @classmethod
    def of(cls, scan: Scan) -> ComparedScan:
        """A scan, as it is shown beside the differences."""
        return cls(
            id=scan.id,
            policy=scan.policy_name,
            status=scan.status,
            created_at=scan.created_at,
            finished_at=scan.finished_at,
        )


class DiffOut(BaseModel):
    """A page of what differs in a scan. `counts` is of all of it, by kind (as in a scan's counts) and change."""

    scan: UUID
    against: ComparedScan
    counts: dict[str, dict[Change, int]]
    count: int
    next: str | None
    previous: str | None
    results: list[DifferenceOut]


def counts_of(drift: Drift) -> dict[str, dict[Change, int]]:
    """How many differences there are, by kind and change; kinds without any are left out."""
    found: dict[str, dict[Change, int]] = {}
    for (kind, change), count in tally(drift.differences).items():
        found.setdefault(PLURALS.get(kind, f"{kind}s"), dict.fromkeys(Change, 0))[change] = count
    return found


class ChangeOut(BaseModel):
    """One change of an asset. `scan` found it, or null where that was deleted since."""

    at: datetime
    scan: UUID | None
    change: Change
    kind: str
    subject: str
    severity: str | None
    fields: list[StepOut]
    reason: str
