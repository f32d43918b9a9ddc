"""Scans by real tools of real listeners, through REST, Prefect, worker, flow, tasks, store, and REST again."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select

from footprint.store import open_store
from footprint.store.tables import ModuleRun
from tests.e2e.conftest import Running, Scan
from tests.estate.listeners import FTP, HTTP, SSH, Listeners, Place, test_range
from tests.estate.name_server import NameServer
from tests.processes import marked

pytestmark = pytest.mark.platform


def test_a_host_is_scanned_and_its_listeners_are_found_with_product_and_version(platform: Running) -> None:
    places = [Place("127.0.71.1", 2001, SSH), Place("127.0.71.1", 8008, HTTP), Place("127.0.71.1", 40123, FTP)]
    with Listeners(places) as listeners:
        asked = platform.ask("127.0.71.1", "full_discovery")
        scan = platform.finish(asked)
    assert (asked["status"], asked["progress"], asked["started_at"]) == ("PENDING", 0, None)
    assert (scan["status"], scan["progress"], scan["error"]) == ("SUCCESS", 100, None)
    assert scan["created_at"] <= scan["started_at"] <= scan["finished_at"]
    found = {seen for seen in platform.services(scan) if seen[1] in (2001, 8008, 40123)}
    assert found == {tuple(there) for there in listeners.truth}
    hosts = platform.api.get(f"/api/scans/{scan['id']}/hosts/").json()["results"]
    assert [host["address"] for host in hosts] == ["127.0.71.1"]
    assert marked(UUID(scan["id"])) == set()


def test_a_scan_of_this_machine_leaves_out_the_port_that_its_worker_opened_for_it(platform: Running) -> None:
    scan = platform.finish(platform.ask("127.0.0.1", "network_sweep"))
    store = open_store(platform.settings.store_url)
    with store.read() as session:
        commands = session.scalars(select(ModuleRun.command).where(ModuleRun.scan_id == UUID(scan["id"]))).all()
    store.close()
    assert commands
    assert all("--exclude-ports" in command for command in commands)


def test_its_task_id_is_the_prefect_run_and_its_tasks_are_named_by_module_and_batch(platform: Running) -> None:
    with Listeners([Place("127.0.71.2", 2001, SSH)]):
        scan = platform.finish(platform.ask("127.0.71.2"))
    run = platform.await_state(scan["task_id"], "COMPLETED")
    assert run["name"] == "127.0.71.2 quick"
    assert run["parameters"] == {"scan_id": scan["id"]}
    wanted = {"flow_runs": {"id": {"any_": [scan["task_id"]]}}}
    until = time.monotonic() + 30
    there = set(_names_of_units(scan))
    assert {"nmap batch 1", "nmap batch 2", "ssh_audit batch 1"} <= there
    while {task["name"] for task in platform.prefect.post("/task_runs/filter", json=wanted).json()} != there:
        assert time.monotonic() < until, "Prefect does not show the task runs"
        time.sleep(0.5)


def test_sixty_four_hosts_are_found_complete_and_units_run_side_by_side(platform: Running) -> None:
    with test_range(64, "127.0.72.0") as listeners:
        scan = platform.ask("127.0.72.0/26")
        most = 0
        while (now := platform.read(scan))["status"] not in ("SUCCESS", "FAILURE"):
            most = max([most, *(module["running"] for module in now["modules"])])
            time.sleep(0.1)
    assert platform.services(scan) == {tuple(there) for there in listeners.truth}
    counts = now["counts"]
    assert (counts["domains"], counts["hosts"], counts["services"], counts["web_pages"]) == (0, 64, 192, 64)
    assert most > 1


def test_one_after_another_finds_the_same_as_side_by_side(platform: Running) -> None:
    with test_range(3, "127.0.73.0", {2001: SSH, 8008: HTTP}) as listeners:
        scans = [platform.finish(platform.ask("127.0.73.0/30", _at_once(units)), seconds=240) for units in (1, 8)]
    for scan in scans:
        assert scan["status"] == "SUCCESS", scan
        assert platform.services(scan) == {tuple(there) for there in listeners.truth}
        assert (scan["counts"], _findings(platform, scan)) == (scans[0]["counts"], _findings(platform, scans[0]))
    alone, side_by_side = (_task_runs(platform, scan) for scan in scans)
    assert all(one["end_time"] <= another["start_time"] for one, another in pairwise(alone)), alone
    order = list(_at_once(1)["modules"])
    assert [run["name"] for run in alone] == sorted(
        _names_of_units(scans[0]), key=lambda unit: order.index(unit.split()[0])
    )
    assert any(one["end_time"] > another["start_time"] for one, another in pairwise(side_by_side)), side_by_side


def _at_once(units: int) -> dict[str, Any]:
    modules = {"nmap_discovery": {}, "nmap": {"version_intensity": 2}, "ssh_audit": {}, "http_probe": {}}
    return {"modules": modules, "concurrency": units, "ports": "2001,8008"}


def _names_of_units(scan: Scan) -> list[str]:
    return [f"{module['name']} batch {number + 1}" for module in scan["modules"] for number in range(module["units"])]


def _findings(platform: Running, scan: Scan) -> set[tuple[str, str]]:
    found = platform.api.get(f"/api/scans/{scan['id']}/findings/?page_size=100").json()["results"]
    return {(finding["rule"], finding["subject"]) for finding in found}


def _task_runs(platform: Running, scan: Scan) -> list[dict[str, Any]]:
    """The scan's units as Prefect shows them, in the order in which they began."""
    wanted = {"flow_runs": {"id": {"any_": [scan["task_id"]]}}}
    units, until = len(_names_of_units(scan)), time.monotonic() + 60
    while True:
        shown: list[dict[str, Any]] = platform.prefect.post("/task_runs/filter", json=wanted).json()
        if len(shown) == units and all(run["end_time"] for run in shown):
            return sorted(shown, key=lambda run: run["start_time"])
        assert time.monotonic() < until, "Prefect does not show the task runs"
        time.sleep(0.5)


def test_a_domain_leads_to_its_hosts_and_not_to_those_behind_foreign_aliases(
    platform: Running, names: NameServer
) -> None:
    with Listeners([Place("127.0.70.1", 2001, SSH), Place("127.0.70.9", 2001, SSH)]):
        own = platform.finish(platform.ask("www.example.test"))
        foreign = platform.finish(platform.ask("cdn.example.test"))
    assert (own["status"], foreign["status"]) == ("FAILURE", "FAILURE")
    assert "example.test: not touched: outside of the scope" in own["error"]
    assert {(host, port) for host, port, _, _ in platform.services(own)} == set()
    assert foreign["counts"]["hosts"] == 1
    assert platform.services(foreign) == set()
    assert any("127.0.70.9: not touched" in said for said in [foreign["error"], *foreign["warnings"]])
    assert names.questions("cdn.example.test")


def test_names_of_the_domain_are_recorded_with_their_aliases(platform: Running) -> None:
    with Listeners([Place("127.0.70.1", 2001, SSH)]) as listeners:
        scan = platform.finish(platform.ask("example.test"))
    domains = platform.api.get(f"/api/scans/{scan['id']}/domains/").json()["results"]
    hosts = platform.api.get(f"/api/scans/{scan['id']}/hosts/").json()["results"]
    assert [domain["name"] for domain in domains] == ["example.test"]
    assert [(host["address"], host["names"]) for host in hosts] == [("127.0.70.1", ["example.test"])]
    assert platform.services(scan) == {tuple(there) for there in listeners.truth}


@pytest.mark.parametrize(
    ("target", "said"),
    [("nothing.example.test", "does not exist"), ("inside.example.test", "10.1.2.3: not touched: special-purpose")],
)
def test_what_cannot_be_looked_at_is_said(platform: Running, target: str, said: str) -> None:
    scan = platform.finish(platform.ask(target))
    assert said in " ".join([scan["error"] or "", *scan["warnings"]])
    assert scan["status"] == "FAILURE"


def test_an_excluded_host_of_a_network_is_left_alone(platform: Running) -> None:
    with test_range(4, "127.0.98.252", {2001: SSH}), Listeners([Place("127.0.99.1", 2001, SSH)]):
        scan = platform.finish(platform.ask("127.0.98.0/23", "network_sweep"), seconds=240)
    hosts = {host for host, _, _, _ in platform.services(scan)}
    assert not {host for host in hosts if host.startswith("127.0.99.")}


def test_a_host_with_nothing_open_is_a_success_that_found_nothing(platform: Running) -> None:
    scan = platform.finish(platform.ask("127.0.74.1"))
    assert (scan["status"], scan["counts"]["services"], scan["error"]) == ("SUCCESS", 0, None)


def test_ipv6_is_refused_here_as_nothing_of_it_is_allowed(platform: Running) -> None:
    answer = platform.api.post("/api/scans/", json={"target": "::1", "policy": "quick"})
    assert answer.json()["error"] == "target_refused"


def test_the_same_key_is_the_same_scan_also_at_once(platform: Running) -> None:
    key = {"Idempotency-Key": uuid4().hex}
    with ThreadPoolExecutor(10) as pool:
        scans = list(pool.map(lambda _: platform.ask("127.0.74.2", "network_sweep", **key), range(20)))
    assert len({scan["id"] for scan in scans}) == 1
    assert len({scan["task_id"] for scan in scans}) == 1
    body = {"target": "127.0.74.2", "policy": "quick"}
    assert platform.api.post("/api/scans/", json=body, headers=key).status_code == 409
    platform.finish(scans[0])


def test_an_answer_leads_to_its_scan_and_lists_have_pages(platform: Running) -> None:
    answer = platform.api.post("/api/scans/", json={"target": "127.0.74.3", "policy": "network_sweep", "comment": "c"})
    scan = answer.json()
    assert platform.api.get(answer.headers["Location"]).json()["id"] == scan["id"]
    platform.finish(scan)
    page = platform.api.get("/api/scans/", params={"page_size": 1, "target": "127.0.74.3"}).json()
    assert [found["id"] for found in page["results"]] == [scan["id"]]
    listed = platform.api.get("/api/scans/", params={"page_size": 1}).json()
    assert listed["previous"] is None
    assert listed["count"] == 1 or platform.api.get(listed["next"]).json()["previous"]
