"""The tables of the vulnerability feeds: what NVD, EPSS and KEV said last, and how far each was read."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Float, ForeignKey, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from footprint.store.tables import Table


class Vulnerability(Table):
    """A CVE as NVD describes it. `cvss` is the vector of the newest CVSS version it has, `score` its base score."""

    __tablename__ = "vulnerabilities"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    summary: Mapped[str] = mapped_column(Text, default="")
    published: Mapped[datetime | None]
    modified: Mapped[datetime | None]
    cvss: Mapped[str | None] = mapped_column(String(255))
    score: Mapped[float | None] = mapped_column(Float)
    severity: Mapped[str] = mapped_column(String(16), default="none")


class VulnerableRange(Table):
    """Versions of one product that a CVE concerns."""

    __tablename__ = "vulnerable_ranges"
    __table_args__ = (
        Index("ix_vulnerable_ranges_product", "product", "vendor"),
        Index("ix_vulnerable_ranges_cve_id", "cve_id"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    cve_id: Mapped[str] = mapped_column(ForeignKey("vulnerabilities.id", ondelete="CASCADE"))
    part: Mapped[str] = mapped_column(String(1))
    vendor: Mapped[str] = mapped_column(String(255))
    product: Mapped[str] = mapped_column(String(255))
    version: Mapped[str | None] = mapped_column(String(255))
    start: Mapped[str | None] = mapped_column(String(255))
    start_included: Mapped[bool] = mapped_column(default=True)
    end: Mapped[str | None] = mapped_column(String(255))
    end_included: Mapped[bool] = mapped_column(default=False)
    conditional: Mapped[bool] = mapped_column(default=False)
    narrowed: Mapped[bool] = mapped_column(default=False)


class Exploitation(Table):
    """How likely a CVE is exploited in the next 30 days (EPSS), and whether it is known to be (KEV)."""

    __tablename__ = "exploitations"

    cve_id: Mapped[str] = mapped_column(String(32), primary_key=True)
    epss: Mapped[float | None] = mapped_column(Float)
    percentile: Mapped[float | None] = mapped_column(Float)
    known_since: Mapped[str | None] = mapped_column(String(10))
    ransomware: Mapped[bool] = mapped_column(default=False)


class Feed(Table):
    """How far a feed was read. `position` is where to go on after an interruption, `watermark` what is known up to."""

    __tablename__ = "feeds"

    name: Mapped[str] = mapped_column(String(16), primary_key=True)
    source: Mapped[str] = mapped_column(Text, default="")
    entries: Mapped[int] = mapped_column(default=0)
    watermark: Mapped[str | None] = mapped_column(Text)
    position: Mapped[dict[str, Any]] = mapped_column(default=dict)
    updated_at: Mapped[datetime | None]
    error: Mapped[str | None] = mapped_column(Text)
