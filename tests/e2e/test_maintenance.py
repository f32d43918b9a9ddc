"""Each maintenance deployment, run once on the real platform as its schedule would, and what it did."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import update

from deployments.prefect_server import WATCH
from footprint.store import open_store
from footprint.store.tables import Scan as ScanRow
from tests.e2e.conftest import Running, Scan
from tests.estate.listeners import SSH, Listeners, Place

pytestmark = pytest.mark.platform

CHORES = ("cleanup", "reconcile", "refresh_feeds", "check_tools", "backup")


def _deployment(platform: Running, name: str) -> dict[str, Any]:
    found: dict[str, Any] = platform.prefect.get(f"/deployments/name/{name}/{name}").raise_for_status().json()
    return found


def _run(platform: Running, name: str, **parameters: Any) -> str:
    url = f"/deployments/{_deployment(platform, name)['id']}/create_flow_run"
    return str(platform.prefect.post(url, json={"parameters": parameters}).raise_for_status().json()["id"])


def _said(platform: Running, run: str) -> str:
    return str(platform.await_state(run, "COMPLETED")["state"]["message"])


def _lines(platform: Running, run: str, wanted: str, seconds: float = 20) -> list[str]:
    """What a run said, once the line that is wanted has arrived."""
    until, lines = time.monotonic() + seconds, list[str]()
    body = {"logs": {"flow_run_id": {"any_": [run]}}, "limit": 200}
    while not any(line.startswith(wanted) for line in lines):
        assert time.monotonic() < until, lines
        lines = [line["message"] for line in platform.prefect.post("/logs/filter", json=body).json()]
        time.sleep(0.2)
    return lines


def _aged(platform: Running, scans: list[Scan]) -> None:
    """Have scans been a year and more ago."""
    store = open_store(platform.settings.store_url)
    try:
        with store.write() as session:
            for scan in scans:
                row = session.get_one(ScanRow, UUID(scan["id"]))
                at = row.created_at - timedelta(days=400)
                session.execute(update(ScanRow).where(ScanRow.id == row.id).values(created_at=at, finished_at=at))
    finally:
        store.close()


def test_the_chores_are_scheduled_and_have_places_of_their_own(platform: Running) -> None:
    for name in CHORES:
        deployment = _deployment(platform, name)
        assert [schedule["active"] for schedule in deployment["schedules"]] == [True]
        assert deployment["work_queue_name"] == "maintenance"
        assert deployment["concurrency_options"]["collision_strategy"] == "CANCEL_NEW"
    crons = [_deployment(platform, name)["schedules"][0]["schedule"]["cron"] for name in CHORES]
    assert len({cron.split()[0] for cron in crons}) == len(CHORES)
    queues = platform.prefect.post("/work_pools/pulsar/queues/filter", json={}).raise_for_status().json()
    assert {queue["name"]: queue["concurrency_limit"] for queue in queues} == {"default": 4, "maintenance": 2}
    wanted = {"automations": {"name": {"any_": [WATCH]}}}
    (watch,) = platform.prefect.post("/automations/filter", json=wanted).raise_for_status().json()
    assert (watch["enabled"], watch["trigger"]["after"]) == (True, ["prefect.flow-run.heartbeat"])
    assert watch["actions"][0]["state"] == "CRASHED"


def test_cleanup_says_what_it_would_delete_and_then_deletes_that(platform: Running) -> None:
    with Listeners([Place("127.0.77.1", 2001, SSH)]) as listeners:
        asked = [platform.ask("127.0.77.1", {"modules": {"nmap": {}}, "ports": "2001"}) for _ in range(3)]
        scans = [platform.finish(scan) for scan in asked]
        assert platform.services(scans[2]) == {tuple(there) for there in listeners.truth}
    old, last = scans[:2], scans[2]
    platform.await_state(old[1]["task_id"], "COMPLETED")
    asset = f"/api/assets/{last['asset']}/services/"
    inventory = platform.api.get(asset).json()
    before = platform.api.get("/api/scans/").json()["count"]
    _aged(platform, scans)
    said = _said(platform, dry := _run(platform, "cleanup", dry_run=True))
    assert said.startswith("Would delete scans: 2; ")
    told = [line for line in _lines(platform, dry, "would delete scans:") if line.startswith("would delete scan ")]
    assert sorted(line.split()[3] for line in told) == sorted(scan["id"] for scan in old)
    assert platform.api.get("/api/scans/").json()["count"] == before
    assert _said(platform, _run(platform, "cleanup")).startswith("deleted scans: 2; leftovers: 0; runs in Prefect: 2;")
    assert [platform.api.get(f"/api/scans/{scan['id']}/").status_code for scan in scans] == [404, 404, 200]
    assert [platform.prefect.get(f"/flow_runs/{scan['task_id']}").status_code for scan in scans] == [404, 404, 200]
    wanted = {"artifacts": {"flow_run_id": {"any_": [scan["task_id"] for scan in old]}}}
    assert platform.prefect.post("/artifacts/filter", json=wanted).json() == []
    assert platform.api.get(asset).json() == inventory


def test_the_other_chores_are_done_and_are_no_scans(platform: Running) -> None:
    before = platform.api.get("/api/scans/").json()["count"]
    runs = {name: _run(platform, name) for name in CHORES if name != "cleanup"}
    said = {name: _said(platform, run) for name, run in runs.items()}
    assert said["reconcile"].startswith("scans: 0, runs: 0")
    assert said["refresh_feeds"].startswith("Nothing was asked")
    assert "changed: 0" in said["check_tools"]
    copy = platform.settings.home / "backups" / said["backup"].partition(",")[0]
    assert copy.stat().st_mode & 0o777 == 0o600
    assert platform.api.get("/api/scans/").json()["count"] == before
    parts = {part["name"]: part for part in platform.api.get("/api/health/").json()["parts"]}
    assert copy.name in parts["backup"]["detail"]
    assert (parts["quarantine"]["status"], parts["backup"]["status"]) == ("ok", "ok")
