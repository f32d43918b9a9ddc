"""When the platform last did what it does for itself, and how that went."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from footprint.doctor import ChoreSeen
from footprint.store.chore_tables import ChoreRow
from footprint.store.tables import now

CLEANUP, RECONCILE, REFRESH_FEEDS, CHECK_TOOLS, BACKUP = (
    "cleanup",
    "reconcile",
    "refresh_feeds",
    "check_tools",
    "backup",
)
SAID_KEPT = 1000


def note_chore(session: Session, name: str, said: str, *, is_well: bool = True) -> None:
    """Note that a chore was done just now, and what came of it, in place of the last time."""
    session.merge(ChoreRow(name=name, at=now(), is_well=is_well, said=said[:SAID_KEPT]))


def chores_done(session: Session) -> tuple[ChoreSeen, ...]:
    """The chores that were ever done, by name."""
    rows = session.scalars(select(ChoreRow).order_by(ChoreRow.name))
    return tuple(ChoreSeen(row.name, row.at, row.is_well, row.said) for row in rows)
