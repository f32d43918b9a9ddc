"""Notifications through Prefect's blocks: Slack, Teams, mail and the others, as they are set up in the Prefect UI.

Blocks send in their own way, some of it in threads that cannot be stopped: each has a thread and a loop of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from concurrent.futures import Future
from threading import Thread
from typing import Any

import httpx
from prefect.blocks.abstract import NotificationBlock
from prefect.blocks.core import Block
from prefect.blocks.notifications import AbstractAppriseNotificationBlock
from prefect.blocks.webhook import Webhook as PrefectWebhook
from prefect.client.orchestration import get_client
from prefect.exceptions import PrefectException

from footprint.errors import NotDelivered
from footprint.notification_text import Links, Sink, as_is, digest_of, inert, letter_of
from footprint.store.deliveries import Parcel
from tasks.signed_webhook import content_of
from tasks.smtp_mail import SmtpMail

SECONDS = 30.0
"""What loading a block and sending takes, at most, before it is left alone."""
PREFECT_SECONDS = 5.0


async def register_blocks() -> None:
    """Make the blocks that Pulsar adds known to Prefect, so that its UI offers them. Raises what Prefect raises."""
    async with get_client(httpx_settings={"timeout": PREFECT_SECONDS}) as client:
        await SmtpMail.aregister_type_and_schema(client=client)


async def send_by_block(parcel: Parcel, links: Links) -> None:
    """Send once. Raises `NotDelivered`, after `SECONDS` at the latest."""
    try:
        await asyncio.wait_for(asyncio.wrap_future(_aside(parcel, links)), SECONDS)
    except TimeoutError:
        raise NotDelivered(f"not sent within {SECONDS:g} s") from None


def _aside(parcel: Parcel, links: Links) -> Future[None]:
    sent: Future[None] = Future()

    def run() -> None:
        try:
            asyncio.run(_load_and_send(parcel, links))
        except BaseException as error:
            outcome: BaseException | None = error
        else:
            outcome = None
        if not sent.set_running_or_notify_cancel():
            return
        if outcome is None:
            sent.set_result(None)
        else:
            sent.set_exception(outcome)

    Thread(target=run, name=f"notify {parcel.receiver}", daemon=True).start()
    return sent


async def _load_and_send(parcel: Parcel, links: Links) -> None:
    await send_through(await _load(parcel.receiver), parcel, links)


async def _load(name: str) -> Block:
    try:
        async with get_client(httpx_settings={"timeout": PREFECT_SECONDS}) as client:
            return await Block.aload(name, client=client)
    except ValueError:
        raise NotDelivered("Prefect has no such block", hint="make it in the Prefect UI, under Blocks") from None
    except (httpx.HTTPError, PrefectException) as error:
        raise NotDelivered(f"Prefect did not give the block: {type(error).__name__}") from None


async def send_through(block: Block, parcel: Parcel, links: Links) -> None:
    """Send with a block that is there. Raises `NotDelivered`."""
    try:
        await _send(block, parcel, links)
    except NotDelivered:
        raise
    except Exception as error:
        # Each block has errors of its own, of whatever library it is made of; what it says may hold its secrets.
        said = f"answered {error.response.status_code}" if isinstance(error, httpx.HTTPStatusError) else ""
        raise NotDelivered(said or f"it could not be sent: {type(error).__name__}") from None


async def _send(block: Block, parcel: Parcel, links: Links) -> None:
    match block:
        case SmtpMail():
            letter = _letter(parcel, links, as_is)
            await asyncio.to_thread(block.send, block.mail(letter.body, letter.subject, str(parcel.id)))
        case PrefectWebhook():
            answer = await block.call(content_of(parcel, links))
            answer.raise_for_status()
            if answer.is_redirect:
                raise NotDelivered(f"answered {answer.status_code}: redirects are not followed")
        case NotificationBlock():
            letter = _letter(parcel, links, inert)
            _hold_redirects(block)
            with block.raise_on_failure():
                await _notify(block)(letter.body, letter.subject)
        case _:
            raise NotDelivered("this block sends no notifications")


def _notify(block: NotificationBlock) -> Any:
    return getattr(block, "anotify", block.notify)


def _hold_redirects(block: NotificationBlock) -> None:
    """Apprise follows redirects by itself, to wherever they lead."""
    if isinstance(block, AbstractAppriseNotificationBlock):
        servers: Iterable[Any] = block._apprise_client
        for server in servers:
            server.redirects = False


def _letter(parcel: Parcel, links: Links, sink: Sink) -> Any:
    if parcel.digest_id is None:
        number, told = parcel.events[0]
        return letter_of(told, number, links, sink)
    return digest_of([told for _, told in parcel.events], parcel.digest_id, links, sink)
