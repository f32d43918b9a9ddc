"""`/api/webhooks/` and `/api/scans/{id}/notifications/`: who is told of scans, and how far that is."""

from __future__ import annotations

import re
from typing import Annotated

from fastapi import Path, Response
from pydantic import BeforeValidator
from sqlalchemy.orm import Session

from api.given import Id, SettingsDep
from api.notification_schemas import DeliveryOut, NewWebhookOut, TrialOut, WebhookOut, WebhookRequest
from api.paging import Page, PagingDep
from api.reading import ReadingDep
from api.routing import router
from api.writing import WritingDep
from footprint.errors import NotFound
from footprint.notify_rules import NAME_PATTERN
from footprint.store.deliveries import deliveries_page
from footprint.store.webhooks import (
    add_webhook,
    delete_webhook,
    new_secret,
    webhook_named,
    webhooks_page,
)
from footprint.webhook_address import check
from tasks.delivery import try_out

webhooks = router("webhooks")
scan_notifications = router("scans")


def _sound(name: str) -> str:
    if not re.fullmatch(NAME_PATTERN, name):
        raise NotFound("there is no webhook of that name", hint="`GET /api/webhooks/` lists them")
    return name


Name = Annotated[str, Path(description="A webhook's name."), BeforeValidator(_sound)]


@webhooks.get("/", response_model=Page[WebhookOut])
async def list_webhooks(paging: PagingDep, reading: ReadingDep) -> Response:
    """Signed webhooks, by name; without their secrets."""

    def page(session: Session) -> Page[WebhookOut]:
        found, count = webhooks_page(session, paging.offset, paging.limit)
        return paging.of([WebhookOut.of(view) for view in found], count)

    return await reading(page)


@webhooks.post("/", status_code=201)
async def create_webhook(asked: WebhookRequest, settings: SettingsDep, writing: WritingDep) -> NewWebhookOut:
    """Keep a webhook, for policies to name. The answer holds its secret, this once."""
    check(asked.url, settings.notify_allow)
    secret = asked.secret or new_secret()
    made = await writing(lambda session: add_webhook(session, asked.name, asked.url, secret))
    return NewWebhookOut(**dict(WebhookOut.of(made)), secret=secret)


@webhooks.delete("/{name}/", status_code=204)
async def remove_webhook(name: Name, writing: WritingDep) -> None:
    """Forget a webhook. What is due for it is tried until it is given up."""
    await writing(lambda session: delete_webhook(session, name))


@webhooks.post("/{name}/test/")
async def test_webhook(name: Name, settings: SettingsDep, writing: WritingDep) -> TrialOut:
    """Send it an event of type `test` now, and say whether it was taken."""
    webhook = await writing(lambda session: webhook_named(session, name))
    return TrialOut.of(await try_out(webhook, settings))


@scan_notifications.get("/{scan_id}/notifications/", response_model=Page[DeliveryOut])
async def list_notifications(scan_id: Id, paging: PagingDep, reading: ReadingDep) -> Response:
    """Who is told of the scan, and how far that is."""

    def page(session: Session) -> Page[DeliveryOut]:
        found, count = deliveries_page(session, scan_id, paging.offset, paging.limit)
        return paging.of([DeliveryOut.of(view) for view in found], count)

    return await reading(page)
