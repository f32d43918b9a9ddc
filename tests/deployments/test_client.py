"""The client against a server that answers like the REST API: pages, outages, refusals, and where tokens go."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from deployments.client import Api
from deployments.home import find_api, find_running, prefect_environment, token_of
from footprint.errors import Conflict, InstallationError, NotFound, PulsarError, RequestError, TransientError
from footprint.settings import Settings
from footprint.states import Status
from tests.deployments.rest_stand_in import SCAN_ID, TOKEN, StandIn, nmap_at, scan, service, serving

pytestmark = pytest.mark.usefixtures("hurried")


@pytest.fixture
def server() -> Iterator[StandIn]:
    with serving(StandIn()) as stand_in:
        yield stand_in


@pytest.fixture
def api(server: StandIn) -> Iterator[Api]:
    with Api(server.url, TOKEN) as api:
        yield api


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("PULSAR_API_URL", "PULSAR_API_TOKEN", "PREFECT_API_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PULSAR_HOME", str(tmp_path))
    return tmp_path


def platform_file(home: Path, pid: int, url: str) -> None:
    content = {"pid": pid, "api": url, "prefect_api": "http://127.0.0.1:4200/api", "since": "now"}
    (home / "platform.json").write_text(json.dumps(content))


def pid_of_the_dead() -> int:
    process = subprocess.Popen(["true"])
    process.wait(10)
    return process.pid


def test_every_page_is_fetched(server: StandIn, api: Api) -> None:
    server.rows["services"] = [service("127.0.0.1", port) for port in range(1, 252)]
    assert [one.port for one in api.services(SCAN_ID)] == list(range(1, 252))


def test_a_scan_is_asked_for_with_its_key(server: StandIn, api: Api) -> None:
    assert api.start_scan("127.0.0.1", "quick", "nightly", "a-key").status is Status.PENDING
    method, path, headers, body = server.asked[-1]
    assert (method, path, headers["Idempotency-Key"]) == ("POST", "/api/scans/", "a-key")
    assert body == {"target": "127.0.0.1", "policy": "quick", "comment": "nightly"}


def test_fields_unknown_to_the_command_are_kept(server: StandIn, api: Api) -> None:
    server.story = [scan("SUCCESS", 100, grade={"letter": "B"})]
    assert api.scan(SCAN_ID).as_sent() == scan("SUCCESS", 100, grade={"letter": "B"})


def test_watching_ends_with_the_scan_and_sits_out_an_outage(server: StandIn, api: Api) -> None:
    away = (503, {"error": "prefect_unavailable", "detail": "The Prefect server does not answer."})
    server.story = [scan("PENDING"), away, away, nmap_at(41), scan("SUCCESS", 100)]
    troubles: list[str] = []
    seen = [(one.status, one.progress) for one in api.watch(SCAN_ID, troubles.append)]
    assert seen == [(Status.PENDING, 0), (Status.STARTED, 41), (Status.SUCCESS, 100)]
    assert troubles == ["The Prefect server does not answer; trying again"] * 2


def test_watching_gives_up_on_a_lasting_outage(server: StandIn, api: Api) -> None:
    server.story = [scan("PENDING"), (503, {"error": "prefect_unavailable", "detail": "Away."})]
    with pytest.raises(TransientError, match="Away"):
        list(api.watch(SCAN_ID, lambda trouble: None))


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, RequestError),
        (401, RequestError),
        (404, NotFound),
        (409, Conflict),
        (422, RequestError),
        (499, RequestError),
    ],
)
def test_a_refusal_is_the_callers_to_mend(server: StandIn, api: Api, status: int, kind: type[PulsarError]) -> None:
    server.story = [(status, {"error": "word", "detail": "A sentence.", "hint": "A remedy."})]
    with pytest.raises(kind) as caught:
        api.scan(SCAN_ID)
    assert status == 401 or (caught.value.detail, caught.value.hint) == ("A sentence.", "A remedy.")


@pytest.mark.parametrize("status", [429, 502, 503])
def test_a_passing_failure_may_be_tried_again(server: StandIn, api: Api, status: int) -> None:
    server.story = [(status, b"<html>not ours</html>")]
    with pytest.raises(TransientError, match=f"status {status}"):
        api.scan(SCAN_ID)


@pytest.mark.parametrize("content", [b"<html>", b"[]", {"id": SCAN_ID}, {"results": 3}])
def test_nonsense_is_an_error_and_not_an_empty_answer(server: StandIn, api: Api, content: object) -> None:
    server.story = [(200, content)]
    with pytest.raises(InstallationError, match="not understood"):
        api.scan(SCAN_ID)


def test_an_id_never_becomes_another_path(server: StandIn, api: Api) -> None:
    with pytest.raises(NotFound):
        api.scan("../policies")
    assert server.asked == []


def test_a_proxy_in_the_environment_does_not_hear_what_is_said_on_loopback(
    server: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    with Api(server.url, TOKEN) as api:
        assert api.is_there()


@pytest.mark.parametrize("url", ["ftp://127.0.0.1", "127.0.0.1:8000", "http://127.0.0.1:port"])
def test_an_address_that_is_none_is_a_refusal(url: str) -> None:
    with pytest.raises(RequestError, match="address"), Api(url, TOKEN) as api:
        api.scan(SCAN_ID)


def test_the_running_platform_of_the_home_is_found(server: StandIn, home: Path) -> None:
    platform_file(home, os.getpid(), f"{server.url}/api/")
    (home / "token").write_text(f"{TOKEN}\n")
    found = find_api(Settings())
    assert found is not None
    with found:
        assert found.scan(SCAN_ID).id == SCAN_ID


def test_the_file_of_a_dead_platform_sends_no_token_anywhere(server: StandIn, home: Path) -> None:
    platform_file(home, pid_of_the_dead(), server.url)
    (home / "token").write_text(TOKEN)
    assert find_api(Settings()) is None
    assert server.asked == []


@pytest.mark.parametrize("content", ["", "{", "[]", '{"pid": -1, "api": "x", "prefect_api": "y"}', '{"pid": 0}'])
def test_a_torn_platform_file_is_no_platform(home: Path, content: str) -> None:
    (home / "platform.json").write_text(content)
    assert find_running(Settings()) is None


def test_a_named_platform_that_is_away_is_not_replaced(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PULSAR_API_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("PULSAR_API_TOKEN", TOKEN)
    with pytest.raises(TransientError, match="does not answer"):
        find_api(Settings())


def test_the_token_of_the_environment_wins(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "token").write_text("of-the-home")
    assert token_of(Settings()) == "of-the-home"
    monkeypatch.setenv("PULSAR_API_TOKEN", "of-the-environment")
    assert token_of(Settings()) == "of-the-environment"


@pytest.mark.parametrize("content", ["", "two words", "line\nbreak", "t\u00f6ken"])
def test_what_cannot_be_a_token_is_not_sent(home: Path, content: str) -> None:
    (home / "token").write_text(content)
    with pytest.raises(RequestError, match="token"):
        token_of(Settings())


def test_a_worker_joins_the_platform_of_its_home(home: Path) -> None:
    platform_file(home, os.getpid(), "http://127.0.0.1:8000")
    (home / "prefect-auth").write_text("pulsar:secret\n")
    assert prefect_environment(Settings()) == {
        "PREFECT_API_URL": "http://127.0.0.1:4200/api",
        "PREFECT_API_AUTH_STRING": "pulsar:secret",
    }


def test_a_worker_keeps_the_prefect_server_it_was_given(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    platform_file(home, os.getpid(), "http://127.0.0.1:8000")
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:4999/api")
    assert prefect_environment(Settings()) == {}


def test_a_worker_without_a_platform_is_told_so(home: Path) -> None:
    with pytest.raises(InstallationError, match="no platform"):
        prefect_environment(Settings())
