"""Notifications on their way from the store to receivers on loopback: late ones, dead ones, silent ones."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest

from api import deliverer
from api.deliverer import Deliverer
from footprint import delivery_plan
from footprint.admission import NewScan
from footprint.errors import NotDelivered
from footprint.notify_rules import NotifyRules
from footprint.records import DomainName
from footprint.settings import Settings
from footprint.states import Status
from footprint.store import Store
from footprint.store.deliveries import DeliveryView, Parcel, claim, deliveries_of
from footprint.store.notification_tables import NotificationRow
from footprint.store.scans import Begun
from footprint.store.tables import now
from footprint.store.webhooks import add_webhook
from tests.conftest import free_port
from tests.footprint.test_differences import NAMED, POLICY, scanned
from tests.footprint.test_outbox import FOUND, MORE
from tests.receivers import http_receiver


@pytest.fixture(autouse=True)
def _hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    async def register() -> None:
        """Prefect is away in these tests."""

    monkeypatch.setattr(deliverer, "LOOK_SECONDS", 0.02)
    monkeypatch.setattr(deliverer, "register_blocks", register)
    monkeypatch.setattr(delivery_plan, "FIRST_PAUSE", timedelta(seconds=0.1))


@pytest.fixture
def allowing(settings: Settings) -> Settings:
    """The installation, whose webhooks may be on loopback."""
    return settings.model_copy(update={"notify_allow": Settings(notify_allow="127.0.0.0/8").notify_allow})  # type: ignore[arg-type]


def failed(store: Store, *names: str) -> Begun:
    """A scan that failed, and whose policy tells these webhooks."""
    rules = NotifyRules(to=tuple(f"signed-webhook/{name}" for name in names))
    policy = POLICY.model_copy(update={"notify": rules})
    return scanned(store, NAMED, new=NewScan(DomainName("example.test"), policy, "", "api"), verdict=Status.FAILURE)


def webhook(store: Store, name: str, url: str) -> None:
    with store.write() as session:
        add_webhook(session, name, url, "s3cret-of-the-webhook")


def told(store: Store, scan: Begun) -> list[DeliveryView]:
    with store.read() as session:
        return list(deliveries_of(session, scan.id))


@asynccontextmanager
async def delivering(store: Store, settings: Settings, **more: Any) -> AsyncIterator[None]:
    running = asyncio.create_task(Deliverer(store, settings, on_change=lambda: None, **more).run())
    try:
        yield
    finally:
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running


async def until(truth: Callable[[], bool], seconds: float = 20) -> None:
    async with asyncio.timeout(seconds):
        while not truth():
            await asyncio.sleep(0.02)


async def test_a_receiver_that_hangs_delays_no_other(
    opened: Store, allowing: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with http_receiver(hang=threading.Event()) as silent, http_receiver() as quick:
        webhook(opened, "silent", silent.url)
        webhook(opened, "quick", quick.url)
        scan = failed(opened, "silent", "quick")
        async with delivering(opened, allowing):
            await until(lambda: bool(silent.came))
            await until(lambda: told(opened, scan)[1].status == "delivered")
            assert (told(opened, scan)[0].status, len(silent.came)) == ("pending", 1)


async def test_a_receiver_that_fails_is_tried_again_with_the_same_event(opened: Store, allowing: Settings) -> None:
    with http_receiver(statuses=[500, 503, 200]) as served:
        webhook(opened, "siem", served.url)
        scan = failed(opened, "siem")
        async with delivering(opened, allowing):
            await until(lambda: told(opened, scan)[0].status == "delivered")
        (seen,) = told(opened, scan)
        assert (seen.tries, seen.last_error) == (3, None)
        assert {content["id"] for content in served.contents} == {str(seen.event_id)}
        assert len(served.came) == 3


async def test_a_receiver_that_is_gone_waits_in_the_store(opened: Store, allowing: Settings) -> None:
    webhook(opened, "gone", f"http://127.0.0.1:{free_port()}/")
    scan = failed(opened, "gone", "unknown")
    async with delivering(opened, allowing):
        await until(lambda: all(one.tries >= 2 for one in told(opened, scan)))
    gone, unknown = told(opened, scan)
    assert (gone.status, "cannot be reached" in (gone.last_error or "")) == ("pending", True)
    assert "no webhook of that name" in (unknown.last_error or "")


async def test_a_receiver_inside_is_not_asked(opened: Store, settings: Settings) -> None:
    with http_receiver() as inside:
        webhook(opened, "inside", inside.url)
        scan = failed(opened, "inside")
        async with delivering(opened, settings):
            await until(lambda: told(opened, scan)[0].tries >= 1)
        assert inside.came == []
    assert "special-purpose address (loopback)" in (told(opened, scan)[0].last_error or "")


async def test_what_was_sent_and_not_noted_is_sent_again_after_a_restart(opened: Store, allowing: Settings) -> None:
    with http_receiver() as served:
        webhook(opened, "siem", served.url)
        scan = failed(opened, "siem")
        with opened.write() as session:
            assert claim(session, "signed-webhook/siem")  # by a process that was killed then
        async with delivering(opened, allowing):
            await asyncio.sleep(0.2)
            assert served.came == []
            with opened.write() as session:
                session.query(NotificationRow).update({"claimed_until": now()})
            await until(lambda: told(opened, scan)[0].status == "delivered")
        assert served.contents[0]["id"] == str(told(opened, scan)[0].event_id)


async def test_what_a_flow_did_not_come_to_is_told_all_the_same(opened: Store, allowing: Settings) -> None:
    rules = NotifyRules(to=("signed-webhook/siem",))
    new = NewScan(DomainName("example.test"), POLICY.model_copy(update={"notify": rules}), "", "api")
    with http_receiver() as served:
        webhook(opened, "siem", served.url)
        scanned(opened, NAMED, FOUND, new=new)
        scan = scanned(opened, NAMED, MORE, new=new)
        with opened.write() as session:
            session.query(NotificationRow).update({"created_at": now() - timedelta(minutes=2)})
        async with delivering(opened, allowing):
            await until(lambda: told(opened, scan)[0].status == "delivered")
        assert [content["changed"] for content in served.contents] == [{"new": 1}]


async def test_where_it_cannot_be_found_out_what_changed_that_is_told(
    opened: Store, allowing: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ValueError("a defect")

    monkeypatch.setattr(deliverer, "decide_late", broken)
    rules = NotifyRules(to=("signed-webhook/siem",))
    new = NewScan(DomainName("example.test"), POLICY.model_copy(update={"notify": rules}), "", "api")
    with http_receiver() as served:
        webhook(opened, "siem", served.url)
        scan = scanned(opened, NAMED, FOUND, new=new)
        with opened.write() as session:
            session.query(NotificationRow).update({"created_at": now() - timedelta(minutes=2)})
        async with delivering(opened, allowing):
            await until(lambda: told(opened, scan)[0].status == "delivered")
        assert [content["type"] for content in served.contents] == ["scan.finished"]


async def test_a_defect_in_sending_is_noted_and_the_others_go_on(opened: Store, allowing: Settings) -> None:
    sent: list[str] = []

    async def send(parcel: Parcel, *_: object) -> None:
        sent.append(parcel.receiver)
        if parcel.receiver.endswith("odd"):
            raise ValueError("nobody thought of it")
        if parcel.receiver.endswith("down"):
            raise NotDelivered("down")

    scan = failed(opened, "odd", "down", "well")
    async with delivering(opened, allowing, send=send):
        await until(lambda: [one.tries > 0 for one in told(opened, scan)] == [True] * 3)
    odd, down, well = told(opened, scan)
    assert (odd.last_error, down.last_error, well.status) == ("a defect in Pulsar: ValueError", "down", "delivered")


async def test_prefect_is_offered_the_blocks_until_it_takes_them(
    opened: Store, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    offered: list[int] = []

    async def register() -> None:
        offered.append(1)
        if len(offered) < 3:
            raise OSError("it is busy")

    monkeypatch.setattr(deliverer, "register_blocks", register)
    monkeypatch.setattr(deliverer, "REGISTER_AGAIN", 0.02)
    async with delivering(opened, settings):
        await until(lambda: len(offered) == 3)
        await asyncio.sleep(0.2)
    assert len(offered) == 3
