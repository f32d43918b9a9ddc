"""Services asked over HTTP: what is asked again, what is bounded, and what is never followed."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from footprint.errors import LookupFailed, OutputNotUnderstood, OutputTooLarge, PlatformError, PulsarError
from tasks import outside
from tasks.outside import Manners, NoSuchName, Outside, Reply, Turns, side_by_side
from tests.conftest import free_port
from tests.estate import web_services
from tests.estate.web_services import Fault, WebServices
from tests.tasks.asking import asking

QUICK = Manners(timeout=5, most_bytes=100_000, rate=1000, pause=0.01)


@pytest.fixture
def services() -> Iterator[WebServices]:
    with WebServices() as running:
        yield running


def get(url: str, manners: Manners = QUICK, *, cut: bool = False, **circumstances: Any) -> Reply:
    under = asking(**circumstances)
    client = Outside("ct", under.settings, manners)

    async def ask(asked: str) -> Reply:
        return await client.get(asked, {"q": "%.example.test"}, cut=cut)

    (reply,) = side_by_side((url,), ask, under, parallel=1, around=client)
    return reply


def slow_down(seconds: str) -> Fault:
    return Fault(429, b"", {"Retry-After": seconds})


def test_it_says_who_asks(services: WebServices) -> None:
    assert get(services.settings["ct_url"]) == Reply(200, b"[]")
    asked = services.asked[0]
    assert asked.headers["user-agent"] == outside.USER_AGENT
    assert outside.USER_AGENT.startswith("Pulsar/0.")
    assert asked.query == {"q": "%.example.test"}


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_a_busy_service_is_asked_again(services: WebServices, status: int) -> None:
    services.fail("ct", Fault(status), Fault(status))
    assert get(services.settings["ct_url"]).status == 200
    assert len(services.asked) == 3


def test_a_service_that_is_gone_for_a_moment_is_asked_again(services: WebServices) -> None:
    services.fail("ct", web_services.HANGUP)
    assert get(services.settings["ct_url"]).status == 200


@pytest.mark.parametrize("status", [400, 404, 500])
def test_other_answers_stand(services: WebServices, status: int) -> None:
    services.fail("ct", Fault(status))
    assert get(services.settings["ct_url"]).status == status
    assert len(services.asked) == 1


def test_a_service_that_stays_busy_is_an_error_that_says_so(services: WebServices) -> None:
    services.fail("ct", always=web_services.BUSY)
    with pytest.raises(LookupFailed) as error:
        get(services.settings["ct_url"])
    assert "127.0.0.1 answered 429" in error.value.detail
    assert "try later" in error.value.hint
    assert len(services.asked) == 3


def test_a_port_where_nobody_listens_is_an_error_with_a_remedy() -> None:
    with pytest.raises(LookupFailed) as error:
        get(f"http://127.0.0.1:{free_port()}/")
    assert "could not be asked" in error.value.detail
    assert "PULSAR_PROXY" in error.value.hint


def test_retry_after_is_waited_for(services: WebServices) -> None:
    services.fail("ct", web_services.BUSY_FOR_A_SECOND)
    began = time.monotonic()
    assert get(services.settings["ct_url"]).status == 200
    assert time.monotonic() - began >= 1


def test_retry_after_is_bounded(services: WebServices, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outside, "MAX_WAIT", 0.05)
    services.fail("ct", slow_down("86400"))
    assert get(services.settings["ct_url"], seconds=10).status == 200


@pytest.mark.parametrize(
    ("text", "least", "most"),
    [
        ("7", 7, 7),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0, 0),
        ("Wed, 21 Oct 2015 07:28:00 -0000", 0, 0),
    ],
)
def test_retry_after_is_a_number_or_a_date(text: str, least: float, most: float) -> None:
    seconds = outside._seconds(text)
    assert seconds is not None
    assert least <= seconds <= most


def test_retry_after_may_be_a_date_ahead() -> None:
    seconds = outside._seconds(format_datetime(datetime.now(UTC) + timedelta(seconds=100), usegmt=True))
    assert seconds is not None
    assert 90 <= seconds <= 100


@pytest.mark.parametrize("text", ["", "soon", "-1", "1e9", "²"])
def test_any_other_retry_after_is_none(text: str) -> None:
    assert outside._seconds(text) is None


def test_an_endless_answer_is_an_error(services: WebServices) -> None:
    services.fail("ct", web_services.ENDLESS)
    with pytest.raises(OutputTooLarge) as error:
        get(services.settings["ct_url"])
    assert "97 KiB" in error.value.detail


def test_the_beginning_of_an_endless_answer_may_do(services: WebServices) -> None:
    services.fail("ct", web_services.ENDLESS)
    reply = get(services.settings["ct_url"], cut=True)
    assert (len(reply.body), reply.is_whole) == (QUICK.most_bytes, False)


@pytest.mark.parametrize("fault", [web_services.SLOW, web_services.SILENT], ids=["drips", "is silent"])
def test_one_answer_has_its_time(services: WebServices, fault: Fault) -> None:
    services.fail("ct", always=fault)
    with pytest.raises(LookupFailed) as error:
        get(services.settings["ct_url"], Manners(timeout=0.3, most_bytes=1000, tries=2, pause=0.01))
    assert "no whole answer within 0.3 s" in error.value.detail
    assert len(services.asked) == 2


def test_it_is_not_led_to_another_host(services: WebServices) -> None:
    elsewhere = f"http://localhost:{services.url.rsplit(':')[-1]}/ct/"
    services.fail("ct", Fault(302, b"", {"Location": elsewhere}))
    assert get(services.settings["ct_url"]).status == 302
    assert len(services.asked) == 1


def test_it_is_led_on_within_a_host_for_a_while(services: WebServices) -> None:
    services.fail("ct", Fault(301, b"", {"Location": "/ct/again"}))
    assert get(services.settings["ct_url"]).status == 200
    assert services.asked[1].path == "again"
    services.fail("ct", always=Fault(301, b"", {"Location": "/ct/round"}))
    assert get(services.settings["ct_url"]).status == 301
    assert len(services.asked) == 2 + 1 + outside.MAX_REDIRECTS


def test_what_is_not_json_is_an_error() -> None:
    for body in (web_services.GARBAGE, b"", b"[" * 100_000, b"\xff\xfe"):
        with pytest.raises(OutputNotUnderstood):
            Reply(200, body).json("ct")


def test_it_asks_through_the_proxy(services: WebServices) -> None:
    assert get("http://example.test/ct/", proxy=services.url).status == 200
    assert services.asked[0].headers["host"] == "example.test"


def test_a_proxy_that_is_none_is_named() -> None:
    with pytest.raises(PlatformError) as error:
        get("http://127.0.0.1:9/", proxy="nonsense")
    assert "PULSAR_PROXY" in error.value.hint


def refusing(errno: int) -> Callable[..., Any]:
    def refuse(*_: object, **__: object) -> Any:
        raise socket.gaierror(errno, "said the resolver")

    return refuse


def test_a_name_that_does_not_exist_is_told_from_a_resolver_that_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", refusing(socket.EAI_NONAME))
    with pytest.raises(NoSuchName):
        get("http://nowhere.test/")
    monkeypatch.setattr(socket, "getaddrinfo", refusing(socket.EAI_AGAIN))
    with pytest.raises(PulsarError) as error:
        get("http://nowhere.test/")
    assert type(error.value) is LookupFailed


def test_a_stopped_scan_waits_for_no_service(services: WebServices) -> None:
    services.fail("ct", always=web_services.SILENT)
    stopped = threading.Event()
    threading.Thread(target=_stop_when_asked, args=(services, stopped), daemon=True).start()
    began = time.monotonic()
    with pytest.raises(ValueError, match="not enough values"):
        get(services.settings["ct_url"], Manners(timeout=30, most_bytes=1000), stopped=stopped)
    assert time.monotonic() - began < 5
    assert services.asked


def _stop_when_asked(services: WebServices, stopped: threading.Event) -> None:
    until = time.monotonic() + 10
    while not services.asked and time.monotonic() < until:
        time.sleep(0.01)
    stopped.set()


def test_a_stopped_scan_does_not_wait_for_the_resolver(monkeypatch: pytest.MonkeyPatch) -> None:
    stopped, released = threading.Event(), threading.Event()

    def hang(*_: object, **__: object) -> Any:
        stopped.set()
        released.wait(20)
        raise socket.gaierror(socket.EAI_AGAIN, "at last")

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    began = time.monotonic()
    with pytest.raises(ValueError, match="not enough values"):
        get("http://slow.test/", stopped=stopped)
    assert time.monotonic() - began < 5
    released.set()


def test_questions_are_asked_side_by_side_and_the_first_error_ends_it(services: WebServices) -> None:
    under = asking()
    client = Outside("ct", under.settings, QUICK)
    together, most = 0, 0

    async def ask(number: int) -> int:
        nonlocal together, most
        together += 1
        most = max(most, together)
        await client.get(services.settings["ct_url"])
        together -= 1
        if number == 50:
            raise LookupFailed("ct: fifty")
        return number

    found = []
    with pytest.raises(LookupFailed, match="fifty"):
        found.extend(side_by_side(range(100), ask, under, parallel=4, around=client))
    assert 1 < most <= 4
    assert {*range(46)} <= {*found} <= {*range(54)} - {50}


async def test_turns_are_taken_at_a_rate() -> None:
    turns = Turns(100)
    began = time.monotonic()
    await asyncio.gather(*(turns.take() for _ in range(21)))
    assert time.monotonic() - began >= 0.2
