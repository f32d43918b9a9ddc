"""What the store says of itself and of what is in it, for the doctor."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from sqlalchemy import func, select, update
from sqlalchemy.exc import SQLAlchemyError

from footprint.doctor import ChoreSeen, FeedSeen, LiveScan, TellingTrouble
from footprint.errors import StoreUnavailable
from footprint.states import LIVE, Status
from footprint.store.chores import chores_done
from footprint.store.deliveries import delivery_troubles
from footprint.store.engine import Store
from footprint.store.feeds import feeds_known
from footprint.store.quarantine import checks_of
from footprint.store.tables import Scan
from footprint.store.troubles import said_by_database

MOST_SCANS = 10_000


@dataclass(frozen=True, slots=True)
class StoreSeen:
    """What was read from the store in one transaction. `drift` is the database's clock ahead of ours, in seconds."""

    drift: float
    live: tuple[LiveScan, ...]
    feeds: tuple[FeedSeen, ...]
    untold: tuple[TellingTrouble, ...] = ()
    chores: tuple[ChoreSeen, ...] = ()
    quarantined: tuple[str, ...] = ()


def look_into(store: Store) -> StoreSeen:
    """Read what the doctor wants to know. Raises `StoreUnavailable`."""
    with store.read() as session:
        told = session.scalar(select(func.current_timestamp()))
        drift = (_aware(told) - datetime.now(UTC)).total_seconds()
        live = select(Scan.id, Scan.status, Scan.created_at, Scan.lease_until, Scan.waiting).where(
            Scan.status.in_(LIVE), Scan.task_id.is_not(None)
        )
        scans = session.execute(live.order_by(Scan.created_at).limit(MOST_SCANS))
        return StoreSeen(
            drift,
            tuple(LiveScan(row.id, Status(row.status), row.created_at, row.lease_until, row.waiting) for row in scans),
            tuple(FeedSeen(feed.name, feed.updated_at, feed.error) for feed in feeds_known(session)),
            delivery_troubles(session),
            chores_done(session),
            tuple(f"{check.module} on {check.machine}" for check in checks_of(session) if check.quarantined_at),
        )


def _aware(told: object) -> datetime:
    # SQLite gives its time as text, in UTC.
    found = told if isinstance(told, datetime) else datetime.fromisoformat(str(told))
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def trouble_writing(store: Store) -> str | None:
    """Why nothing can be written (the file is read-only, say, or the server a replica), or None."""
    nothing = update(Scan).where(Scan.id == UUID(int=0)).values(progress=0)
    try:
        with store.write() as session:
            session.execute(nothing)
    except StoreUnavailable as away:
        return said_by_database(away.__cause__) or away.detail
    except SQLAlchemyError as error:
        return said_by_database(error) or type(error).__name__
    return None
