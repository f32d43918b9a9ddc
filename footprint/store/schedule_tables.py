"""The tables of schedules: what is scanned again and again, and what became of each time."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import JSON, ForeignKey, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from footprint.store.tables import Table, now

SKIP, QUEUE = "skip", "queue"
SCANNED, QUEUED, SKIPPED, REFUSED = "scanned", "queued", "skipped", "refused"


class ScheduleRow(Table):
    """A schedule: of a target, or of each root of an asset.

    `policy` is what an inline one says, else None, and the policy of that name counts at each run. `notify` are rules
    that hold in place of the policy's. `said` is how often,
    as it was said; `timing` what that came to. `prefect_id` is its schedule on the deployment `deployment_id`; a row
    without one is a request in the making and shown to nobody. `active` mirrors Prefect; `gone_at` is when it was found
    to be deleted there. What was heard of Prefect before `changed_at` is old.
    """

    __tablename__ = "schedules"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    target: Mapped[str | None] = mapped_column(String(255))
    asset_id: Mapped[UUID | None] = mapped_column(ForeignKey("assets.id", ondelete="CASCADE"))
    policy_name: Mapped[str] = mapped_column(String(64))
    policy: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    said: Mapped[dict[str, Any]]
    timing: Mapped[dict[str, Any]]
    timezone: Mapped[str] = mapped_column(String(64))
    active: Mapped[bool] = mapped_column(default=True)
    overlap: Mapped[str] = mapped_column(String(8), default=SKIP)
    comment: Mapped[str] = mapped_column(Text, default="")
    notify: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    created_at: Mapped[datetime] = mapped_column(default=now)
    changed_at: Mapped[datetime] = mapped_column(default=now)
    prefect_id: Mapped[UUID | None]
    deployment_id: Mapped[UUID | None]
    gone_at: Mapped[datetime | None]


class ScheduleRunRow(Table):
    """A time that a schedule came due, or was run by hand: then `due_at` is None.

    `task_id` is the Prefect run that came for it. `outcome` is scanned, queued, skipped or refused; `reason` says why,
    where it was not scanned at once.
    """

    __tablename__ = "schedule_runs"
    __table_args__ = (Index("ix_schedule_runs_schedule_id_id", "schedule_id", "id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    schedule_id: Mapped[UUID] = mapped_column(ForeignKey("schedules.id", ondelete="CASCADE"))
    task_id: Mapped[UUID | None] = mapped_column(unique=True)
    due_at: Mapped[datetime | None]
    came_at: Mapped[datetime] = mapped_column(default=now)
    outcome: Mapped[str] = mapped_column(String(16))
    reason: Mapped[str | None] = mapped_column(Text)
