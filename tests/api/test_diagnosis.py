"""`explain` and `logs`: while Prefect is away, and with a Prefect that says what the test says."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from fastapi.testclient import TestClient
from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings

from api.diagnosis import Diagnosis, Wanted
from api.follower import Follower
from api.prefect import PrefectGateway
from footprint.admission import admit
from footprint.errors import NotFound
from footprint.journal import MOST_LINES, Said
from footprint.platform_facts import PoolSeen, QueueSeen, RunSeen, WorkerSeen
from footprint.records import Host
from footprint.settings import Settings
from footprint.spool import Spool
from footprint.states import Status
from footprint.store import Store
from footprint.store.endings import finish
from footprint.store.scans import attach, begin, insert_scan
from footprint.store.units import Settlement, Unit, begin_unit, plan_unit, settle_unit
from footprint.verdict import UnitStatus, Verdict

CRASHED = Settlement(
    UnitStatus.FAILED,
    error_code="tool_crashed",
    error="nmap: it crashed",
    hint="look there",
    stderr="one\n\ntwo \x1b[2J",
)


def _asked(store: Store, settings: Settings) -> UUID:
    with store.write() as session:
        new = admit(settings, target="127.0.0.1", policy="quick", comment="", origin="api")
        scan_id = insert_scan(session, new)[0].id
        attach(session, scan_id, uuid4())
        return scan_id


def _crashed(store: Store, settings: Settings) -> tuple[UUID, UUID]:
    """A scan that runs, and whose one unit crashed; its id and its run's."""
    task_id = uuid4()
    with store.write() as session:
        new = admit(settings, target="127.0.0.1", policy="quick", comment="", origin="api")
        scan = begin(session, insert_scan(session, new)[0].id, task_id)
        unit = plan_unit(session, scan.id, scan.attempt, Unit("nmap", 1, 0, (Host("127.0.0.1"),)))
        begin_unit(session, scan.id, scan.attempt, "nmap", 1)
        settle_unit(session, scan.id, scan.attempt, unit, CRASHED)
    return scan.id, task_id


def test_while_prefect_is_away_that_is_the_reason(client: TestClient, opened: Store, settings: Settings) -> None:
    found = client.get(f"/api/scans/{_asked(opened, settings)}/explain/").json()
    assert found["status"] == "PENDING"
    assert [cause["code"] for cause in found["causes"]] == ["prefect_away"]
    assert "pulsar up" in found["causes"][0]["remedy"]
    assert found["explanation"].startswith("The scan of 127.0.0.1 has waited for ")


def test_an_ended_scan_is_explained_without_prefect(client: TestClient, opened: Store, settings: Settings) -> None:
    scan_id, _ = _crashed(opened, settings)
    with opened.write() as session:
        finish(session, scan_id, Verdict(Status.FAILURE, error="nmap: it crashed (look there)"), "Failed")
    found = client.get(f"/api/scans/{scan_id}/explain/").json()
    assert [(cause["code"], cause["remedy"]) for cause in found["causes"]] == [
        ("failure", ""),
        ("module_failed", "look there"),
    ]


def test_while_prefect_is_away_the_log_is_what_the_units_tell(
    client: TestClient, opened: Store, settings: Settings
) -> None:
    scan_id, _ = _crashed(opened, settings)
    page = client.get(f"/api/scans/{scan_id}/logs/").json()
    assert (page["count"], page["next"]) == (2, None)
    assert [(line["level"], line["module"], line["batch"]) for line in page["results"]] == [
        ("info", "nmap", 1),
        ("warning", "nmap", 1),
    ]
    assert page["results"][1]["stderr"] == ["one", "two [2J"]
    assert {line["source"] for line in page["results"]} == {"store"}
    address = f"/api/scans/{scan_id}/logs/"
    assert client.get(address, params={"level": "warning"}).json()["count"] == 1
    assert client.get(address, params={"module": "tls"}).json()["count"] == 0
    later = datetime.now(UTC) + timedelta(seconds=5)
    assert client.get(address, params={"after": later.isoformat()}).json()["count"] == 0
    second = client.get(address, params={"page": 2, "page_size": 1}).json()
    assert [line["level"] for line in second["results"]] == ["warning"]
    assert second["previous"]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("8c0f2f4e-6d3b-4b5a-9a53-5f0c1d2e3a4b/explain/", 404),
        ("8c0f2f4e-6d3b-4b5a-9a53-5f0c1d2e3a4b/logs/", 404),
        ("1/explain/", 404),
        ("{id}/logs/?level=loud", 422),
        ("{id}/logs/?module=A B", 422),
        ("{id}/logs/?after=2026-01-01T00:00:00", 422),
        ("{id}/logs/?page=2", 404),
    ],
)
def test_what_cannot_be_answered_is_refused(
    client: TestClient, opened: Store, settings: Settings, path: str, status: int
) -> None:
    scan_id = _asked(opened, settings)
    assert client.get(f"/api/scans/{path.format(id=scan_id)}").status_code == status


class Prefect(PrefectGateway):
    """Stands in for Prefect where it must say what a test says."""

    def __init__(self, run: RunSeen | None = None, pool: PoolSeen | None = None, said: Sequence[Said] = ()) -> None:
        self._run, self._pool, self._said = run, pool, list(said)
        self.named: list[UUID] = []
        self.read = 0

    async def run_and_pool(self, run_id: UUID) -> tuple[RunSeen | None, PoolSeen | None, int]:
        """The run and the pool, and two runs before this one."""
        return self._run, self._pool, 2

    async def log(self, run_id: UUID, level: int, after: datetime | None) -> list[Said]:
        """The lines."""
        self.read += 1
        return [line for line in self._said if line.level >= level]

    async def task_names(self, ids: Sequence[UUID]) -> dict[UUID, str]:
        """Every task is called the same."""
        self.named += ids
        return dict.fromkeys(ids, "nmap batch 7")


def _diagnosis(settings: Settings, store: Store, prefect: PrefectGateway) -> Diagnosis:
    follower = Follower(store, prefect, settings.work_dir, Spool(settings.spool_dir), on_change=lambda: None)
    return Diagnosis(settings, store, prefect, follower)


async def test_who_holds_the_places_is_named_by_its_scan(opened: Store, settings: Settings) -> None:
    holder_id, holder_run = _crashed(opened, settings)
    now = datetime.now(UTC)
    facts: dict[str, Any] = {"message": "", "since": now, "due": now, "queue": "default"}
    holder = RunSeen(holder_run, "holder", "RUNNING", "Running", **facts)
    queue = QueueSeen("default", is_paused=False, limit=None, polled_at=now)
    worker = WorkerSeen("box", is_online=True, heard_at=now)
    pool = PoolSeen("pulsar", is_paused=False, limit=1, queues=(queue,), workers=(worker,), held=1, holders=(holder,))
    prefect = Prefect(RunSeen(uuid4(), "own", "SCHEDULED", "Scheduled", **facts), pool)
    found = await _diagnosis(settings, opened, prefect).explain(_asked(opened, settings))
    (cause,) = found.causes
    assert cause.code == "pool_full"
    assert f"held by 127.0.0.1 ({holder_id}); number 3 in the line" in cause.detail


async def test_a_task_that_does_not_name_itself_is_asked_for(opened: Store, settings: Settings) -> None:
    scan_id, _ = _crashed(opened, settings)
    own, other, now = uuid4(), uuid4(), datetime.now(UTC)
    said = [
        Said(uuid4(), now, 20, "nmap batch 1 began: 1 targets", own),
        Said(uuid4(), now, 30, "nmap batch 1 ended failed", own),
        Said(uuid4(), now, 20, "exec nmap", other),
    ]
    prefect = Prefect(said=said)
    entries = await _diagnosis(settings, opened, prefect).log(scan_id, Wanted(), anew=True)
    assert [(entry.batch, entry.stderr) for entry in entries] == [(1, ()), (1, ("one", "two [2J")), (7, ())]
    assert prefect.named == [other]


async def test_a_run_that_prefect_has_forgotten_leaves_what_the_units_tell(opened: Store, settings: Settings) -> None:
    scan_id, _ = _crashed(opened, settings)
    entries = await _diagnosis(settings, opened, Prefect()).log(scan_id, Wanted(module="nmap"), anew=True)
    assert [entry.source for entry in entries] == ["store", "store"]
    with pytest.raises(NotFound):
        await _diagnosis(settings, opened, Prefect()).explain(uuid4())


async def test_turning_the_pages_of_a_log_reads_it_once(opened: Store, settings: Settings) -> None:
    scan_id, _ = _crashed(opened, settings)
    prefect = Prefect(said=[Said(uuid4(), datetime.now(UTC), 20, "began", None)])
    diagnosis = _diagnosis(settings, opened, prefect)
    for _ in range(3):
        assert len(await diagnosis.log(scan_id, Wanted(), anew=False)) == 1
    assert prefect.read == 1
    await diagnosis.log(scan_id, Wanted(), anew=True)
    await diagnosis.log(scan_id, Wanted(module="nmap"), anew=False)
    assert prefect.read == 3


async def test_a_log_that_is_cut_off_says_so(opened: Store, settings: Settings) -> None:
    scan_id, _ = _crashed(opened, settings)
    prefect = Prefect(said=[Said(uuid4(), datetime.now(UTC), 20, "again", None)] * MOST_LINES)
    entries = await _diagnosis(settings, opened, prefect).log(scan_id, Wanted(), anew=True)
    assert len(entries) == MOST_LINES + 1
    assert "after" in entries[-1].message


class _Doorman(BaseHTTPRequestHandler):
    """Answers 401 to everybody."""

    def do_GET(self) -> None:
        """Any GET."""
        self.send_response(401)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_POST = do_GET  # noqa: N815 -- the name is the library's

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 -- the name is the library's
        """Say nothing."""


async def test_a_prefect_that_does_not_take_our_password_is_told_from_one_that_is_away() -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Doorman)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        url = f"http://127.0.0.1:{server.server_port}/api"
        with temporary_settings({PREFECT_API_URL: url, PREFECT_CLIENT_MAX_RETRIES: 0}):
            async with PrefectGateway() as gateway:
                health = await gateway.health()
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert (health.server, health.refused, health.seen) == (False, True, None)
    assert "PREFECT_API_AUTH_STRING" in health.detail


def test_health_says_what_to_do_and_what_was_left(client: TestClient, opened: Store, settings: Settings) -> None:
    Path(settings.work_dir / str(uuid4())).mkdir(parents=True)
    parts = {part["name"]: part for part in client.get("/api/health/").json()["parts"]}
    assert (parts["leftovers"]["status"], bool(parts["leftovers"]["remedy"])) == ("warn", True)
