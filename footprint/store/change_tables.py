"""The table of what scans found changed."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ForeignKey, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from footprint.store.tables import Table


class ChangeRow(Table):
    """What a scan found changed: the record of an asset, which outlives the scans. `at` is when the scan ended.

    `steps` are the fields that changed, each with its name, what it was, and what it is.
    """

    __tablename__ = "changes"
    __table_args__ = (
        UniqueConstraint("scan_id", "kind", "entity_id"),
        Index("ix_changes_asset_id_at_id", "asset_id", "at", "id"),
        Index("ix_changes_asset_id_kind_entity_id_at", "asset_id", "kind", "entity_id", "at"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    asset_id: Mapped[UUID] = mapped_column(ForeignKey("assets.id", ondelete="CASCADE"))
    scan_id: Mapped[UUID | None] = mapped_column(ForeignKey("scans.id", ondelete="SET NULL"))
    kind: Mapped[str] = mapped_column(String(16))
    entity_id: Mapped[int]
    change: Mapped[str] = mapped_column(String(16))
    subject: Mapped[str] = mapped_column(Text)
    severity: Mapped[str | None] = mapped_column(String(16))
    steps: Mapped[list[Any]]
    reason: Mapped[str] = mapped_column(Text, default="")
    at: Mapped[datetime]
