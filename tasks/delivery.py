"""How a message is brought to its receiver, whichever kind that is: once, within a bound."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from uuid import UUID, uuid4

from footprint.errors import NotDelivered, NotFound
from footprint.notification_text import Links
from footprint.notify_rules import SIGNED_WEBHOOK
from footprint.settings import Settings
from footprint.store import Store
from footprint.store.deliveries import Parcel
from footprint.store.webhooks import Webhook, webhook_named
from tasks.notification_blocks import send_by_block
from tasks.signed_webhook import content_of, post, trial_of


@dataclass(frozen=True, slots=True)
class Trial:
    """A test of a webhook: the id of its event, and why it was not taken, if it was not."""

    event_id: UUID
    error: str | None = None


async def try_out(webhook: Webhook, settings: Settings) -> Trial:
    """Send a webhook an event of type `test`."""
    number = uuid4()
    try:
        await post(webhook, trial_of(number), settings)
    except NotDelivered as error:
        return Trial(number, str(error))
    return Trial(number)


async def deliver(parcel: Parcel, store: Store, settings: Settings) -> None:
    """Bring one message to its receiver. Raises `NotDelivered`."""
    kind, _, name = parcel.receiver.partition("/")
    links = Links.of(settings)
    if kind != SIGNED_WEBHOOK:
        await send_by_block(parcel, links)
        return
    try:
        webhook = await asyncio.to_thread(_webhook, store, name)
    except NotFound as missing:
        raise NotDelivered(missing.detail) from None
    await post(webhook, content_of(parcel, links), settings)


def _webhook(store: Store, name: str) -> Webhook:
    with store.read() as session:
        return webhook_named(session, name)
