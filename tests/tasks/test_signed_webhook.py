"""Signed webhooks against receivers on loopback: signed, checked, bounded, and led nowhere else."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from footprint.errors import InvalidWebhook, NotDelivered
from footprint.notification import of_failure
from footprint.settings import Settings
from footprint.store.deliveries import Parcel
from footprint.store.webhooks import Webhook
from footprint.webhook_address import check, refusal, resolved, split
from tasks import signed_webhook
from tasks.signed_webhook import content_of, post, signature, trial_of
from tests.conftest import free_port
from tests.estate.tls_hosts import AUTHORITY, DRAFTS, make_certificates
from tests.footprint.test_notification import END, HOSTILE, LINKS
from tests.receivers import HttpReceiver, http_receiver

SECRET = "s3cret-of-the-webhook"
HERE = Settings(notify_allow=("127.0.0.0/8",))  # type: ignore[arg-type]
CLOSED = Settings()
INSIDE = """127.0.0.1 10.1.2.3 169.254.169.254 192.168.1.1 100.64.0.1 0.0.0.0 224.0.0.1 ::1 fe80::1 fd00::1
    ::ffff:127.0.0.1 64:ff9b::7f00:1 2002:7f00:1:: ::127.0.0.1 not"""
NO_ADDRESSES = [
    "",
    "hooks.example.test",
    "ftp://hooks.example.test/",
    "https://",
    "https:///x",
    "https://u:p@hooks.example.test/",
    "https://hooks.example.test/#x",
    "https://hooks.example.test:99999/",
    "https://0177.0.0.1/",
    "https://127.1/",
    "https://2130706433/",
    "https://hooks.example.test/\r\nX: y",
    "https://hooks.example.test/ x",
    "https://a\\@b.test/",
    "file:///etc/passwd",
    "https://[::1",
    "gopher://127.0.0.1/",
]


def told(error: str = "why") -> Parcel:
    number = uuid4()
    return Parcel("signed-webhook/siem", (1,), ((number, of_failure(END, error, [])),))


async def send(url: str, content: dict[str, Any] | None = None, settings: Settings = HERE) -> None:
    await post(Webhook(url, SECRET), content or trial_of(uuid4()), settings)


@pytest.fixture
def receiver() -> Iterator[HttpReceiver]:
    """A receiver that takes everything."""
    with http_receiver() as served:
        yield served


async def test_a_message_is_signed_so_that_a_receiver_can_check_it(receiver: HttpReceiver) -> None:
    parcel = told(HOSTILE)
    await send(receiver.url, content_of(parcel, LINKS))
    ((headers, body),) = receiver.came
    at, _, mac = headers["Pulsar-Signature"].removeprefix("t=").partition(",v1=")
    assert abs(int(at) - time.time()) < 60
    assert mac == hmac.new(SECRET.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    assert signature(SECRET, body + b" ", int(at)) != headers["Pulsar-Signature"]
    said = json.loads(body)
    assert headers["Pulsar-Event-Id"] == said["id"] == str(parcel.id)
    assert (said["version"], said["type"], said["status"]) == (1, "scan.failed", "SUCCESS")
    assert said["links"] == {"scan": LINKS.scan(END.scan), "prefect_run": LINKS.run(END.task_id)}
    assert not [char for char in said["summary"] if ord(char) < 32 or char == "\u202e"]


async def test_a_digest_holds_each_event_with_its_own_id(receiver: HttpReceiver) -> None:
    events = (*told().events, *told().events)
    await send(receiver.url, content_of(Parcel("signed-webhook/siem", (1, 2), events, uuid4()), LINKS))
    (said,) = receiver.contents
    assert said["type"] == "digest"
    assert [event["id"] for event in said["events"]] == [str(number) for number, _ in events]


@pytest.mark.parametrize("status", [400, 410, 429, 500, 503])
async def test_any_answer_but_a_good_one_is_a_failure(status: int) -> None:
    with http_receiver(statuses=[status]) as served:
        with pytest.raises(NotDelivered, match=f"answered {status}"):
            await send(served.url)
        assert len(served.came) == 1


async def test_redirects_are_not_followed(receiver: HttpReceiver) -> None:
    for status in (301, 302, 307, 308):
        with http_receiver(statuses=[status], location=receiver.url) as leading:
            with pytest.raises(NotDelivered, match="redirects are not followed"):
                await send(leading.url)
            assert len(leading.came) == 1
    assert receiver.came == []


async def test_a_receiver_that_hangs_is_left_after_a_few_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signed_webhook, "SECONDS", 0.3)
    with (
        http_receiver(hang=threading.Event()) as served,
        pytest.raises(NotDelivered, match=r"no answer within 0\.3 s"),
    ):
        await send(served.url)


async def test_a_receiver_that_is_gone_is_said_to_be() -> None:
    with pytest.raises(NotDelivered, match="cannot be reached"):
        await send(f"http://127.0.0.1:{free_port()}/")


async def test_nothing_is_sent_inward_unless_the_settings_allow_it(receiver: HttpReceiver) -> None:
    for url in (receiver.url, receiver.url.replace("http:", "https:"), receiver.url.replace("127.0.0.1", "localhost")):
        with pytest.raises(NotDelivered, match=r"special-purpose address \(loopback\)"):
            await send(url, settings=CLOSED)
    assert receiver.came == []


async def test_a_name_is_resolved_once_and_its_address_is_what_is_connected_to(
    receiver: HttpReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    answers = [["127.0.0.1"], ["127.0.0.1", "169.254.169.254"], ["10.0.0.1"]]

    async def lookup(loop: Any, host: str, port: int, **more: Any) -> list[Any]:
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in answers[len(asked) - 1]]

    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", lookup)
    url = receiver.url.replace("127.0.0.1", "hooks.example.test")
    await send(url)
    assert asked == ["hooks.example.test"]
    assert receiver.came[0][0]["Host"].startswith("hooks.example.test:")
    for _ in range(2):
        with pytest.raises(NotDelivered, match="special-purpose"):
            await send(url)
    assert len(receiver.came) == 1


@pytest.mark.parametrize(("name", "is_taken"), [("good", True), ("mismatched", False), ("self_signed", False)])
async def test_the_certificate_is_checked_against_the_name_though_an_address_is_connected_to(
    name: str, is_taken: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = make_certificates(tmp_path, {name: DRAFTS[name]})
    trust = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trust.load_cert_chain(f"{made[name]}.pem", f"{made[name]}.key")

    async def lookup(loop: Any, host: str, port: int, **more: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", lookup)
    settings = HERE.model_copy(update={"tls_authorities": Path(f"{made[AUTHORITY]}.pem")})
    with http_receiver(trust) as served:
        url = served.url.replace("127.0.0.1", "good.example.test")
        if is_taken:
            await send(url, settings=settings)
        else:
            with pytest.raises(NotDelivered, match="cannot be reached"):
                await send(url, settings=settings)
        assert len(served.came) == is_taken


@pytest.mark.parametrize("address", INSIDE.split())
def test_addresses_inside_are_refused(address: str) -> None:
    assert refusal(address, (), is_encrypted=True)
    assert resolved(["8.8.8.8", address], (), is_encrypted=True)[0] is None


async def test_a_webhook_goes_to_its_checked_address_and_not_through_the_proxy(receiver: HttpReceiver) -> None:
    with http_receiver() as proxy:
        settings = HERE.model_copy(update={"proxy": proxy.url})
        await send(receiver.url, settings=settings)
        assert (len(receiver.came), proxy.came) == (1, [])
        with pytest.raises(NotDelivered, match="cannot be reached") as error:
            await send(f"http://127.0.0.1:{free_port()}/", settings=settings)
        assert "PULSAR_PROXY" in error.value.hint
        assert proxy.came == []
    with pytest.raises(NotDelivered) as plain:
        await send(f"http://127.0.0.1:{free_port()}/")
    assert plain.value.hint == ""


def test_public_addresses_are_sent_to_over_https_only() -> None:
    assert refusal("8.8.8.8", (), is_encrypted=True) == ""
    assert refusal("8.8.8.8", HERE.notify_allow, is_encrypted=False) == "only https goes there"
    assert refusal("127.0.0.1", HERE.notify_allow, is_encrypted=False) == ""
    assert resolved([], (), is_encrypted=True) == (None, "it has no address")


@pytest.mark.parametrize("url", NO_ADDRESSES)
def test_what_is_no_address_for_a_webhook_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"address|without"):
        split(url)


def test_an_address_is_judged_when_it_is_kept_as_far_as_that_goes_without_resolving() -> None:
    check("https://hooks.example.test/x?y=1", ())
    check("http://hooks.example.test/", HERE.notify_allow)
    check("http://127.0.0.1:8080/", HERE.notify_allow)
    for url in ("http://hooks.example.test/", "http://127.0.0.1/", "https://127.0.0.1/", "https://[fd00::1]/"):
        with pytest.raises(InvalidWebhook, match="nothing is sent there"):
            check(url, ())
