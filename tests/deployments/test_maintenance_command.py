"""`pulsar cleanup`, `backup`, `restore` and `tools`, without a platform: what they print and what they refuse."""

from __future__ import annotations

import fcntl
import json
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import update

from deployments import prefect_server
from deployments.prefect_server import WATCH, PrefectServer, automation
from footprint.settings import Settings
from footprint.store import Store, migrate, open_store
from footprint.store.quarantine import Checked, Outcome, note_check
from footprint.store.tables import Scan, now
from tasks import tool_checks
from tasks.catalogue import tool_named
from tasks.quarantine import machine
from tests.deployments.invoking import pulsar
from tests.footprint.test_differences import WEB, asked, scanned

pytestmark = pytest.mark.usefixtures("hurried")


@pytest.fixture
def home(no_platform: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    return no_platform


def _store(home: Path) -> Store:
    url = Settings(home=home).store_url
    migrate(url)
    return open_store(url)


def _three_scans(home: Path) -> list[str]:
    store = _store(home)
    scans = [scanned(store, asked("nmap", WEB, WEB)).id for _ in range(3)]
    with store.write() as session:
        for number, scan in enumerate(scans):
            at = now() - timedelta(days=400 - number)
            session.execute(update(Scan).where(Scan.id == scan).values(created_at=at, finished_at=at))
    store.close()
    return [str(scan) for scan in scans]


def test_cleanup_says_what_it_would_delete_and_then_deletes_that(home: Path) -> None:
    scans = _three_scans(home)
    told = json.loads(pulsar("cleanup", "--dry-run", "--json").stdout)
    assert [scan["id"] for scan in told["scans"]] == scans[:2]
    assert told["runs"] is None
    would = pulsar("cleanup", "--dry-run")
    assert would.stdout == pulsar("cleanup", "--dry-run").stdout
    done = pulsar("cleanup")
    assert done.stdout.replace("deletes ", "would delete ") == would.stdout
    assert "deleted scans: 2;" in done.stderr
    assert json.loads(pulsar("cleanup", "--dry-run", "--json").stdout)["scans"] == []


def test_a_backup_is_made_and_put_back_and_only_when_nothing_runs(home: Path) -> None:
    scans = _three_scans(home)
    copy = pulsar("backup").stdout.strip()
    assert Path(copy).parent == home / "backups"
    assert pulsar("cleanup").exit_code == 0
    with (home / "platform.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        refused = pulsar("restore", "-f", copy)
        assert (refused.exit_code, "a platform of this home" in refused.stderr) == (3, True)
    assert pulsar("restore", str(home / "nothing")).exit_code == 2
    assert pulsar("restore", copy).exit_code == 1  # asked, and not answered
    done = pulsar("restore", "-f", copy)
    assert done.stdout == f"Restored from {Path(copy).name}.\n"
    assert "What was replaced is kept: " in done.stderr
    store = _store(home)
    with store.read() as session:
        assert sorted(str(scan.id) for scan in session.query(Scan)) == sorted(scans)
    store.close()
    assert len(list(home.glob("replaced-*.db"))) == 1


def test_tools_are_checked_shown_and_released(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tool_checks, "catalogue", lambda: {"http_probe": tool_named("http_probe")})
    checked = pulsar("tools", "check")
    assert (checked.exit_code, "it says what is there" in checked.stdout) == (0, True)
    store = _store(home)
    with store.write() as session:
        note_check(session, machine(), Checked("http_probe", Outcome.CHANGED, "it should say this, and says that"))
    store.close()
    shown = next(line for line in json.loads(pulsar("modules", "--json").stdout) if line["name"] == "http_probe")
    assert shown["state"] == "quarantined"
    assert pulsar("tools", "release", "http_probe").exit_code == 0
    assert pulsar("tools", "release", "http_probe").exit_code == 2
    assert (
        next(line for line in json.loads(pulsar("modules", "--json").stdout) if line["name"] == "http_probe")["state"]
        == "ready"
    )


def test_a_changed_tool_is_an_exit_code(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tool_checks, "catalogue", lambda: {"http_probe": tool_named("http_probe")})
    monkeypatch.setattr(tool_checks, "_judge", lambda *_: (Outcome.CHANGED, "it says that"))
    assert pulsar("tools", "check").exit_code == 1


def test_the_watch_is_made_once_and_left_as_it_is() -> None:
    asked: list[str] = []

    class Server(PrefectServer):
        there: list[dict[str, object]] = []  # noqa: RUF012 -- one test's

        def _read_all(self, path: str, wanted: dict[str, object]) -> list[dict[str, object]]:
            return self.there

        def _write(self, method: str, path: str, body: dict[str, object], or_code: int = 0) -> bool:
            asked.append(str(body["name"]))
            self.there.append(body)
            return True

    with Server("http://127.0.0.1:9/api", "") as server:
        server.ensure_watch()
        server.ensure_watch()
    assert asked == [WATCH]
    assert automation()["trigger"]["within"] == prefect_server.SILENCE
