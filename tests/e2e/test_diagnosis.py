"""Why, and what was said: explained, read and examined on a platform whose parts are stopped one by one."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deployments.answers import LogLine
from deployments.client import Api
from tests.e2e.conftest import Running, Scan
from tests.estate.listeners import SILENT, SSH, Listeners, Place

pytestmark = pytest.mark.platform

MACHINE = {"tools", "privileges", "sandbox", "feeds"}
"""Lines of the doctor that depend on what is installed where the tests run."""


def _explained(platform: Running, scan: Scan) -> dict[str, Any]:
    answer = platform.api.get(f"/api/scans/{scan['id']}/explain/")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def _await_cause(platform: Running, scan: Scan, code: str, seconds: float = 60) -> dict[str, Any]:
    """Wait until this is among the reasons; there is one at every moment."""
    until = time.monotonic() + seconds
    while True:
        found = _explained(platform, scan)
        assert found["causes"], found
        if cause := next((cause for cause in found["causes"] if cause["code"] == code), None):
            return dict(cause)
        assert time.monotonic() < until, found
        time.sleep(0.5)


@contextlib.contextmanager
def _pool(platform: Running, **changes: Any) -> Iterator[None]:
    before = platform.prefect.get("/work_pools/pulsar").raise_for_status().json()
    platform.prefect.patch("/work_pools/pulsar", json=changes).raise_for_status()
    try:
        yield
    finally:
        back = {name: before[name] for name in changes}
        platform.prefect.patch("/work_pools/pulsar", json=back).raise_for_status()


def _worker() -> int:
    """The worker that the platform of these tests started: a child of this process."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                if parent == os.getpid() and b"deployments.worker" in (entry / "cmdline").read_bytes().split(b"\0"):
                    return int(entry.name)
    raise AssertionError("the platform has no worker")


@contextlib.contextmanager
def _worker_held() -> Iterator[None]:
    worker = _worker()
    os.kill(worker, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(worker, signal.SIGCONT)


def _doctor(platform: Running) -> tuple[int, dict[str, dict[str, str]]]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PULSAR_", "PREFECT_"))}
    command = [str(Path(sys.executable).with_name("pulsar")), "doctor", "--json"]
    done = subprocess.run(
        command,
        env=environment | {"PULSAR_HOME": str(platform.settings.home)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stdout, done.stderr
    return done.returncode, {part["name"]: part for part in json.loads(done.stdout)["parts"]}


def test_a_healthy_platform_is_all_ok(platform: Running) -> None:
    code, parts = _doctor(platform)
    assert code == 0, parts
    assert {name: part for name, part in parts.items() if part["status"] != "ok" and name not in MACHINE} == {}
    until = time.monotonic() + 15  # what the API heard of Prefect last may be of before the flow was deployed
    while (health := platform.api.get("/api/health/").json())["status"] != "ok":
        assert time.monotonic() < until, health
        time.sleep(0.5)
    assert {part["name"] for part in health["parts"]} == set(parts) - {"tools", "privileges", "sandbox"}


def test_a_stopped_worker_is_what_is_missing(platform: Running) -> None:
    with _worker_held():
        scan = platform.ask("127.0.76.1")
        cause = _await_cause(platform, scan, "no_worker")
        assert "no worker is online in the pool pulsar" in cause["detail"]
        assert "ago" in cause["detail"]
        assert "pulsar worker" in cause["remedy"]
        assert cause["since"]
        assert _explained(platform, scan)["status"] == "PENDING"
        code, parts = _doctor(platform)
        assert (code, parts["workers"]["status"]) == (1, "fail")
    assert platform.finish(scan)["status"] == "SUCCESS"
    ended = _explained(platform, scan)
    assert [cause["code"] for cause in ended["causes"]][:1] == ["success"]


def test_a_paused_pool_and_a_full_one_are_told_apart_and_the_line_is_counted(platform: Running) -> None:
    with _pool(platform, is_paused=True):
        first, second = platform.ask("127.0.76.2"), platform.ask("127.0.76.2")
        assert "prefect work-pool resume pulsar" in _await_cause(platform, first, "pool_paused")["remedy"]
        code, parts = _doctor(platform)
        assert (code, parts["pool"]["status"]) == (0, "warn")
    assert {platform.finish(scan)["status"] for scan in (first, second)} == {"SUCCESS"}
    with Listeners([Place("127.0.76.3", 2001, SILENT)]), _pool(platform, concurrency_limit=1):
        running = platform.ask("127.0.76.3", "full_discovery")
        platform.await_units(running)
        unit = _await_cause(platform, running, "unit_running")
        assert re.match(r"running: nmap batch \d \(\d targets?\) for \d+\.\d s, given up after 1 h", unit["detail"])
        waiting = [platform.ask("127.0.76.4") for _ in range(2)]
        for place, scan in enumerate(waiting):
            cause = _await_cause(platform, scan, "pool_full")
            assert f"127.0.76.3 ({running['id']})" in cause["detail"]
            assert f"number {place + 1} in the line" in cause["detail"]
        body = {"state": {"type": "CANCELLING", "name": "Cancelling"}}
        platform.prefect.post(f"/flow_runs/{running['task_id']}/set_state", json=body).raise_for_status()
        assert {platform.finish(scan)["status"] for scan in waiting} == {"SUCCESS"}
    assert platform.finish(running)["status"] == "REVOKED"
    assert _await_cause(platform, running, "revoked")["detail"].startswith("it was cancelled while it ran")


def _whole_log(api: Api, scan: Scan, seconds: float = 30) -> list[LogLine]:
    """The log, once the flow's last word has arrived and nothing more has for as long as lines are held back."""
    until, before = time.monotonic() + seconds, -1
    while True:
        lines = api.log(scan["id"])
        is_whole = any(line.module is None and line.message.startswith("Finished in state") for line in lines)
        if is_whole and len(lines) == before:
            return lines
        assert time.monotonic() < until, lines
        before = len(lines)
        time.sleep(3)


def test_a_log_is_read_in_order_by_module_batch_and_level(platform: Running) -> None:
    with Listeners([Place("127.0.76.5", 2001, SSH)]):
        scan = platform.finish(platform.ask("127.0.76.5"))
    token = (platform.settings.home / "token").read_text().strip()
    with Api(str(platform.api.base_url), token) as api:
        lines = _whole_log(api, scan)
        assert [line.at for line in lines] == sorted(line.at for line in lines)
        units = {(line.module, line.batch) for line in lines if line.module}
        assert units >= {("nmap", 1), ("nmap", 2)}
        assert {module for module, _ in units} == {module["name"] for module in scan["modules"]}
        assert {line.module for line in api.log(scan["id"], module="nmap")} == {"nmap"}
        assert api.log(scan["id"], level="critical") == []
    page = platform.api.get(f"/api/scans/{scan['id']}/logs/", params={"page_size": 2, "page": 2}).json()
    assert page["count"] == len(lines)
    assert [line["id"] for line in page["results"]] == [line.id for line in lines[2:4]]
