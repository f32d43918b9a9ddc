"""The tables of what may be looked at, and who allowed it; and of what scans left out."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import ForeignKey, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from footprint.store.tables import Table, now

INCLUDE, EXCLUDE = "include", "exclude"


class ScopeRow(Table):
    """A domain, address or network that an asset includes in the scope of its scans, or excludes from it."""

    __tablename__ = "asset_scope"
    __table_args__ = (UniqueConstraint("asset_id", "rule", "value"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    asset_id: Mapped[UUID] = mapped_column(ForeignKey("assets.id", ondelete="CASCADE"))
    rule: Mapped[str] = mapped_column(String(16))
    value: Mapped[str] = mapped_column(String(255))


class AuthorizationRow(Table):
    """Who allowed an asset to be looked at actively, and from when to when. `covers` is a part of it, or None: all."""

    __tablename__ = "authorizations"
    __table_args__ = (Index("ix_authorizations_asset_id_id", "asset_id", "id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    asset_id: Mapped[UUID] = mapped_column(ForeignKey("assets.id", ondelete="CASCADE"))
    covers: Mapped[str | None] = mapped_column(String(255))
    valid_from: Mapped[datetime]
    valid_until: Mapped[datetime]
    granted_by: Mapped[str] = mapped_column(String(255))
    reference: Mapped[str] = mapped_column(String(255), default="")
    comment: Mapped[str] = mapped_column(Text, default="")
    created_at: Mapped[datetime] = mapped_column(default=now)


class LeftOutRow(Table):
    """Something that a scan came upon and kept out of its further work, and the rule by which it did."""

    __tablename__ = "left_out"
    __table_args__ = (UniqueConstraint("scan_id", "subject"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    scan_id: Mapped[UUID] = mapped_column(ForeignKey("scans.id", ondelete="CASCADE"))
    subject: Mapped[str] = mapped_column(String(400))
    rule: Mapped[str] = mapped_column(Text)
