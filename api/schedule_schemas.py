"""Schedules over the wire."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, Self
from uuid import UUID
from zoneinfo import available_timezones

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from api.policy_schemas import AskedPolicy
from api.schemas import Line
from footprint.errors import InvalidSchedule
from footprint.notify_rules import NotifyRules
from footprint.platform_facts import OtherSchedule
from footprint.policy import DEFAULT_POLICY
from footprint.states import Status
from footprint.store.schedule_tables import ScheduleRow, ScheduleRunRow
from footprint.store.schedules import Past, timing_of
from footprint.timing import WAYS, Recurrence, RecurrenceFields, Timing, as_said
from tasks.occurrences import occurrences

NEXT_RUNS = 5
Overlap = Literal["skip", "queue"]


def _known_zone(name: str) -> str:
    if name not in available_timezones():
        raise ValueError("a name such as Europe/Berlin")
    return name


def _canonical(text: str) -> str:
    if str(UUID(text)) != text:
        raise ValueError("an id as it is written in answers")
    return text


Zone = Annotated[str, Field(max_length=64), AfterValidator(_known_zone)]
AssetId = Annotated[str, Field(max_length=36), AfterValidator(_canonical)]
Comment = Annotated[str, Line, Field(max_length=1000)]
EXAMPLES: list[Any] = [
    {"target": "example.com", "policy": "quick", "frequency": "DAILY", "at": "03:00", "timezone": "Europe/Berlin"},
    {"asset": "45f3b42e-94ba-4c00-9a38-9d11d9a3f58c", "cron": "0 3 * * 1", "overlap": "queue", "comment": "weekly"},
    {"target": "198.51.100.0/24", "policy": "network_sweep", "rrule": "FREQ=MONTHLY;BYDAY=1SA;BYHOUR=3"},
    {"target": "example.com", "policy": "passive", "interval": "PT6H"},
]  # fmt: skip


class ScheduleRequest(Recurrence):
    """What is to be scanned again and again, how, and how often.

    One of `target` and `asset` (each root that the asset then has); one of `frequency`, `cron`, `rrule` and `interval`.
    """

    model_config = ConfigDict(extra="forbid", strict=True, json_schema_extra={"examples": EXAMPLES})

    target: str | None = Field(default=None, max_length=1024, description="A domain, an address or a network.")
    asset: AssetId | None = Field(default=None, description="An asset's id, in place of a target.")
    policy: AskedPolicy = Field(
        default=DEFAULT_POLICY,
        description="A policy's name, which is looked up at each run, or a policy for this schedule.",
    )
    timezone: Zone = Field(default="UTC", description="A name of the IANA time zone database.")
    active: bool = Field(default=True, description="false makes it paused.")
    overlap: Overlap = Field(
        default="skip", description="What becomes of a run while the last one goes on; at most one is queued."
    )
    comment: Comment = Field(default="", description="For you; its scans have it too.")
    notify: NotifyRules | None = Field(default=None, description="Who is told of what, in place of the policy's.")

    @model_validator(mode="after")
    def _one_thing(self) -> Self:
        if (self.target is None) == (self.asset is None):
            raise ValueError("exactly one of `target` and `asset`")
        return self


class ScheduleChange(RecurrenceFields):
    """What of a schedule is to be another from now on; what is not given stays. How often is given whole."""

    model_config = ConfigDict(extra="forbid", strict=True)

    policy: AskedPolicy | None = None
    timezone: Zone | None = None
    active: bool | None = None
    overlap: Overlap | None = None
    comment: Comment | None = None
    notify: NotifyRules | None = Field(default=None, description="null: as the policy says.")

    def recurrence(self) -> Recurrence | None:
        """How often, where that is to change."""
        return Recurrence(**self.said()) if self.said() else None

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.said() and sum(getattr(self, name) is not None for name in WAYS) != 1:
            raise ValueError("exactly one of `frequency`, `cron`, `rrule` and `interval`")
        self.recurrence()
        return self


class LastScanOut(BaseModel):
    """The scan that was asked for last."""

    id: UUID
    status: Status
    created_at: datetime


class ScheduleRunOut(BaseModel):
    """A time it came due (null: it was run by hand), and what became of it: scanned, queued, skipped or refused.

    `task_id` is the Prefect run that came for it.
    """

    due_at: datetime | None
    came_at: datetime
    outcome: str
    reason: str | None
    task_id: UUID | None

    @classmethod
    def of(cls, row: ScheduleRunRow) -> ScheduleRunOut:
        """A time, as it is shown."""
        return cls.model_validate(row, from_attributes=True)


class ScheduleRunWithScans(ScheduleRunOut):
    """A time with the scans that were asked for."""

    scans: list[UUID]


class ScheduleOut(BaseModel):
    """A schedule. `state` is active, paused, deployment_paused or deleted, as Prefect last said: in its UI, all of it
    may be done. `prefect_away` says that it cannot be asked now. `next_runs` are by Prefect's reckoning, in UTC.

    Of `origin` prefect are those that people keep there, with prefect.yaml or in its UI: `deployment` and `slug` say
    which it is, the id is Prefect's own, and its runs do not wait for each other (`overlap` is null). What came of
    it is not known here.
    """

    id: UUID
    origin: Literal["api", "prefect"]
    deployment: str | None
    slug: str | None
    target: str | None
    asset: UUID | None
    policy: str
    frequency: str | None
    at: str | None
    cron: str | None
    rrule: str | None
    interval: int | str | None
    anchor: datetime | None
    timezone: str
    active: bool
    overlap: Overlap | None
    comment: str
    notify: NotifyRules | None
    state: str
    prefect_away: bool
    prefect_id: UUID
    next_runs: list[datetime]
    last_scan: LastScanOut | None
    last_run: ScheduleRunOut | None
    skipped: int
    created_at: datetime
    changed_at: datetime

    @classmethod
    def of(cls, row: ScheduleRow, past: Past, *, deployment_paused: bool, away: bool) -> ScheduleOut:
        """A schedule and what came of it, as they are shown."""
        is_due = row.active and row.gone_at is None and not deployment_paused
        timing = timing_of(row)
        return cls(
            origin="api",
            deployment=None,
            slug=None,
            **{name: row.said.get(name) for name in (*WAYS, "at")},
            anchor=timing.anchor,
            state="deleted" if row.gone_at is not None else _state(active=row.active, paused=deployment_paused),
            prefect_away=away,
            next_runs=_upcoming(timing) if is_due else [],
            last_scan=LastScanOut.model_validate(past.last_scan, from_attributes=True) if past.last_scan else None,
            last_run=ScheduleRunOut.of(past.last_run) if past.last_run else None,
            skipped=past.skipped,
            asset=row.asset_id,
            policy=row.policy_name,
            **{name: getattr(row, name) for name in _SAME},
        )

    @classmethod
    def of_other(cls, other: OtherSchedule, *, away: bool) -> ScheduleOut:
        """A schedule that people keep in Prefect, as it is shown."""
        timing, said = other.timing, as_said(other.timing) if other.timing else {}
        is_due = other.active and not other.is_deployment_paused
        return cls(
            id=other.prefect_id,
            origin="prefect",
            **{name: said.get(name) for name in WAYS},
            anchor=timing.anchor if timing else None,
            timezone=timing.timezone if timing else "UTC",
            state=_state(active=other.active, paused=other.is_deployment_paused),
            prefect_away=away,
            next_runs=_upcoming(timing) if timing and is_due else [],
            **dict.fromkeys(("at", "asset", "overlap", "notify", "last_scan", "last_run")),
            skipped=0,
            **{name: getattr(other, name) for name in _SAME_OF_OTHERS},
        )


_SAME = ("id", "target", "timezone", "active", "overlap", "comment", "notify", "prefect_id", "created_at", "changed_at")
_SAME_OF_OTHERS = (
    "deployment",
    "slug",
    "target",
    "policy",
    "active",
    "comment",
    "prefect_id",
    "created_at",
    "changed_at",
)


def _upcoming(timing: Timing) -> list[datetime]:
    # It may have been edited in Prefect, which takes what never comes due.
    with suppress(InvalidSchedule):
        return occurrences(timing, datetime.now(UTC), NEXT_RUNS)
    return []


def _state(*, active: bool, paused: bool) -> str:
    if not active:
        return "paused"
    return "deployment_paused" if paused else "active"
