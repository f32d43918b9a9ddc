"""Schedules from the request to the scan, as the API and Prefect see them; and what becomes of them in Prefect's UI."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest

from deployments.platform import Platform
from footprint.settings import Settings
from tests.conftest import free_port
from tests.e2e.conftest import Running, Scan
from tests.estate.listeners import SILENT, SSH, Listeners, Place
from tests.processes import wait_until_there

pytestmark = pytest.mark.platform

Schedule = dict[str, Any]
SOON = timedelta(seconds=16)
"""More than Prefect's scheduler takes to look at what is new."""


def _until(truth: Callable[[], Any], seconds: float = 60) -> Any:
    until = time.monotonic() + seconds
    while not (found := truth()):
        assert time.monotonic() < until
        time.sleep(0.3)
    return found


def _made(api: httpx.Client, **said: Any) -> Schedule:
    answer = api.post("/api/schedules/", json={"policy": "quick", **said})
    assert answer.status_code == 201, answer.text
    assert answer.headers["Location"].endswith(f"/api/schedules/{answer.json()['id']}/")
    made: Schedule = answer.json()
    return made


def _read(platform: Running, schedule: Schedule) -> Schedule:
    now: Schedule = platform.api.get(f"/api/schedules/{schedule['id']}/").json()
    return now


def _scans(platform: Running, schedule: Schedule) -> list[Scan]:
    found: list[Scan] = platform.api.get("/api/scans/", params={"schedule": schedule["id"]}).json()["results"]
    return found


def _in_prefect(platform: Running, schedule: Schedule) -> list[dict[str, Any]]:
    """Its schedules of the deployment: one, or none."""
    deployment = platform.prefect.get("/deployments/name/dispatch_scan/pulsar").json()
    return [there for there in deployment["schedules"] if (there["slug"] or "").endswith(schedule["id"])]


def _path(platform: Running, schedule: Schedule) -> str:
    deployment = platform.prefect.get("/deployments/name/dispatch_scan/pulsar").json()
    return f"/deployments/{deployment['id']}/schedules/{_in_prefect(platform, schedule)[0]['id']}"


def _due(platform: Running, schedule: Schedule) -> list[datetime]:
    """When the runs that Prefect has made ahead for it are to begin."""
    wanted = {"flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}}}
    runs = platform.prefect.post("/flow_runs/filter", json=wanted).json()
    own = [run for run in runs if run["parameters"].get("schedule_id") == schedule["id"]]
    return sorted(datetime.fromisoformat(run["expected_start_time"]) for run in own)


def test_a_schedule_scans_each_root_and_what_is_done_to_it_in_prefect_is_seen(platform: Running) -> None:
    roots = ["127.0.75.30", "127.0.75.32"]
    asset = platform.api.post("/api/assets/", json={"name": "two roots", "roots": roots}).json()
    anchor = (datetime.now(UTC) + SOON).replace(microsecond=0)
    made = _made(platform.api, asset=asset["id"], interval="PT5M", anchor=anchor.isoformat(), comment="often")
    try:
        (there,) = _in_prefect(platform, made)
        assert (there["id"], there["parameters"]) == (made["prefect_id"], {"schedule_id": made["id"]})
        assert there["slug"] == f"pulsar-asset-{made['id']}"
        with Listeners([Place(root, 2001, SSH) for root in roots]) as listeners:
            _until(lambda: len(_scans(platform, made)) == len(roots))
            scans = [platform.finish(scan) for scan in _scans(platform, made)]
            told = {(scan["target"], scan["status"], scan["schedule"], scan["comment"]) for scan in scans}
            assert told == {(root, "SUCCESS", made["id"], "often") for root in roots}
            found = set.union(*map(platform.services, scans))
            assert found == {tuple(there) for there in listeners.truth}
        (time_due,) = platform.api.get(f"/api/schedules/{made['id']}/runs/").json()["results"]
        assert (time_due["outcome"], set(time_due["scans"])) == ("scanned", {scan["id"] for scan in scans})
        (scan,) = (scan for scan in scans if scan["task_id"] == time_due["task_id"])
        run = platform.prefect.get(f"/flow_runs/{scan['task_id']}").json()
        assert (run["auto_scheduled"], run["created_by"]["id"]) == (True, made["prefect_id"])
        assert run["name"] == f"{scan['target']} quick", "the Prefect UI shows what it scans"
        shown = _read(platform, made)
        assert shown["last_scan"]["id"] in time_due["scans"]
        assert [datetime.fromisoformat(due) for due in shown["next_runs"]] == _due(platform, made)[:5]
        explained = platform.api.get(f"/api/scans/{scan['id']}/explain/").json()
        assert f"for schedule {made['id']} (often)" in explained["explanation"]

        platform.prefect.patch(_path(platform, made), json={"active": False}).raise_for_status()
        paused = _until(lambda: (now := _read(platform, made))["state"] == "paused" and now)
        assert (paused["active"], paused["next_runs"]) == (False, [])
        resumed = platform.api.post(f"/api/schedules/{made['id']}/resume/").json()
        assert (resumed["state"], _in_prefect(platform, made)[0]["active"]) == ("active", True)
        assert _in_prefect(platform, made)[0]["parameters"] == {"schedule_id": made["id"]}
        # Prefect forgets the parameters with each change that does not say them, as its UI does not.
        platform.prefect.patch(_path(platform, made), json={"active": True}).raise_for_status()
        _until(lambda: _in_prefect(platform, made)[0]["parameters"] == {"schedule_id": made["id"]})

        platform.prefect.delete(_path(platform, made)).raise_for_status()
        _until(lambda: _read(platform, made)["state"] == "deleted")
        assert platform.api.post(f"/api/schedules/{made['id']}/resume/").json()["state"] == "active"
        assert _until(lambda: _due(platform, made))
    finally:
        assert platform.api.delete(f"/api/schedules/{made['id']}/").status_code == 204
    assert (_in_prefect(platform, made), _due(platform, made)) == ([], [])
    assert platform.api.get(f"/api/schedules/{made['id']}/").status_code == 404
    assert platform.read(scan)["schedule"] == made["id"]


def test_one_that_is_kept_in_git_is_listed_paused_and_resumed_and_keeps_what_it_says(platform: Running) -> None:
    deployment = platform.prefect.get("/deployments/name/dispatch_scan/pulsar").json()
    path, said = f"/deployments/{deployment['id']}/schedules", {"target": "127.0.75.35", "policy": "quick"}
    cron = {"cron": "0 3 1 1 *", "timezone": "Europe/Berlin"}
    made = platform.prefect.post(path, json=[{"schedule": cron, "active": True, "slug": "yearly", "parameters": said}])
    (there,) = made.raise_for_status().json()

    def listed() -> Schedule | None:
        found = platform.api.get("/api/schedules/").json()["results"]
        return next((one for one in found if one["id"] == there["id"]), None)

    def in_prefect() -> dict[str, Any]:
        schedules = platform.prefect.get("/deployments/name/dispatch_scan/pulsar").json()["schedules"]
        return next(one for one in schedules if one["id"] == there["id"])

    try:
        shown = _until(listed)
        assert said.items() <= shown.items()
        assert (shown["origin"], shown["slug"], shown["state"], shown["cron"]) == (
            "prefect", "yearly", "active", "0 3 1 1 *",
        )  # fmt: skip
        own = f"/api/schedules/{there['id']}/"
        assert platform.api.delete(own).status_code == 409
        for verb, active in (("pause", False), ("resume", True)):
            state = platform.api.post(f"{own}{verb}/").raise_for_status().json()["state"]
            now = in_prefect()
            assert (state == "active", now["active"], now["parameters"], now["schedule"]["cron"]) == (
                active, active, said, "0 3 1 1 *",
            )  # fmt: skip
    finally:
        platform.prefect.delete(f"{path}/{there['id']}").raise_for_status()
    assert _until(lambda: listed() is None)


def test_a_run_waits_in_the_queue_until_the_last_has_ended(platform: Running) -> None:
    made = _made(platform.api, target="127.0.75.31", policy="full_discovery", frequency="DAILY", overlap="queue")
    run = f"/api/schedules/{made['id']}/run/"
    try:
        with Listeners([Place("127.0.75.31", 2001, SILENT)]):
            first = platform.api.post(run).json()
            platform.await_units(first)
            wait_until_there(UUID(first["id"]), count=3)
            second = platform.api.post(run)
            assert (second.status_code, second.headers["Location"].split("/")[-2]) == (201, second.json()["id"])
            queued = _until(lambda: (now := platform.read(second.json()))["waiting"] and now)
            assert (queued["status"], queued["waiting"]) == (
                "PENDING", f"waits for the last run of its schedule: scan {first['id']} has not ended",
            )  # fmt: skip
            explained = platform.api.get(f"/api/scans/{queued['id']}/explain/").json()
            assert explained["causes"][0]["code"] == "queued"
            assert platform.api.post(run).status_code == 409
            platform.api.post(f"/api/scans/{first['id']}/cancel/")
            platform.await_units(queued)
            platform.api.post(f"/api/scans/{queued['id']}/cancel/")
            assert platform.finish(queued, 20)["status"] == "REVOKED"
        runs = platform.api.get(f"/api/schedules/{made['id']}/runs/").json()["results"]
        assert [(one["outcome"], one["scans"]) for one in runs] == [
            ("scanned", [queued["id"]]),
            ("scanned", [first["id"]]),
        ]
    finally:
        platform.api.delete(f"/api/schedules/{made['id']}/").raise_for_status()


def test_schedules_survive_a_restart_of_everything_and_a_new_deployment(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    settings = Settings(
        home=tmp_path_factory.mktemp("restarted"),
        api_port=free_port(),
        prefect_port=free_port(),
        scope_allow=("127.0.0.0/8",),  # type: ignore[arg-type]
    )
    shown: list[Schedule] = []
    for _ in range(2):
        with Platform(settings, on_event=lambda _said: None) as addresses:
            headers = {"Authorization": f"Token {(settings.home / 'token').read_text().strip()}"}
            with httpx.Client(base_url=addresses.api, headers=headers, timeout=30) as api:
                if not shown:
                    _made(api, target="127.0.75.34", cron="0 3 * * *", timezone="Europe/Berlin")
                    _forget_deployment(settings, addresses.prefect_api)
                _until(lambda api=api: not api.get("/api/schedules/").json()["results"][0]["prefect_away"])  # type: ignore[misc]
                time.sleep(6)
                shown.append(api.get("/api/schedules/").json()["results"][0])
    before, after = shown
    assert after == before
    assert (after["state"], len(after["next_runs"])) == ("active", 5)


def _forget_deployment(settings: Settings, prefect_api: str) -> None:
    """Have the next start deploy again."""
    user, _, password = (settings.home / "prefect-auth").read_text().strip().partition(":")
    with httpx.Client(base_url=prefect_api, auth=(user, password), timeout=30) as prefect:
        csrf = prefect.get("/csrf-token", params={"client": "tests"}).json()
        words = {"Prefect-Csrf-Client": "tests", "Prefect-Csrf-Token": csrf["token"]}
        prefect.delete("/variables/name/pulsar_deployed", headers=words).raise_for_status()
