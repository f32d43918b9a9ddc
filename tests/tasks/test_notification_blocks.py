"""Notifications through Prefect's blocks, against receivers on loopback."""

from __future__ import annotations

import threading
from uuid import uuid4

import pytest
from prefect.blocks.abstract import NotificationBlock
from prefect.blocks.core import Block
from prefect.blocks.notifications import CustomWebhookNotificationBlock, SlackWebhook
from prefect.blocks.system import Secret
from prefect.blocks.webhook import Webhook
from pydantic import SecretStr

from footprint.errors import NotDelivered
from footprint.notification import of_failure
from footprint.store.deliveries import Parcel
from tasks import notification_blocks, smtp_mail
from tasks.notification_blocks import send_by_block, send_through
from tasks.smtp_mail import SmtpMail
from tests.conftest import free_port
from tests.footprint.test_notification import END, HOSTILE, LINKS
from tests.receivers import http_receiver, mail_server

# Apprise looks for a module that Python is going to drop.
pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")


def told(error: str = "nmap: needs root") -> Parcel:
    return Parcel("slack-webhook/oncall", (1,), ((uuid4(), of_failure(END, error, [])),))


def mail_block(port: int) -> SmtpMail:
    return SmtpMail(
        host="127.0.0.1",
        port=port,
        encryption="none",
        sender="pulsar@example.test",
        to=["oncall@example.test", "second@example.test"],
    )


async def test_a_mail_is_plain_text_with_the_events_id() -> None:
    parcel = told()
    with mail_server() as server:
        await send_through(mail_block(server.port), parcel, LINKS)
    (mail,) = server.mails
    assert mail["Subject"] == "Pulsar: example.test: failed: nmap: needs root"
    assert (mail["From"], mail["To"]) == ("pulsar@example.test", "oncall@example.test, second@example.test")
    assert (mail["Message-ID"], mail.get_content_type()) == (f"<{parcel.id}@pulsar.invalid>", "text/plain")
    assert mail.get_content().splitlines()[:2] == ["example.test, policy quick: SUCCESS", "nmap: needs root."]


async def test_what_a_host_says_becomes_no_header_of_a_mail() -> None:
    end = END.model_copy(update={"target": HOSTILE})
    with mail_server() as server:
        block = mail_block(server.port)
        parcel = Parcel("smtp-mail/x", (1,), ((uuid4(), of_failure(end, HOSTILE, [HOSTILE])),))
        await send_through(block, parcel, LINKS)
        await block.notify("body\r\n.\r\nMAIL FROM:<x@example.test>", "subject\r\nBcc: all@example.test")
    first, second = server.mails
    assert [mail["Bcc"] for mail in (first, second)] == [None, None]
    assert first["Subject"].startswith("Pulsar: nginx Bcc: all@example.test")
    assert second["Subject"] == "subject Bcc: all@example.test"
    assert second.get_content().splitlines() == ["body", ".", "MAIL FROM:<x@example.test>"]
    assert "\x1b" not in first.get_content()


async def test_a_mail_server_that_refuses_is_a_failure_without_its_words() -> None:
    with mail_server(refuses=True) as server, pytest.raises(NotDelivered, match="it could not be sent: SMTP"):
        await send_through(mail_block(server.port), told(), LINKS)
    with pytest.raises(NotDelivered, match="ConnectionRefusedError"):
        await send_through(mail_block(free_port()), told(), LINKS)


async def test_in_the_clear_no_password_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    with mail_server() as server:
        block = mail_block(server.port).model_copy(update={"username": "me", "password": SecretStr("s")})
        monkeypatch.setattr(smtp_mail.smtplib.SMTP, "login", lambda *_: pytest.fail("a password was sent"))
        await send_through(block, told(), LINKS)
    assert len(server.raw) == 1


async def test_a_custom_webhook_of_prefects_hears_nothing_that_is_markup() -> None:
    with http_receiver() as served:
        block = CustomWebhookNotificationBlock(
            name="chat",
            url=served.url,
            json_data={"text": "{{subject}} {{body}} {{token}}"},
            secrets={"token": "s3cret", "tokenFromSecrets": "s3cret"},
        )
        await send_through(block, told(HOSTILE), LINKS)
    (said,) = served.contents
    assert said["text"].count("s3cret") == 1
    for char in ("<", ">", "&", "@", "`", "[", "\x1b"):
        assert char not in said["text"]


async def test_prefects_webhook_gets_the_json_of_the_event() -> None:
    parcel = told()
    with http_receiver() as served:
        await send_through(Webhook(url=SecretStr(served.url)), parcel, LINKS)
    assert (served.contents[0]["id"], served.contents[0]["type"]) == (str(parcel.id), "scan.failed")


@pytest.mark.parametrize("status", [302, 500])
async def test_what_a_block_is_not_answered_well_is_a_failure(status: int) -> None:
    with http_receiver() as inside, http_receiver(statuses=[status], location=inside.url) as served:
        blocks: list[Block] = [
            Webhook(url=SecretStr(served.url)),
            CustomWebhookNotificationBlock(name="chat", url=served.url, json_data={"text": "{{body}}"}),
            # Any block that is made of Apprise is as this one; its own address is never asked.
            SlackWebhook(url=SecretStr(served.url.replace("http:", "json:"))),
        ]
        for block in blocks:
            with pytest.raises(NotDelivered):
                await send_through(block, told(), LINKS)
        assert len(served.came) == len(blocks)
        assert inside.came == []


async def test_a_block_that_sends_nothing_is_told_apart() -> None:
    with pytest.raises(NotDelivered, match="sends no notifications"):
        await send_through(Secret(value=SecretStr("s")), told(), LINKS)


class Hanging(NotificationBlock):
    """Never comes back."""

    def notify(self, body: str, subject: str | None = None) -> None:  # type: ignore[override]
        """Wait for the end of the test."""
        OVER.wait(30)


OVER = threading.Event()


async def test_a_block_that_hangs_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    async def load(name: str) -> Block:
        return Hanging()

    monkeypatch.setattr(notification_blocks, "SECONDS", 0.3)
    monkeypatch.setattr(notification_blocks, "_load", load)
    try:
        with pytest.raises(NotDelivered, match=r"not sent within 0\.3 s"):
            await send_by_block(told(), LINKS)
    finally:
        OVER.set()
