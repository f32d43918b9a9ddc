"""The follower goes on whatever it is answered, and settles what can be settled."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings

from api import follower
from api.follower import Follower
from api.prefect import PrefectGateway, PrefectHealth
from footprint.admission import admit
from footprint.errors import PlatformError, PrefectUnavailable, StoreUnavailable
from footprint.reconciliation import RunState
from footprint.settings import Settings
from footprint.spool import Spool
from footprint.store import Store
from footprint.store.scans import Live, attach, begin, insert_scan
from footprint.store.views import scan_by_id


class _Page(BaseHTTPRequestHandler):
    """Answers everything with a page, as a web server that is not Prefect does."""

    def do_GET(self) -> None:
        """Any GET."""
        body = self.server.body  # type: ignore[attr-defined]
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET  # noqa: N815 -- the name is the library's

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 -- the name is the library's
        """Say nothing."""


@pytest.fixture(params=[b"<html>hello</html>", b"{}", b"[]", b"null"])
def stranger(request: pytest.FixtureRequest) -> Iterator[str]:
    """The address of something that answers and is not Prefect."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Page)
    server.body = request.param  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


async def test_what_is_not_prefect_is_told_apart(stranger: str) -> None:
    with temporary_settings({PREFECT_API_URL: stranger, PREFECT_CLIENT_MAX_RETRIES: 0}):
        async with PrefectGateway() as gateway:
            assert not (await gateway.health()).server
            with pytest.raises(PrefectUnavailable):
                await gateway.start(uuid4(), "127.0.0.1 quick")


def test_without_an_address_no_server_is_started_in_secret() -> None:
    with temporary_settings(restore_defaults={PREFECT_API_URL}), pytest.raises(PlatformError, match="PREFECT_API_URL"):
        PrefectGateway()


class Prefect(PrefectGateway):
    """Stands in for Prefect: says of runs what the test says."""

    def __init__(self, runs: dict[UUID, RunState | Exception]) -> None:
        self._runs = runs
        self.looks = 0
        self.rescheduled: list[UUID] = []

    async def health(self) -> PrefectHealth:
        """Well, but at the first time."""
        self.looks += 1
        if self.looks == 1:
            raise ValueError("an answer that nobody thought of")
        return PrefectHealth(server=True, detail="answers")

    async def reschedule(self, run_id: UUID) -> None:
        """Remember it."""
        self.rescheduled.append(run_id)

    async def runs(self, ids: Sequence[UUID]) -> dict[UUID, RunState]:
        """What the test says."""
        return {id: run for id, run in self._runs.items() if isinstance(run, RunState)}  # noqa: A001


async def test_flows_that_waited_for_a_store_have_time_to_say_that_they_live(
    opened: Store, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follower, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(follower, "RETURN_SECONDS", 0.5)
    task = uuid4()
    with opened.write() as session:
        asked = admit(settings, target="127.0.0.1", policy="quick", comment="", origin="api")
        scan_id = insert_scan(session, asked)[0].id
        attach(session, scan_id, task)
    # It runs for longer than a flow takes to begin: given up, were it not for the store.
    since = datetime.now(UTC) - timedelta(minutes=5)
    run = RunState(task, "RUNNING", "Running", "", has_started=True, ended_at=None, since=since)
    prefect = Prefect({task: run})
    failures, answers = [StoreUnavailable("away")] * 3, []
    look = Follower._live

    def live(self: Follower) -> list[Live]:
        if failures:
            raise failures.pop()
        answers.append(look(self))
        return answers[-1]

    monkeypatch.setattr(Follower, "_live", live)
    followed = Follower(opened, prefect, settings.work_dir, Spool(settings.spool_dir), on_change=lambda: None)
    following = asyncio.create_task(followed.run())
    try:
        async with asyncio.timeout(10):
            while not answers:
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.1)
            assert prefect.rescheduled == [], "not right after the store is back"
            while not prefect.rescheduled:
                await asyncio.sleep(0.01)
    finally:
        following.cancel()
    assert prefect.rescheduled[0] == task


async def test_it_goes_on_after_a_defect_and_settles_each_scan(
    opened: Store, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follower, "LOOK_SECONDS", 0.01)
    scans: list[UUID] = []
    runs: dict[UUID, RunState | Exception] = {}
    for kind in ("CRASHED", "CANCELLED"):
        task = uuid4()
        with opened.write() as session:
            asked = admit(settings, target="127.0.0.1", policy="quick", comment="", origin="api")
            scans.append(begin(session, insert_scan(session, asked)[0].id, task).id)
        runs[task] = RunState(task, kind, kind.title(), "gone", has_started=True, ended_at=None)
    left = settings.work_dir / str(scans[0])
    left.mkdir(parents=True)
    changes: list[int] = []
    following = asyncio.create_task(
        Follower(
            opened, Prefect(runs), settings.work_dir, Spool(settings.spool_dir), on_change=lambda: changes.append(1)
        ).run()
    )
    try:
        async with asyncio.timeout(10):
            while len(changes) < 2:
                await asyncio.sleep(0.01)
    finally:
        following.cancel()
    with opened.read() as session:
        ended = [scan_by_id(session, scan_id) for scan_id in scans]
    assert [(scan.status, scan.error) for scan in ended] == [("RETRY", None), ("REVOKED", None)]
    assert not left.exists()
