"""The tables of what receivers are to be told, and of the webhooks among them."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import JSON, ForeignKey, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from footprint.store.tables import Table, now


class NotificationRow(Table):
    """What one receiver is to be told of one scan: written with the scan's end, so that no crash loses it.

    `message` is null until it is decided what is told. From `next_try_at` on it is delivered; until `claimed_until`
    somebody is at it. What went out in a digest goes out in the same one again: `digest_id`.
    """

    __tablename__ = "notifications"
    __table_args__ = (
        UniqueConstraint("scan_id", "receiver"),
        Index("ix_notifications_status_next_try_at", "status", "next_try_at"),
        Index("ix_notifications_receiver_delivered_at", "receiver", "delivered_at"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    scan_id: Mapped[UUID] = mapped_column(ForeignKey("scans.id", ondelete="CASCADE"))
    receiver: Mapped[str] = mapped_column(String(129))
    status: Mapped[str] = mapped_column(String(16))
    event_id: Mapped[UUID | None] = mapped_column(unique=True)
    type: Mapped[str | None] = mapped_column(String(32))
    message: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    digest_id: Mapped[UUID | None]
    tries: Mapped[int] = mapped_column(default=0)
    last_error: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(default=now)
    next_try_at: Mapped[datetime]
    claimed_until: Mapped[datetime | None]
    delivered_at: Mapped[datetime | None]


class WebhookRow(Table):
    """A receiver of signed webhooks. Its secret is kept as it is: signatures are made with it."""

    __tablename__ = "webhooks"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(64), unique=True)
    url: Mapped[str] = mapped_column(Text)
    secret: Mapped[str] = mapped_column(String(255))
    created_at: Mapped[datetime] = mapped_column(default=now)
