"""Scans that are cancelled, lost, stopped, closed out of their window: on the real platform, with real kills."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select

from footprint.admission import NewScan
from footprint.policy import PRESETS
from footprint.records import Network
from footprint.store import Store, open_store
from footprint.store.scans import attach, insert_scan
from footprint.store.tables import ModuleRun
from footprint.windows import TimeWindow
from tests.e2e.conftest import Running, Scan
from tests.estate.listeners import SILENT, SSH, Listeners, Place
from tests.processes import marked, wait_until_gone, wait_until_there

pytestmark = pytest.mark.platform


@contextmanager
def _store(platform: Running) -> Iterator[Store]:
    opened = open_store(platform.settings.store_url)
    yield opened
    opened.close()


def _slow_scan(platform: Running, target: str) -> Scan:
    """A scan of a silent service, which nmap asks for over a minute. Returned when it does, and not before."""
    scan, until = platform.ask(target), time.monotonic() + 60
    while ("nmap", 2, "running") not in _units(platform, scan):
        assert time.monotonic() < until, _units(platform, scan)
        time.sleep(0.1)
    wait_until_there(UUID(scan["id"]), count=3)
    return scan


def _await_status(platform: Running, scan: Scan, wanted: str, seconds: float) -> Scan:
    until = time.monotonic() + seconds
    while (now := platform.read(scan))["status"] != wanted:
        assert time.monotonic() < until, now
        time.sleep(0.05)
    return now


def _parent(pid: int) -> int:
    return int((Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[1])


def _flow_of(scan: Scan) -> int:
    """The process that started the scan's tools: the nearest ancestor of them without the scan's mark."""
    tools = marked(UUID(scan["id"]))
    (flow,) = {_parent(pid) for pid in tools} - tools
    return flow


def _worker_of(flow: int) -> int:
    """The worker: the parent of the process that flows are forked from."""
    return _parent(_parent(flow))


def _act(platform: Running, scan: Scan, verb: str, **body: Any) -> tuple[int, Scan]:
    answer = platform.api.post(f"/api/scans/{scan['id']}/{verb}/", json=body or None)
    return answer.status_code, answer.json()


def _units(platform: Running, scan: Scan) -> list[tuple[str, int, str]]:
    wanted = select(ModuleRun.module, ModuleRun.batch, ModuleRun.status).where(ModuleRun.scan_id == UUID(scan["id"]))
    with _store(platform) as store, store.read() as session:
        return [(module, batch, status) for module, batch, status in session.execute(wanted.order_by(ModuleRun.id))]


def test_a_cancel_ends_every_process_within_seconds_and_leaves_a_receipt(platform: Running) -> None:
    with Listeners([Place("127.0.76.1", 2001, SILENT)]):
        scan = _slow_scan(platform, "127.0.76.1")
        assert _act(platform, scan, "cancel")[0] == 202
        ended = _await_status(platform, scan, "REVOKED", 5)
        assert marked(UUID(scan["id"])) == set()
    assert ended["processes_ended"] >= 3
    assert scan["created_at"] < ended["cancelled_at"] <= ended["processes_gone_at"] <= ended["finished_at"]
    assert ended["counts"]["hosts"] == 1, "what was found stays"
    assert platform.await_state(scan["task_id"], "CANCELLED")["state"]["name"] == "Cancelled"
    assert _act(platform, scan, "cancel")[0] == 409


def test_a_scan_is_revoked_at_once_while_no_worker_has_it(platform: Running) -> None:
    platform.prefect.patch("/work_pools/pulsar", json={"is_paused": True}).raise_for_status()
    try:
        scan = platform.ask("127.0.76.2")
        status, ended = _act(platform, scan, "cancel")
    finally:
        platform.prefect.patch("/work_pools/pulsar", json={"is_paused": False}).raise_for_status()
    assert (status, ended["status"], ended["started_at"], ended["processes_ended"]) == (202, "REVOKED", None, 0)
    platform.await_state(scan["task_id"], "CANCELLED", 10)


def test_a_purge_revokes_what_waits_and_nothing_else(platform: Running) -> None:
    with Listeners([Place("127.0.76.3", 2001, SILENT)]):
        running = _slow_scan(platform, "127.0.76.3")
        platform.prefect.patch("/work_pools/pulsar", json={"is_paused": True}).raise_for_status()
        try:
            waiting = [platform.ask("127.0.76.2") for _ in range(3)]
            answers = [platform.api.post("/api/scans/purge/").json() for _ in range(2)]
        finally:
            platform.prefect.patch("/work_pools/pulsar", json={"is_paused": False}).raise_for_status()
        assert answers == [{"revoked": 3}, {"revoked": 0}]
        assert [platform.read(scan)["status"] for scan in waiting] == ["REVOKED"] * 3
        for scan in waiting:
            platform.await_state(scan["task_id"], "CANCELLED", 10)
        assert platform.read(running)["status"] == "STARTED"
        _act(platform, running, "cancel")
        _await_status(platform, running, "REVOKED", 5)


def test_a_flow_that_is_killed_is_resumed_by_itself_and_its_result_is_whole(platform: Running) -> None:
    with Listeners([Place("127.0.76.4", 2001, SILENT), Place("127.0.76.5", 2001, SSH)]):
        scan = _slow_scan(platform, "127.0.76.4/31")
        os.kill(_flow_of(scan), signal.SIGKILL)
        assert wait_until_gone(UUID(scan["id"]), 5) == set()
        lost = _await_status(platform, scan, "RETRY", 20)
        assert lost["waiting"].startswith("worker lost at 20")
        assert not any(module["running"] for module in lost["modules"])
    with Listeners([Place("127.0.76.4", 2001, SSH), Place("127.0.76.5", 2001, SSH)]) as listeners:
        ended = platform.finish(scan, 90)
    assert (ended["status"], ended["waiting"], ended["error"]) == ("SUCCESS", None, None)
    assert platform.services(scan) == {tuple(there) for there in listeners.truth}
    assert ended["counts"]["services"] == 2
    run = platform.await_state(scan["task_id"], "COMPLETED")
    assert run["run_count"] == 2
    assert {status for module, _, status in _units(platform, scan) if module == "nmap"} == {"done"}


def test_a_worker_that_is_stopped_gives_its_scan_back(platform: Running) -> None:
    with Listeners([Place("127.0.76.6", 2001, SILENT)]):
        scan = _slow_scan(platform, "127.0.76.6")
        os.kill(_worker_of(_flow_of(scan)), signal.SIGTERM)
        assert wait_until_gone(UUID(scan["id"]), 15) == set()
        lost = _await_status(platform, scan, "RETRY", 20)
        assert lost["waiting"] == "its worker was stopped"
    with Listeners([Place("127.0.76.6", 2001, SSH)]) as listeners:
        ended = platform.finish(scan, 120)
    assert ended["status"] == "SUCCESS", ended
    assert platform.services(scan) == {tuple(there) for there in listeners.truth}


def test_a_flow_and_its_worker_that_are_killed_are_missed_and_the_scan_goes_on(platform: Running) -> None:
    with Listeners([Place("127.0.76.7", 2001, SILENT)]):
        scan = _slow_scan(platform, "127.0.76.7")
        flow = _flow_of(scan)
        os.kill(_worker_of(flow), signal.SIGKILL)
        os.kill(flow, signal.SIGKILL)
        assert wait_until_gone(UUID(scan["id"]), 5) == set()
        _await_status(platform, scan, "RETRY", 90)
    with Listeners([Place("127.0.76.7", 2001, SSH)]) as listeners:
        ended = platform.finish(scan, 90)
    assert ended["status"] == "SUCCESS", ended
    assert platform.services(scan) == {tuple(there) for there in listeners.truth}


def test_a_cancelled_scan_is_resumed_as_a_new_one_with_what_it_had_found(platform: Running) -> None:
    with Listeners([Place("127.0.76.8", 2001, SILENT)]):
        scan = _slow_scan(platform, "127.0.76.8")
        assert _act(platform, scan, "resume")[0] == 409
        _act(platform, scan, "cancel")
        _await_status(platform, scan, "REVOKED", 5)
    with Listeners([Place("127.0.76.8", 2001, SSH)]) as listeners:
        status, new = _act(platform, scan, "resume")
        assert (status, new["resumed_from"], new["status"]) == (201, scan["id"], "PENDING")
        ended = platform.finish(new, 60)
    assert ended["status"] == "SUCCESS"
    assert platform.services(new) == {tuple(there) for there in listeners.truth}
    assert platform.read(scan)["status"] == "REVOKED"
    with _store(platform) as store, store.read() as session:
        attempts = select(ModuleRun.attempt).where(ModuleRun.scan_id == UUID(new["id"]), ModuleRun.module == "nmap")
        taken = session.scalars(attempts.order_by(ModuleRun.batch)).all()
    assert taken == [0, 1], "its first unit was taken over, not done again"
    assert _act(platform, new, "resume", module="nmap")[0] == 409
    assert platform.api.delete(f"/api/scans/{scan['id']}/").status_code == 204
    assert platform.api.get(f"/api/scans/{scan['id']}/").status_code == 404


def test_a_window_that_closes_lets_units_end_and_the_next_one_finishes_the_scan(platform: Running) -> None:
    places = [Place(address, 2001, SSH) for address in ("127.0.80.1", "127.0.81.1", "127.0.83.200")]
    with Listeners(places) as listeners:
        undisturbed = platform.finish(_ask_within(platform), 120)
        begun, ended = (datetime.fromisoformat(undisturbed[name]) for name in ("started_at", "finished_at"))
        half = (begun - datetime.fromisoformat(undisturbed["created_at"])) + (ended - begun) / 2
        present, gap = datetime.now(UTC), timedelta(seconds=6)
        first = TimeWindow(start=(present - timedelta(minutes=5)).time(), duration=timedelta(minutes=5) + half)
        second = TimeWindow(start=(present + half + gap).time(), duration=timedelta(hours=1))
        scan = _ask_within(platform, first, second)
        waiting = _await_status(platform, scan, "RETRY", 60)
        units = _units(platform, scan)
        assert waiting["waiting"].startswith("window opens at ")
        assert {status for _, _, status in units} == {"done"}
        assert 0 < len(units) < len(_units(platform, undisturbed))
        assert marked(UUID(scan["id"])) == set()
        ended = platform.finish(scan, 120)
    assert (ended["status"], ended["waiting"], ended["counts"]) == ("SUCCESS", None, undisturbed["counts"])
    assert platform.services(scan) == platform.services(undisturbed) == {tuple(there) for there in listeners.truth}
    assert platform.prefect.get(f"/flow_runs/{scan['task_id']}").json()["run_count"] == 2


def test_a_scan_from_prefect_outside_of_its_window_waits_without_having_begun(platform: Running) -> None:
    opens = datetime.now(UTC) + timedelta(seconds=12)
    scan = _ask_within(platform, TimeWindow(start=opens.time(), duration=timedelta(hours=1)), target="127.0.80.0/30")
    until = time.monotonic() + 10
    # A run that was just made is scheduled too: what counts is that the flow put the scan back.
    while not (waiting := platform.read(scan))["waiting"]:
        assert time.monotonic() < until, waiting
        time.sleep(0.05)
    state = platform.await_state(scan["task_id"], "SCHEDULED", 5)["state"]
    assert (waiting["status"], waiting["started_at"]) == ("PENDING", None)
    assert waiting["waiting"].startswith("window opens at ")
    ended = platform.finish(scan, 60)
    assert ended["status"] == "SUCCESS", state
    assert platform.prefect.get(f"/flow_runs/{scan['task_id']}").json()["run_count"] == 2, "it never gave itself back"
    assert datetime.fromisoformat(ended["started_at"]) >= opens


def _ask_within(platform: Running, *windows: TimeWindow, target: str = "127.0.80.0/22") -> Scan:
    """A sweep of many short units, one after another, within these windows. Its run is made as Prefect's UI does."""
    changed = {"modules": {"nmap_discovery": {}, "nmap": {}}, "windows": windows, "concurrency": 1, "ports": "2001"}
    policy = PRESETS["network_sweep"].model_copy(update=changed)
    with _store(platform) as store:
        with store.write() as session:
            row, _ = insert_scan(session, NewScan(Network(target), policy, "", "api"))
        deployment = platform.prefect.get("/deployments/name/dispatch_scan/pulsar").raise_for_status().json()["id"]
        url, body = f"/deployments/{deployment}/create_flow_run", {"parameters": {"scan_id": str(row.id)}}
        run = platform.prefect.post(url, json=body).raise_for_status().json()
        with store.write() as session:
            assert attach(session, row.id, UUID(run["id"]))
    return {"id": str(row.id), "task_id": run["id"]}
