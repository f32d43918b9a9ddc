"""The feeds, fetched by the real client from a local service that speaks NVD's, EPSS's and KEV's protocols."""

from __future__ import annotations

import gzip
import itertools
import json
import shutil
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from footprint.cpe import Cpe
from footprint.settings import Settings
from footprint.store import Store
from footprint.store.chores import chores_done
from footprint.store.feeds import concerning, feeds_known
from tasks import chores, feeds
from tasks.feeds import Fetcher, is_to_be_refreshed

FEEDS = Path(__file__).parent.parent / "fixtures" / "feeds"
NVD: list[dict[str, Any]] = json.loads((FEEDS / "nvdcve-sample.json").read_text())["vulnerabilities"]
OPENSSH = Cpe("a", "openbsd", "openssh", "7.2p2")
Answer = tuple[int, bytes, dict[str, str]]


class Services:
    """NVD, EPSS and KEV on a port of loopback. `asked` are NVD's queries; `faults` are answered first, in turn."""

    def __init__(self) -> None:
        self.entries = list(NVD)
        self.page = 3
        self.asked: list[dict[str, str]] = []
        self.headers: list[dict[str, str]] = []
        self.faults: list[Answer] = []
        self.before: Callable[[int], None] = lambda index: None

    def answer(self, path: str, headers: dict[str, str]) -> Answer:
        """What is answered to a GET."""
        at = urlsplit(path)
        if self.faults:
            return self.faults.pop(0)
        if at.path == "/nvd":
            query = {name: values[0] for name, values in parse_qs(at.query).items()}
            self.asked.append(query)
            self.headers.append(headers)
            index = int(query["startIndex"])
            self.before(index)
            some = self.entries[index : index + self.page]
            document = {"startIndex": index, "totalResults": len(self.entries), "vulnerabilities": some}
            return 200, json.dumps(document).encode(), {}
        if headers.get("If-None-Match") == "one":
            return 304, b"", {"ETag": "one"}
        if at.path == "/epss":
            return 200, gzip.compress((FEEDS / "epss-sample.csv").read_bytes()), {"ETag": "one"}
        return 200, (FEEDS / "known_exploited_vulnerabilities.json").read_bytes(), {"ETag": "one"}


@pytest.fixture
def services() -> Services:
    return Services()


@pytest.fixture
def settings(services: Services) -> Iterator[Settings]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            code, body, headers = services.answer(self.path, dict(self.headers.items()))
            self.send_response(code)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *words: object) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        base = f"http://127.0.0.1:{server.server_port}"
        yield Settings(nvd_url=f"{base}/nvd", epss_url=f"{base}/epss", kev_url=f"{base}/kev")
        server.shutdown()


def _fetcher(settings: Settings, store: Store, **given: Any) -> Fetcher:
    return Fetcher(settings, store, pause=0.01, **given)


def _feeds(store: Store) -> dict[str, Any]:
    with store.read() as session:
        return {row.name: row for row in feeds_known(session)}


def _concerning(store: Store, cpe: Cpe) -> list[str]:
    with store.read() as session:
        return sorted(known.id for known in concerning(session, cpe))


def test_all_feeds_are_read_page_by_page(settings: Settings, services: Services, store: Store) -> None:
    told: list[tuple[str, int, int | None]] = []
    assert _fetcher(settings, store, tell=lambda *words: told.append(words)).update() == {}
    assert [query["startIndex"] for query in services.asked] == ["0", "3", "6"]
    assert [done for name, done, _ in told if name == "nvd"] == [3, 6, 8]
    assert {name: row.entries for name, row in _feeds(store).items()} == {"nvd": 8, "epss": 8, "kev": 3}
    assert all(row.error is None and row.updated_at for row in _feeds(store).values())
    with store.read() as session:
        exim = concerning(session, Cpe("a", "exim", "exim", "4.89"))[0]
    assert (exim.id, exim.score, exim.epss, exim.known_since, exim.ransomware) == (
        "CVE-2019-10149",
        9.8,
        0.93,
        "2022-01-10",
        True,
    )


def test_the_second_time_only_what_changed_is_asked_for(settings: Settings, services: Services, store: Store) -> None:
    first, second = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)
    assert _fetcher(settings, store, now=lambda: first).update() == {}
    changed = json.loads(json.dumps(NVD[0]))
    changed["cve"]["vulnStatus"] = "Rejected"
    services.entries, services.asked = [changed], []
    assert _fetcher(settings, store, now=lambda: second).update() == {}
    assert [(query["lastModStartDate"], query["lastModEndDate"]) for query in services.asked] == [
        (first.isoformat(), second.isoformat())
    ]
    # The rejected one is forgotten, the others stay.
    assert _concerning(store, OPENSSH) == ["CVE-2016-6210", "CVE-2023-48795"]
    assert _feeds(store)["nvd"].entries == 7


def test_a_long_absence_is_made_up_in_windows_that_nvd_takes(
    settings: Settings, services: Services, store: Store
) -> None:
    first, later = datetime(2025, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC)
    assert _fetcher(settings, store, now=lambda: first).update() == {}
    services.asked, services.page = [], 100
    assert _fetcher(settings, store, now=lambda: later).update() == {}
    windows = [
        (datetime.fromisoformat(query["lastModStartDate"]), datetime.fromisoformat(query["lastModEndDate"]))
        for query in services.asked
    ]
    assert windows[0][0] == first
    assert windows[-1][1] == later
    assert all((end - start).days < 120 for start, end in windows)
    assert all(before[1] == after[0] for before, after in itertools.pairwise(windows))


def test_an_interrupted_update_goes_on_where_it_was(settings: Settings, services: Services, store: Store) -> None:
    def fail(index: int) -> None:
        if index == 3:
            raise ConnectionAbortedError  # the connection is closed without an answer

    services.before = fail
    problems = _fetcher(settings, store).update()
    assert list(problems) == ["nvd"]
    assert _concerning(store, OPENSSH) == ["CVE-2016-6210", "CVE-2018-15473", "CVE-2023-48795"]
    assert _feeds(store)["nvd"].updated_at is None
    services.before, services.asked = lambda index: None, []
    assert _fetcher(settings, store).update() == {}
    assert [query["startIndex"] for query in services.asked] == ["3", "6"]
    assert _feeds(store)["nvd"].entries == 8


def test_a_busy_service_is_asked_again(settings: Settings, services: Services, store: Store) -> None:
    services.faults = [(503, b"", {}), (403, b"", {}), (429, b"", {})]
    assert _fetcher(settings, store).update() == {}
    assert services.faults == []


@pytest.mark.parametrize(
    ("fault", "word"),
    [
        ((200, b"<html>maintenance</html>", {}), "not JSON"),
        ((200, b'{"vulnerabilities": [{', {}), "cut off"),
        ((200, b"{}", {}), "not a page"),
        ((404, b"", {}), "404"),
    ],
)
def test_what_was_known_stays_where_a_feed_fails(
    settings: Settings, services: Services, store: Store, fault: Answer, word: str
) -> None:
    assert _fetcher(settings, store).update() == {}
    services.faults = [fault]
    problems = _fetcher(settings, store).update()
    assert word in problems["nvd"]
    assert word in (_feeds(store)["nvd"].error or "")
    assert len(_concerning(store, OPENSSH)) == 3


def test_an_unchanged_feed_is_not_read_again(settings: Settings, services: Services, store: Store) -> None:
    told: list[str] = []
    for _ in range(2):
        assert _fetcher(settings, store, tell=lambda name, *counts: told.append(name)).update() == {}
    assert told.count("epss") == told.count("kev") == 1
    assert _feeds(store)["epss"].entries == 8


def test_a_key_of_nvds_travels_in_its_header(settings: Settings, services: Services, store: Store) -> None:
    _fetcher(settings.model_copy(update={"nvd_api_key": "secret"}), store).update()
    assert {name.lower(): value for name, value in services.headers[0].items()}["apikey"] == "secret"
    assert "secret" not in str(services.asked)


def test_without_a_key_nvd_is_asked_no_faster_than_it_allows(settings: Settings, store: Store) -> None:
    assert (Fetcher(settings, store).pause or 0) >= 6
    assert 0.6 <= (Fetcher(settings.model_copy(update={"nvd_api_key": "k"}), store).pause or 0) <= 1


def test_an_answer_without_end_is_not_taken(
    settings: Settings, services: Services, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feeds, "BODY_CAP", 1000)
    services.faults = [(200, b"x" * 5000, {})]
    assert "larger" in _fetcher(settings, store).update()["nvd"]


def test_a_directory_serves_machines_without_the_internet(settings: Settings, store: Store, tmp_path: Path) -> None:
    for path in FEEDS.glob("*.*"):
        shutil.copy(path, tmp_path)
    zipped = tmp_path / "nvdcve-2.0-2018.json.gz"
    zipped.write_bytes(gzip.compress((tmp_path / "nvdcve-sample.json").read_bytes()))
    told: list[str] = []
    fetcher = _fetcher(settings, store, tell=lambda name, *counts: told.append(name))
    assert fetcher.update(tmp_path) == {}
    assert {name: row.entries for name, row in _feeds(store).items()} == {"nvd": 8, "epss": 8, "kev": 3}
    told.clear()
    assert fetcher.update(tmp_path) == {}
    assert told == []  # nothing changed, nothing was read again
    zipped.write_bytes(gzip.compress(b'{"vulnerabilities": []}'))
    assert fetcher.update(tmp_path) == {}
    assert told == []
    assert _feeds(store)["nvd"].entries == 8


def test_a_damaged_file_and_an_empty_directory_are_said(settings: Settings, store: Store, tmp_path: Path) -> None:
    problems = _fetcher(settings, store).update(tmp_path)
    assert set(problems) == {"nvd", "epss", "kev"}
    (tmp_path / "nvd-1.json.gz").write_bytes(gzip.compress(b"{}" * 100)[:-20])
    assert "damaged" in _fetcher(settings, store).update(tmp_path)["nvd"]


def test_feeds_are_refreshed_where_they_were_fetched_once_or_the_settings_say_so(
    settings: Settings, store: Store, services: Services
) -> None:
    assert not is_to_be_refreshed(settings, store)
    assert is_to_be_refreshed(settings.model_copy(update={"refresh_feeds": True}), store)
    _fetcher(settings, store).update(FEEDS)
    assert not is_to_be_refreshed(settings, store)  # they came from a directory
    services.faults = []
    _fetcher(settings, store).update()
    assert is_to_be_refreshed(settings, store)
    assert not is_to_be_refreshed(settings.model_copy(update={"refresh_feeds": False}), store)


def test_a_refresh_that_fails_keeps_what_was_known_and_is_noted(
    settings: Settings, store: Store, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    _fetcher(settings, store).update()
    with store.read() as session:
        known = concerning(session, OPENSSH)
    monkeypatch.setattr(chores, "Fetcher", lambda settings, store: Fetcher(settings, store, pause=0.001))
    services.faults = [(500, b"", {})] * 100
    assert set(chores.refresh_all_feeds(settings, store)) == {"nvd", "epss", "kev"}
    with store.read() as session:
        assert concerning(session, OPENSSH) == known
        assert [(chore.name, chore.is_well) for chore in chores_done(session)] == [("refresh_feeds", False)]
