"""The tables of what the platform does for itself: when a chore was last done, and what checks of tools came to."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import String, Text
from sqlalchemy.orm import Mapped, mapped_column

from footprint.store.tables import Table


class ChoreRow(Table):
    """The last time that a chore was done, whether it went well, and what it came to in a sentence."""

    __tablename__ = "chores"

    name: Mapped[str] = mapped_column(String(32), primary_key=True)
    at: Mapped[datetime]
    is_well: Mapped[bool]
    said: Mapped[str] = mapped_column(Text, default="")


class ToolCheckRow(Table):
    """What the last check of a module's tool on one machine came to; `quarantined_at` is set while it is not run."""

    __tablename__ = "tool_checks"

    machine: Mapped[str] = mapped_column(String(255), primary_key=True)
    module: Mapped[str] = mapped_column(String(32), primary_key=True)
    checked_at: Mapped[datetime]
    outcome: Mapped[str] = mapped_column(String(16))
    version: Mapped[str | None] = mapped_column(String(64))
    said: Mapped[str] = mapped_column(Text, default="")
    quarantined_at: Mapped[datetime | None]
