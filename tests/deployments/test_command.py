"""The `pulsar` command: what it prints, where, and its exit codes, against a server that answers like the REST API."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from deployments import client, show
from deployments.answers import Scan
from deployments.blueprint import Addresses
from deployments.command import app
from deployments.progress import at_work
from footprint.policy import PRESETS
from footprint.settings import Settings
from tests.deployments.rest_stand_in import SCAN_ID, TOKEN, StandIn, nmap_at, scan, service, serving

BANNER = "Apache[bold red]\x1b]0;owned\x07\x1b[2J\x9b31m httpd\n\u202eevil [link=http://x]:skull:"
COMMAND = [sys.executable, "-c", "from deployments.command import main; main()"]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[StandIn]:
    with serving(StandIn()) as stand_in:
        monkeypatch.setenv("PULSAR_HOME", str(tmp_path))
        monkeypatch.setenv("PULSAR_API_URL", stand_in.url)
        monkeypatch.setenv("PULSAR_API_TOKEN", TOKEN)
        yield stand_in


@pytest.fixture
def no_platform(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    for name in ("PULSAR_API_URL", "PULSAR_API_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PULSAR_HOME", str(tmp_path))
    return tmp_path


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
    return stage


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Poll fast, give up soon, and have no terminal's habits."""
    monkeypatch.setattr(client, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(client, "PATIENCE_SECONDS", 0.3)
    for name in ("COLUMNS", "FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)


def pulsar(*words: str) -> Result:
    result = CliRunner().invoke(app, list(words))
    assert "Traceback" not in result.stdout + result.stderr
    return result


def lines_with(text: str, word: str) -> list[str]:
    return [line for line in text.splitlines() if word in line]


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
    assert "No open port was found" in out


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
    assert result.stdout.splitlines()[-1] == f"{status} after 1 min 14 s: {error or 'no reason was given'}"


@pytest.mark.parametrize(
    "words", [("scan", "127.0.0.1"), ("scan", "127.0.0.1", "--json"), ("scan", "::1", "--no-wait")]
)
def test_a_refused_target_is_exit_code_2(server: StandIn, words: tuple[str, ...]) -> None:
    detail, hint = "Loopback may not be scanned here.", "PULSAR_SCOPE_ALLOW=127.0.0.0/8 allows it."
    server.on_post = (422, {"error": "target_refused", "detail": detail, "hint": hint})
    result = pulsar(*words)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == f"pulsar: {detail}\n        {hint}\n"


def test_a_wrong_token_is_exit_code_2_with_a_remedy(server: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PULSAR_API_TOKEN", "of-another-home")
    result = pulsar("scans")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "does not accept this token" in result.stderr
    assert "pulsar token" in result.stderr
    assert "of-another-home" not in result.stderr


def test_an_unreachable_platform_is_exit_code_3(server: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PULSAR_API_URL", "http://127.0.0.1:1")
    result = pulsar("scan", "127.0.0.1")
    assert (result.exit_code, result.stdout) == (3, "")
    assert "does not answer" in result.stderr


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


def test_a_wrong_setting_is_named_and_not_repeated(server: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PULSAR_SCOPE_ALLOW", "s3cret")
    result = pulsar("scans")
    assert result.exit_code == 2
    assert "PULSAR_SCOPE_ALLOW" in result.stderr
    assert "s3cret" not in result.stderr


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
    assert json.loads(result.stdout) == scan("SUCCESS", 100) | {"services": server.rows["services"]}
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


def test_the_platform_of_a_scan_waits_for_the_scans_of_others(stage: Stage) -> None:
    later = scan("STARTED", 5, created_at="2026-03-01T10:00:30Z")
    earlier = scan("PENDING", 0, created_at="2026-03-01T09:00:00Z")
    lists = [[later, earlier]] * 3 + [[later | {"status": "SUCCESS"}, earlier]]
    stage.server.rows = Rows({"services": [], "domains": []}, scans=lists)
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


@pytest.mark.parametrize("words", [("scans",), ("status", SCAN_ID)])
def test_asking_needs_a_platform(no_platform: Path, words: tuple[str, ...]) -> None:
    result = pulsar(*words)
    assert (result.exit_code, result.stdout) == (3, "")
    assert "pulsar up" in result.stderr


def test_a_scan_can_be_looked_at(server: StandIn) -> None:
    server.story = [nmap_at(41, error="one unit: timed out")]
    out = pulsar("status", SCAN_ID).stdout
    assert lines_with(out, "nmap")[0].split()[:5] == ["nmap", "running", "2/8", "41", "%"]
    assert "one unit: timed out" in out
    assert out.splitlines()[-1].startswith("STARTED, 41 % done so far")
    assert json.loads(pulsar("status", SCAN_ID, "--json").stdout) == server.story[0]


def test_an_unknown_scan_is_exit_code_2(server: StandIn) -> None:
    server.story = [(404, {"error": "not_found", "detail": "There is no scan of that id."})]
    assert pulsar("status", SCAN_ID).exit_code == 2
    assert pulsar("status", "../..").exit_code == 2


def test_scans_are_listed_a_page_at_a_time(server: StandIn) -> None:
    server.rows["scans"] = [scan("SUCCESS", 100) | {"id": f"id-{number}"} for number in range(45)]
    first = pulsar("scans")
    assert len(lines_with(first.stdout, "id-")) == 20
    assert "45 scans" in first.stderr
    third = pulsar("scans", "--page", "3", "--status", "success")
    assert len(lines_with(third.stdout, "id-")) == 5
    assert "status=SUCCESS" in server.asked[-1][1]
    assert len(json.loads(pulsar("scans", "--json").stdout)["results"]) == 20


def test_modules_are_listed_with_their_remedy(server: StandIn) -> None:
    missing = {"name": "amass", "summary": "Names", "risk": "passive", "installed": False, "version": None}
    server.rows["modules"] = [missing | {"state": "missing", "privileged": None, "remedy": "install [amass] 4"}]
    out = pulsar("modules").stdout
    assert lines_with(out, "amass")[0].split() == ["amass", "passive", "missing", "Names"]
    assert "install [amass] 4" in out
    assert json.loads(pulsar("modules", "--json").stdout) == server.rows["modules"]


def test_policies_of_the_platform_and_without_one(server: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    server.rows["policies"] = [{"name": "nightly", "description": "Ours."}]
    assert lines_with(pulsar("policies").stdout, "nightly") == ["nightly  Ours.        "]
    monkeypatch.delenv("PULSAR_API_URL")
    assert [one["name"] for one in json.loads(pulsar("policies", "--json").stdout)] == list(PRESETS)


def test_the_token_is_printed(no_platform: Path) -> None:
    missing = pulsar("token")
    assert (missing.exit_code, missing.stdout) == (2, "")
    assert "pulsar up" in missing.stderr
    (no_platform / "token").write_text(f"{TOKEN}\n")
    assert pulsar("token").stdout == f"{TOKEN}\n"


@pytest.mark.parametrize("words", [("scan",), ("scans", "--page", "0"), ("scans", "--status", "DONE"), ("fly",)])
def test_wrong_usage_is_exit_code_2(server: StandIn, words: tuple[str, ...]) -> None:
    assert pulsar(*words).exit_code == 2


def test_ctrl_c_leaves_the_scan_to_the_platform(server: StandIn) -> None:
    server.story = [nmap_at(41)]
    process = subprocess.Popen([*COMMAND, "scan", "127.0.0.1"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
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


def on_a_terminal(argv: list[str]) -> str:
    """What a program prints on a terminal of its own, within 30 s."""
    ours, its = pty.openpty()
    env = os.environ | {"TERM": "xterm-256color", "COLUMNS": "100", "PYTHONUTF8": "1"}
    process = subprocess.Popen(argv, stdin=its, stdout=its, stderr=its, env=env)
    os.close(its)
    shown, give_up = b"", time.monotonic() + 30
    try:
        while time.monotonic() < give_up and (part := _next_part(ours)):
            shown += part
        assert process.wait(10) == 0
    finally:
        process.kill()
        os.close(ours)
    return shown.decode()


def _next_part(terminal: int) -> bytes:
    if not select.select([terminal], [], [], 20)[0]:
        return b""
    try:
        return os.read(terminal, 4096)
    except OSError:
        # Linux says EIO once the other side is closed.
        return b""


@pytest.mark.parametrize(
    ("now", "words"),
    [
        (nmap_at(41), "nmap 2 of 8 units, 41 %"),
        (nmap_at(41, units=1, done=0, failed=0, detail="versions"), "nmap 41 % (versions)"),
        (nmap_at(41, running=0), "between two steps"),
        (scan("RETRY"), "waiting for another try"),
    ],
)
def test_what_is_at_work_in_words(now: dict[str, Any], words: str) -> None:
    assert at_work(Scan.model_validate(now)) == words


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.84, "0.8 s"), (41, "41 s"), (59.7, "1 min 0 s"), (200, "3 min 20 s"), (7500, "2 h 5 min")]
)
def test_durations_in_words(seconds: float, words: str) -> None:
    assert show.duration(seconds) == words


def test_the_command_starts_without_the_heavy_parts() -> None:
    heavy = "{'prefect', 'fastapi', 'sqlalchemy', 'alembic'}"
    code = f"import sys, deployments.command; sys.exit(sorted({heavy} & set(sys.modules)) or 0)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0
