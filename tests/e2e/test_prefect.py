"""What Prefect's own users do: run from the UI, schedule, cancel; and what happens when a flow is killed."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from tests.e2e.conftest import Running, Scan
from tests.estate.listeners import HTTP, SILENT, SSH, Listeners, Place
from tests.processes import wait_until_gone, wait_until_there

pytestmark = pytest.mark.platform

DEPLOYMENT = "/deployments/name/dispatch_scan/pulsar"


def _deployment(platform: Running) -> dict[str, Any]:
    found: dict[str, Any] = platform.prefect.get(DEPLOYMENT).raise_for_status().json()
    return found


def _run(platform: Running, **parameters: str) -> dict[str, Any]:
    """Create a run of the deployment, as the UI does."""
    url = f"/deployments/{_deployment(platform)['id']}/create_flow_run"
    made: dict[str, Any] = platform.prefect.post(url, json={"parameters": parameters}).raise_for_status().json()
    return made


def _slow_scan(platform: Running, address: str) -> Scan:
    """A scan that takes over a minute: a silent service keeps nmap asking. Returned when its tool runs."""
    scan = platform.ask(address, "full_discovery")
    platform.await_units(scan)
    wait_until_there(UUID(scan["id"]), count=3)
    return scan


def test_a_run_started_in_prefect_is_a_scan_like_any_other(platform: Running) -> None:
    with Listeners([Place("127.0.75.1", 2001, SSH)]) as listeners:
        run = _run(platform, target="127.0.75.1", policy="quick", comment="from the UI")
        platform.await_state(run["id"], "COMPLETED")
        listed = platform.api.get("/api/scans/", params={"target": "127.0.75.1"}).json()["results"]
        assert [(scan["task_id"], scan["status"], scan["comment"]) for scan in listed] == [
            (run["id"], "SUCCESS", "from the UI")
        ]
        assert platform.services(listed[0]) == {tuple(there) for there in listeners.truth}


@pytest.mark.parametrize("parameters", [{"target": "-iL"}, {"target": "8.8.8.8", "policy": "none"}, {}])
def test_a_run_that_may_not_be_carried_out_fails_and_is_no_scan(platform: Running, parameters: dict[str, str]) -> None:
    before = platform.api.get("/api/scans/").json()["count"]
    platform.await_state(_run(platform, **parameters)["id"], "FAILED")
    assert platform.api.get("/api/scans/").json()["count"] == before


def test_a_schedule_of_the_deployment_creates_runs(platform: Running) -> None:
    deployment = _deployment(platform)["id"]
    schedule = {"schedule": {"cron": "0 3 * * *", "timezone": "Europe/Berlin"}, "parameters": {"target": "127.0.75.2"}}
    url = f"/deployments/{deployment}/schedules"
    (made,) = platform.prefect.post(url, json=[schedule]).raise_for_status().json()
    try:
        wanted = {
            "flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}},
            "deployments": {"id": {"any_": [deployment]}},
        }
        until = time.monotonic() + 30
        while not (runs := platform.prefect.post("/flow_runs/filter", json=wanted).json()):
            assert time.monotonic() < until, "the schedule creates no run"
            time.sleep(0.5)
        assert all(run["auto_scheduled"] for run in runs)
        assert runs[0]["parameters"]["target"] == "127.0.75.2"
    finally:
        platform.prefect.delete(f"{url}/{made['id']}").raise_for_status()


def test_a_cancel_in_prefect_revokes_the_scan_and_leaves_no_process(platform: Running) -> None:
    with Listeners([Place("127.0.75.3", 2001, SILENT)]):
        scan = _slow_scan(platform, "127.0.75.3")
        body = {"state": {"type": "CANCELLING", "name": "Cancelling"}}
        platform.prefect.post(f"/flow_runs/{scan['task_id']}/set_state", json=body).raise_for_status()
        assert wait_until_gone(UUID(scan["id"]), 5) == set()
        assert platform.finish(scan, 15)["status"] == "REVOKED"
        assert platform.await_state(scan["task_id"], "CANCELLED")["state"]["name"] == "Cancelled"


def test_a_scan_cancelled_before_it_began_is_revoked(platform: Running) -> None:
    platform.prefect.patch("/work_pools/pulsar", json={"is_paused": True}).raise_for_status()
    try:
        scan = platform.ask("127.0.75.4")
        body = {"state": {"type": "CANCELLING", "name": "Cancelling"}}
        platform.prefect.post(f"/flow_runs/{scan['task_id']}/set_state", json=body).raise_for_status()
        ended = platform.finish(scan, 15)
    finally:
        platform.prefect.patch("/work_pools/pulsar", json={"is_paused": False}).raise_for_status()
    assert (ended["status"], ended["started_at"]) == ("REVOKED", None)


def test_a_scans_progress_and_findings_are_to_be_seen_in_prefect(platform: Running) -> None:
    with Listeners([Place("127.0.75.7", 2001, SSH), Place("127.0.75.7", 8008, HTTP)]):
        scan = platform.finish(platform.ask("127.0.75.7"))
    platform.await_state(scan["task_id"], "COMPLETED")
    wanted = {"artifacts": {"flow_run_id": {"any_": [scan["task_id"]]}}}
    found = {
        made["key"].partition("-")[0]: made for made in platform.prefect.post("/artifacts/filter", json=wanted).json()
    }
    assert float(found["progress"]["data"]) == 100
    assert "OpenSSH" in str(found["services"]["data"])
    assert found["verdict"]["data"].startswith("# SUCCESS\n\n127.0.75.7, policy quick: 2 services")
    assert found["services"]["key"] == f"services-{scan['id'][:8]}"


def test_a_second_worker_on_the_pool_shares_the_scans(platform: Running) -> None:
    home = platform.settings.home
    environment = {
        **os.environ,
        "PULSAR_HOME": str(home),
        "PULSAR_SCOPE_ALLOW": "127.0.0.0/8",
        "PULSAR_PREFECT_PORT": str(platform.settings.prefect_port),
    }
    environment.pop("PREFECT_API_URL", None)
    command = [Path(sys.executable).with_name("pulsar"), "worker", "--name", "second"]
    with (home / "second.log").open("wb") as log:
        second = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        until = time.monotonic() + 60
        while "second" not in platform.api.get("/api/health/").text:
            assert time.monotonic() < until, (home / "second.log").read_text()
            time.sleep(0.5)
        for _ in range(10):
            scans = [platform.ask("127.0.75.6", "network_sweep") for _ in range(4)]
            assert {platform.finish(scan)["status"] for scan in scans} == {"SUCCESS"}
            if "submitted to infrastructure" in (home / "second.log").read_text():
                break
        assert "submitted to infrastructure" in (home / "second.log").read_text()
    finally:
        second.terminate()
        second.wait(30)
