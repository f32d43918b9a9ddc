"""`pulsar scan`: what it prints while it waits and at the end, its exit codes, the platform it starts for itself."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deployments.answers import Scan
from deployments.blueprint import Addresses
from deployments.progress import at_work
from footprint.settings import Settings
from tests.deployments.invoking import COMMAND, lines_with, on_a_terminal, pulsar
from tests.deployments.rest_stand_in import SCAN_ID, TOKEN, StandIn, nmap_at, scan, service

pytestmark = pytest.mark.usefixtures("hurried")
BANNER = "Apache[bold red]\x1b]0;owned\x07\x1b[2J\x9b31m httpd\n\u202eevil [link=http://x]:skull:"


class Stage:
    """Stands where the platform would: takes what it is told to be, and notes when it is started and stopped."""

    def __init__(self, server: StandIn, home: Path) -> None:
        self.server, self.home = server, home
        self.noted: list[str] = []

    def __call__(self, settings: Settings, *, on_event: Callable[[str], None], free_ports: bool) -> Stage:
        assert free_ports
        on_event("The Prefect server starts.")
        return self

    def __enter__(self) -> Addresses:
        self.noted.append("started")
        (self.home / "token").write_text(TOKEN)
        return Addresses(self.server.url, "", "", "")

    def __exit__(self, *_: object) -> None:
        self.noted.append(f"stopped after {len(self.server.asked)} requests")


@pytest.fixture
def stage(server: StandIn, no_platform: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    stage = Stage(server, no_platform)
    monkeypatch.setattr("deployments.platform.Platform", stage)
    monkeypatch.setattr("deployments.scanning.LOOK_SECONDS", 0.02)
    monkeypatch.setenv("PULSAR_SCOPE_ALLOW", "127.0.0.0/8")
    return stage


def test_a_scan_prints_what_was_found_sorted(server: StandIn) -> None:
    server.rows["services"] = [
        service("127.0.0.10", 80),
        service("127.0.0.2", 443, service="https", product="nginx", version="1.22.1"),
        service("127.0.0.2", 22, service="ssh", product="OpenSSH", version="9.2p1"),
        *(service("127.0.0.9", port) for port in range(1000, 1150)),
    ]
    server.rows["domains"] = []
    result = pulsar("scan", "127.0.0.1", "--policy", "quick")
    assert result.exit_code == 0
    rows = [line.split() for line in lines_with(result.stdout, "/tcp")]
    assert rows[:2] == [
        ["127.0.0.2", "22/tcp", "ssh", "OpenSSH", "9.2p1"],
        ["127.0.0.2", "443/tcp", "https", "nginx", "1.22.1"],
    ]
    assert len(rows) == 153
    assert rows[-1][:2] == ["127.0.0.10", "80/tcp"]
    assert result.stdout.splitlines()[-1] == "SUCCESS after 1 min 14 s: 1 host, 2 open ports, no findings, no warnings"


def test_a_domain_scan_prints_the_names(server: StandIn) -> None:
    server.rows["services"] = []
    server.rows["domains"] = [{"name": "www.example.test", "cname": "web.example.test"}, {"name": "web.example.test"}]
    server.rows["hosts"] = [
        {"address": address, "names": ["web.example.test"]} for address in ("127.0.0.9", "127.0.0.10")
    ]
    out = pulsar("scan", "example.test").stdout
    assert [line.split("  ")[0] for line in lines_with(out, "example.test")] == ["web.example.test", "www.example.test"]
    assert "127.0.0.9, 127.0.0.10" in out
    assert "No port was looked at." in out


def test_nothing_open_is_told_apart_from_nothing_looked_at(server: StandIn) -> None:
    server.rows |= {"services": [], "domains": []}
    (run,) = nmap_at(100)["modules"]
    server.story = [scan("SUCCESS", 100, modules=[run | {"done": 1, "running": 0}])]
    assert "No open port was found" in pulsar("scan", "127.0.0.1").stdout


def test_progress_goes_beside_the_results(server: StandIn) -> None:
    server.rows |= {"services": [], "domains": []}
    server.story = [scan("PENDING"), *(nmap_at(step) for step in (1, 2, 3, 41, 42, 97)), scan("SUCCESS", 100)]
    result = pulsar("scan", "127.0.0.1")
    told = [line.split("%  ")[1] for line in lines_with(result.stderr, "%  ")]
    units = "nmap 2 of 8 units,"
    assert told == ["waiting for a worker", f"{units} 1 %", f"{units} 41 %", f"{units} 97 %", "SUCCESS"]
    assert "units" not in result.stdout


def test_warnings_are_named(server: StandIn) -> None:
    server.rows |= {"services": [], "domains": []}
    server.story = [scan("SUCCESS", 100, warnings=["nmap: 1 of 8 units timed out"])]
    result = pulsar("scan", "127.0.0.1")
    assert result.exit_code == 0
    assert "! nmap: 1 of 8 units timed out" in result.stdout
    assert "1 warning" in result.stdout.splitlines()[-1]


@pytest.mark.parametrize(("status", "error"), [("FAILURE", "nmap: not installed on this worker"), ("REVOKED", None)])
def test_a_scan_that_ends_badly_is_exit_code_1(server: StandIn, status: str, error: str | None) -> None:
    server.rows |= {"services": [], "domains": []}
    server.story = [scan(status, 40, error=error)]
    result = pulsar("scan", "127.0.0.1")
    assert result.exit_code == 1
    said = error or "1 host, 2 open ports, no findings before it was cancelled"
    assert result.stdout.splitlines()[-1] == f"{status} after 1 min 14 s: {said}"


@pytest.mark.parametrize(
    "words", [("scan", "127.0.0.1"), ("scan", "127.0.0.1", "--json"), ("scan", "::1", "--no-wait")]
)
def test_a_refused_target_is_exit_code_2(server: StandIn, words: tuple[str, ...]) -> None:
    detail, hint = "Loopback may not be scanned here.", "PULSAR_SCOPE_ALLOW=127.0.0.0/8 allows it."
    server.on_post = (422, {"error": "target_refused", "detail": detail, "hint": hint})
    result = pulsar(*words)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == f"pulsar: {detail}\n        {hint}\n"


def test_a_platform_that_goes_away_is_exit_code_3_and_the_scan_is_named(server: StandIn) -> None:
    server.story = [nmap_at(41), (503, {"error": "prefect_unavailable", "detail": "Away."})]
    result = pulsar("scan", "127.0.0.1")
    assert (result.exit_code, result.stdout) == (3, "")
    assert len(lines_with(result.stderr, "Away; trying again")) == 1
    assert f"pulsar status {SCAN_ID}" in result.stderr


def test_a_request_that_meets_an_outage_is_repeated_with_its_key_and_told_once(server: StandIn) -> None:
    server.on_post = (503, {"error": "prefect_unavailable", "detail": "Away."})
    result = pulsar("scan", "127.0.0.1")
    assert (result.exit_code, result.stdout) == (3, "")
    assert len(lines_with(result.stderr, "Away; trying again")) == 1
    keys = [headers["Idempotency-Key"] for method, _, headers, _ in server.asked if method == "POST"]
    assert len(keys) > 2
    assert len(set(keys)) == 1


def test_a_hostile_banner_neither_moves_the_cursor_nor_becomes_markup(server: StandIn) -> None:
    server.rows |= {"services": [service("127.0.0.1", 80, product=BANNER)], "domains": []}
    server.story = [nmap_at(41, detail=BANNER), scan("SUCCESS", 100, warnings=[BANNER])]
    result = pulsar("scan", "127.0.0.1")
    for sign in "\x1b\x07\x9b\u202e":
        assert sign not in result.stdout + result.stderr
    (row,) = lines_with(result.stdout, "/tcp")
    assert "Apache[bold red]" in row
    assert "[link=http://x]:skull:" in row


def test_a_hostile_refusal_is_cleaned(server: StandIn) -> None:
    server.on_post = (422, {"error": "x", "detail": BANNER, "hint": BANNER})
    result = pulsar("scan", "127.0.0.1")
    assert result.exit_code == 2
    assert "\x1b" not in result.stderr
    assert "Apache[bold red]" in result.stderr


def test_json_is_all_there_is_on_stdout(server: StandIn) -> None:
    server.rows["services"] = [service("127.0.0.1", port, product=BANNER + "\x7f") for port in range(1, 151)]
    server.story = [nmap_at(41), scan("SUCCESS", 100)]
    result = pulsar("scan", "127.0.0.1", "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout) == scan("SUCCESS", 100) | {"services": server.rows["services"], "findings": []}
    assert {sign for sign in result.stdout if not " " <= sign <= "~"} == {"\n"}


def test_no_wait_prints_the_id_and_leaves(server: StandIn) -> None:
    result = pulsar("scan", "127.0.0.1", "--no-wait")
    assert (result.exit_code, result.stdout) == (0, f"{SCAN_ID}\n")
    assert [method for method, *_ in server.asked] == ["GET", "POST"]


def test_no_wait_needs_a_platform(no_platform: Path) -> None:
    result = pulsar("scan", "127.0.0.1", "--no-wait")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "no platform is running" in result.stderr


@pytest.mark.parametrize(("story", "code"), [(scan("SUCCESS", 100), 0), (scan("FAILURE", 100), 1), ((404, {}), 2)])
def test_a_scan_without_a_platform_starts_one_and_stops_it(stage: Stage, story: Any, code: int) -> None:
    stage.server.rows |= {"services": [], "domains": [], "scans": []}
    stage.server.story = [story]
    result = pulsar("scan", "127.0.0.1")
    assert result.exit_code == code
    assert stage.noted == ["started", f"stopped after {len(stage.server.asked)} requests"]


def test_a_stop_of_the_command_ends_the_scan_before_the_platform_that_was_started_for_it(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("deployments.client.Api.watch", interrupted)
    stage.server.story = [nmap_at(41), nmap_at(41), scan("REVOKED", 41)]
    assert pulsar("scan", "127.0.0.1").exit_code == 130
    asked = [(method, path) for method, path, *_ in stage.server.asked]
    ending = [("POST", f"/api/scans/{SCAN_ID}/cancel/"), *[("GET", f"/api/scans/{SCAN_ID}/")] * 3]
    assert asked[-4:] == ending
    assert stage.noted == ["started", f"stopped after {len(asked)} requests"]


@pytest.mark.parametrize("wish", [["8.8.8.8", "--policy", "nonsense"], ["not a host!"], ["10.0.0.1"]])
def test_what_would_be_refused_starts_no_platform(stage: Stage, wish: list[str]) -> None:
    assert pulsar("scan", *wish).exit_code == 2
    assert stage.noted == []


def test_the_platform_of_a_scan_waits_for_the_scans_of_others(stage: Stage) -> None:
    later = scan("STARTED", 5, created_at="2026-03-01T10:00:30Z")
    earlier = scan("PENDING", 0, created_at="2026-03-01T09:00:00Z")
    lists = [[later, earlier]] * 3 + [[later | {"status": "SUCCESS"}, earlier]]
    stage.server.rows = Rows({"services": [], "domains": [], "technologies": [], "findings": []}, scans=lists)
    result = pulsar("scan", "127.0.0.1")
    assert result.exit_code == 0
    assert lists == []
    assert len(lines_with(result.stderr, "Another scan")) == 1


class Rows(dict[str, list[dict[str, Any]]]):
    """Rows of which the list of scans is another one at each look."""

    def __init__(self, rows: dict[str, list[dict[str, Any]]], scans: list[list[dict[str, Any]]]) -> None:
        super().__init__(rows, scans=[])
        self._lists = scans

    def __getitem__(self, name: str) -> list[dict[str, Any]]:
        return self._lists.pop(0) if name == "scans" else super().__getitem__(name)


def test_a_platform_that_another_command_starts_is_waited_for(stage: Stage) -> None:
    stage.server.rows |= {"services": [], "domains": []}
    with (stage.home / "platform.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        starting = threading.Timer(0.3, announce, (stage.home, stage.server.url))
        starting.start()
        result = pulsar("scan", "127.0.0.1")
        starting.join()
    assert result.exit_code == 0
    assert stage.noted == []
    assert len(lines_with(result.stderr, "Another command")) == 1


def announce(home: Path, url: str) -> None:
    (home / "token").write_text(TOKEN)
    (home / "platform.json").write_text(json.dumps({"pid": os.getpid(), "api": url, "prefect_api": ""}))


def test_ctrl_c_leaves_the_scan_to_the_platform(server: StandIn) -> None:
    server.story = [nmap_at(41)]
    # Tests in the background of a shell have inherited that SIGINT is ignored.
    argv = ["env", "--default-signal=INT", *COMMAND, "scan", "127.0.0.1"]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        assert process.stderr is not None
        assert b"nmap" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    finally:
        process.kill()
    assert (process.returncode, out) == (130, b"")
    assert f"The scan goes on. `pulsar status {SCAN_ID}` shows it." in err.decode()
    assert "Traceback" not in err.decode()


def test_a_terminal_gets_a_live_bar(server: StandIn) -> None:
    server.rows |= {"services": [service("127.0.0.1", 80, product="nginx")], "domains": []}
    server.story = [*[nmap_at(41)] * 3, scan("SUCCESS", 100)]
    shown = on_a_terminal([*COMMAND, "scan", "127.0.0.1"])
    assert "nmap 2 of 8 units, 41 %" in shown
    assert "\u2501" in shown
    assert "nginx" in shown


@pytest.mark.parametrize(
    ("now", "words"),
    [
        (nmap_at(41), "nmap 2 of 8 units, 41 %"),
        (nmap_at(41, units=1, done=0, failed=0, detail="versions"), "nmap 41 % (versions)"),
        (nmap_at(41) | {"waiting": "its window has closed"}, "nmap 2 of 8 units, 41 %; its window has closed"),
        (nmap_at(41, running=0), "preparing the next step"),
        (scan("RETRY"), "waiting for another try"),
        (scan("RETRY", waiting="window opens at ten"), "window opens at ten"),
    ],
)
def test_what_is_at_work_in_words(now: dict[str, Any], words: str) -> None:
    assert at_work(Scan.model_validate(now)) == words
