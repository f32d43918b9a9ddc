"""The way of a notification to its receiver: due, claimed, delivered, tried again or given up; and who asks how far."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, func, or_, select, update
from sqlalchemy.orm import Session

from footprint.delivery_plan import WINDOW, Hold, Waiting, is_hopeless, next_batch, pause_after
from footprint.doctor import TellingTrouble
from footprint.notification import Notification
from footprint.store.notification_tables import NotificationRow
from footprint.store.outbox import Delivery
from footprint.store.tables import now
from footprint.store.views import count_of, scan_by_id
from footprint.text import clean

CLAIM = timedelta(seconds=90)
"""For how long a claim holds, where its owner dies: longer than the slowest delivery takes."""
DUE_AT_ONCE = 200
ERROR_KEPT = 500
LATELY = timedelta(days=7)
STUBBORN = 3
"""Failed tries from which on a receiver counts as in trouble."""


@dataclass(frozen=True, slots=True)
class Parcel:
    """What goes to one receiver in one message: one event, or many in a digest."""

    receiver: str
    ids: tuple[int, ...]
    events: tuple[tuple[UUID, Notification], ...]
    digest_id: UUID | None = None

    @property
    def id(self) -> UUID:
        """The id of the message."""
        return self.digest_id or self.events[0][0]


@dataclass(frozen=True, slots=True)
class DeliveryView:
    """How far one receiver has been told of a scan."""

    receiver: str
    status: str
    type: str | None
    event_id: UUID | None
    digest_id: UUID | None
    tries: int
    last_error: str | None
    created_at: datetime
    next_try_at: datetime | None
    delivered_at: datetime | None


def receivers_due(session: Session) -> list[str]:
    """Receivers for whom something is due that nobody is at."""
    return list(session.scalars(select(NotificationRow.receiver).where(*_due()).distinct()))


def _due() -> tuple[ColumnElement[bool], ...]:
    at = now()
    is_free = or_(NotificationRow.claimed_until.is_(None), NotificationRow.claimed_until < at)
    return NotificationRow.status == Delivery.PENDING, NotificationRow.next_try_at <= at, is_free


def claim(session: Session, receiver: str) -> Parcel | None:
    """Take what goes to a receiver next; None where that is nothing now."""
    wanted = select(NotificationRow).where(NotificationRow.receiver == receiver, *_due())
    ordered = wanted.order_by(NotificationRow.created_at, NotificationRow.id).limit(DUE_AT_ONCE)
    rows = {row.id: row for row in session.scalars(ordered.with_for_update(skip_locked=True))}
    due = [Waiting(row.id, row.event_id, row.digest_id) for row in rows.values() if row.event_id]
    if not due:
        return None
    batch = next_batch(due, _sent_lately(session, receiver))
    if isinstance(batch, Hold):
        for row in rows.values():
            row.next_try_at = batch.until
        return None
    chosen = [rows[number] for number in batch.ids]
    for row in chosen:
        row.claimed_until, row.digest_id = now() + CLAIM, batch.digest_id
    events = ((row.event_id, Notification.model_validate(row.message)) for row in chosen if row.event_id)
    return Parcel(receiver, batch.ids, tuple(events), batch.digest_id)


def _sent_lately(session: Session, receiver: str) -> list[datetime]:
    """When a receiver was sent something within the window: a digest counts once."""
    message = func.coalesce(NotificationRow.digest_id, NotificationRow.event_id)
    at = func.max(NotificationRow.delivered_at, type_=NotificationRow.delivered_at.type)
    sent = select(at).where(NotificationRow.receiver == receiver, NotificationRow.delivered_at > now() - WINDOW)
    return [moment for moment in session.scalars(sent.group_by(message)) if moment]


def note_delivered(session: Session, parcel: Parcel) -> None:
    """The receiver has it."""
    done: dict[str, Any] = {"status": Delivery.DELIVERED, "delivered_at": now(), "claimed_until": None}
    own = update(NotificationRow).where(NotificationRow.id.in_(parcel.ids))
    session.execute(own.values(**done, tries=NotificationRow.tries + 1, last_error=None))


def note_failed(session: Session, parcel: Parcel, error: str) -> list[int]:
    """It has not: try again later, or give it up. Returns those that are given up."""
    at, given_up = now(), []
    for row in session.scalars(select(NotificationRow).where(NotificationRow.id.in_(parcel.ids)).with_for_update()):
        row.tries += 1
        row.claimed_until, row.last_error = None, clean(error, ERROR_KEPT)
        row.next_try_at = at + pause_after(row.tries)
        if is_hopeless(row.tries, row.created_at, at):
            row.status = Delivery.GIVEN_UP
            given_up.append(row.id)
    return given_up


def deliveries_page(session: Session, scan_id: UUID, offset: int, limit: int) -> tuple[list[DeliveryView], int]:
    """Who is told of a scan, and how far that is. Raises `NotFound`."""
    scan_by_id(session, scan_id)
    wanted = select(NotificationRow).where(NotificationRow.scan_id == scan_id)
    rows = session.scalars(wanted.order_by(NotificationRow.id).offset(offset).limit(limit))
    return [_shown(row) for row in rows], count_of(session, wanted)


def deliveries_of(session: Session, scan_id: UUID) -> tuple[DeliveryView, ...]:
    """All of them."""
    wanted = select(NotificationRow).where(NotificationRow.scan_id == scan_id).order_by(NotificationRow.id)
    return tuple(map(_shown, session.scalars(wanted)))


def _shown(row: NotificationRow) -> DeliveryView:
    return DeliveryView(
        row.receiver,
        row.status,
        row.type,
        row.event_id,
        row.digest_id,
        row.tries,
        row.last_error,
        row.created_at,
        row.next_try_at if row.status == Delivery.PENDING else None,
        row.delivered_at,
    )


def delivery_troubles(session: Session) -> tuple[TellingTrouble, ...]:
    """Receivers that were given up lately, or that have not been reached in several tries."""
    is_stuck = (NotificationRow.status == Delivery.PENDING) & (NotificationRow.tries >= STUBBORN)
    is_lost = (NotificationRow.status == Delivery.GIVEN_UP) & (NotificationRow.created_at > now() - LATELY)
    columns = (NotificationRow.receiver, NotificationRow.status, func.count().label("times"))
    error = func.max(NotificationRow.last_error).label("error")
    wanted = select(*columns, error).where(is_stuck | is_lost)
    rows = session.execute(wanted.group_by(NotificationRow.receiver, NotificationRow.status)).all()
    return tuple(_trouble(name, [row for row in rows if row.receiver == name]) for name in sorted(_names(rows)))


def _names(rows: Iterable[Any]) -> set[str]:
    return {row.receiver for row in rows}


def _trouble(receiver: str, rows: Sequence[Any]) -> TellingTrouble:
    times = {row.status: row.times for row in rows}
    error = next((row.error for row in rows if row.error), "")
    return TellingTrouble(receiver, times.get(Delivery.PENDING, 0), times.get(Delivery.GIVEN_UP, 0), error)
