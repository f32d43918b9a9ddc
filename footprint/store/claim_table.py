"""The table of what running units take of their destinations."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import ForeignKey, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from footprint.store.tables import Table


class ClaimRow(Table):
    """What a running unit takes of a destination's budget or of a tool's places, while its scan and attempt live.

    A burst counts for a second longer than its unit: see `released_at`.
    """

    __tablename__ = "claims"
    __table_args__ = (UniqueConstraint("scan_id", "attempt", "module", "batch", "key"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    scan_id: Mapped[UUID] = mapped_column(ForeignKey("scans.id", ondelete="CASCADE"))
    attempt: Mapped[int]
    module: Mapped[str] = mapped_column(String(32))
    batch: Mapped[int]
    key: Mapped[str] = mapped_column(String(64))
    packets: Mapped[float]
    connections: Mapped[int]
    is_sweep: Mapped[bool]
    is_burst: Mapped[bool]
    released_at: Mapped[datetime | None]
