"""Notifications as JSON over HTTPS, signed, to an address that was resolved and checked here.

The signature is `Pulsar-Signature: t=SECONDS,v1=HEX`, HEX being HMAC-SHA256 of `SECONDS.BODY` with the webhook's
secret: a receiver that compares the time with its clock hears nobody's recording, and one that keeps the ids of events
hears nothing twice. PULSAR_PROXY is not used: a proxy would look the name up again, and connect to what it finds.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import socket
import ssl
import time
from collections.abc import Mapping
from ipaddress import ip_address
from typing import Any
from uuid import UUID

import httpx

from footprint.errors import NotDelivered
from footprint.notification import EventType, Notification
from footprint.notification_text import Links
from footprint.settings import Settings
from footprint.store.deliveries import Parcel
from footprint.store.webhooks import Webhook
from footprint.webhook_address import REMEDY, resolved, split
from tasks.outside import USER_AGENT

SECONDS = 5.0
MOST_BYTES = 4096
"""What is read of an answer: nothing in it is of use, but its end lets the connection close in order."""
SIGNATURE = "Pulsar-Signature"
VERSION = 1


def signature(secret: str, body: bytes, at: int) -> str:
    """The value of the signature's header for a body that is sent at this time, in seconds since 1970."""
    mac = hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256)
    return f"t={at},v1={mac.hexdigest()}"


def content_of(parcel: Parcel, links: Links) -> dict[str, Any]:
    """The JSON of a message: an event, or a digest that holds many of them, each with its own id."""
    events = [_event(number, told, links) for number, told in parcel.events]
    if parcel.digest_id is None:
        return events[0]
    return {"version": VERSION, "id": str(parcel.digest_id), "type": "digest", "events": events}


def trial_of(number: UUID) -> dict[str, Any]:
    """The JSON of a test."""
    return {"version": VERSION, "id": str(number), "type": EventType.TEST.value}


def _event(number: UUID, told: Notification, links: Links) -> dict[str, Any]:
    where = {"scan": links.scan(told.scan), "prefect_run": links.run(told.task_id)}
    return {"version": VERSION, "id": str(number), **told.model_dump(mode="json"), "links": where}


async def post(webhook: Webhook, content: Mapping[str, Any], settings: Settings) -> None:
    """Send once. Raises `NotDelivered`, also where it may not be sent, and after `SECONDS` at the latest."""
    body = json.dumps(content).encode()
    parts, host, port = split(webhook.url)
    is_encrypted = parts.scheme == "https"
    try:
        async with asyncio.timeout(SECONDS):
            address = await _address_of(host, port, settings, is_encrypted=is_encrypted)
            headers = _headers(webhook, body, str(content["id"]), parts.netloc)
            status = await _ask(httpx.URL(webhook.url), address, headers, body, _trust(settings))
    except TimeoutError:
        raise NotDelivered(f"{host}: no answer within {SECONDS:g} s") from None
    except (httpx.HTTPError, OSError) as error:
        raise NotDelivered(f"{host}: {type(error).__name__}: it cannot be reached", hint=_hint(settings)) from None
    if httpx.codes.is_redirect(status):
        raise NotDelivered(f"{host}: answered {status}: redirects are not followed")
    if not httpx.codes.is_success(status):
        raise NotDelivered(f"{host}: answered {status}")


def _hint(settings: Settings) -> str:
    return (
        "signed webhooks do not go through PULSAR_PROXY: the API's machine connects to them" if settings.proxy else ""
    )


def _headers(webhook: Webhook, body: bytes, number: str, netloc: str) -> dict[str, str]:
    return {
        "Host": netloc,
        "User-Agent": USER_AGENT,
        "Content-Type": "application/json",
        "Accept-Encoding": "identity",
        "Pulsar-Event-Id": number,
        SIGNATURE: signature(webhook.secret, body, int(time.time())),
    }


async def _address_of(host: str, port: int, settings: Settings, *, is_encrypted: bool) -> str:
    """The one address to connect to: resolved here, and looked up by nobody afterwards."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError:
        raise NotDelivered(f"{host}: its name is not to be resolved") from None
    addresses = (str(entry[4][0]) for entry in found)
    address, why = resolved(addresses, settings.notify_allow, is_encrypted=is_encrypted)
    if address is None:
        raise NotDelivered(f"{host}: nothing is sent there: {why}", hint=REMEDY)
    return address


async def _ask(url: httpx.URL, address: str, headers: Mapping[str, str], body: bytes, trust: ssl.SSLContext) -> int:
    there = url.copy_with(host=f"[{address}]" if ip_address(address).version == 6 else address)
    async with (
        httpx.AsyncClient(verify=trust, trust_env=False, follow_redirects=False, timeout=SECONDS) as client,
        client.stream(
            "POST", there, content=body, headers=dict(headers), extensions={"sni_hostname": url.host}
        ) as answer,
    ):
        read = 0
        async for piece in answer.aiter_raw():
            read += len(piece)
            if read > MOST_BYTES:
                break
        return answer.status_code


def _trust(settings: Settings) -> ssl.SSLContext:
    trust = httpx.create_ssl_context()
    if settings.tls_authorities:
        trust.load_verify_locations(settings.tls_authorities)
    return trust
