"""Signed webhooks: named addresses with a secret each, which is shown once and never again."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

from sqlalchemy import CursorResult, delete, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from footprint.errors import Conflict, NotFound
from footprint.store.notification_tables import WebhookRow
from footprint.store.tables import now
from footprint.store.views import count_of


@dataclass(frozen=True, slots=True)
class WebhookView:
    """A webhook, without its secret."""

    name: str
    url: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Webhook:
    """A webhook as who signs needs it."""

    url: str
    secret: str


def new_secret() -> str:
    """A secret of 256 random bits."""
    return secrets.token_urlsafe(32)


def add_webhook(session: Session, name: str, url: str, secret: str) -> WebhookView:
    """Keep a webhook. Raises `Conflict` where its name is taken."""
    row = WebhookRow(name=name, url=url, secret=secret, created_at=now())
    try:
        with session.begin_nested():
            session.add(row)
    except IntegrityError:
        raise Conflict(
            "there is a webhook of this name already", hint="delete it first, or take another name"
        ) from None
    return _shown(row)


def webhooks_page(session: Session, offset: int, limit: int) -> tuple[list[WebhookView], int]:
    """A page of webhooks, by name."""
    wanted = select(WebhookRow)
    rows = session.scalars(wanted.order_by(WebhookRow.name).offset(offset).limit(limit))
    return [_shown(row) for row in rows], count_of(session, wanted)


def webhook_named(session: Session, name: str) -> Webhook:
    """The webhook of that name. Raises `NotFound`."""
    row = session.scalars(select(WebhookRow).where(WebhookRow.name == name)).one_or_none()
    if row is None:
        raise _missing()
    return Webhook(row.url, row.secret)


def delete_webhook(session: Session, name: str) -> None:
    """Forget a webhook. Raises `NotFound`."""
    gone = session.execute(delete(WebhookRow).where(WebhookRow.name == name))
    if cast("CursorResult[Any]", gone).rowcount == 0:
        raise _missing()


def _missing() -> NotFound:
    return NotFound("there is no webhook of that name", hint="`GET /api/webhooks/` lists them")


def _shown(row: WebhookRow) -> WebhookView:
    return WebhookView(row.name, row.url, row.created_at)
