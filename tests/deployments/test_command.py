"""The verbs of the `pulsar` command: what they print, where, and their exit codes."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from deployments.worker import LONGEST_STOP
from footprint.durations import duration
from footprint.policy import PRESETS
from footprint.settings import Settings
from tests.deployments.invoking import lines_with, pulsar
from tests.deployments.rest_stand_in import SCAN_ID, TOKEN, StandIn, nmap_at, scan

pytestmark = pytest.mark.usefixtures("hurried")


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


def test_a_wrong_setting_is_named_and_not_repeated(server: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PULSAR_SCOPE_ALLOW", "s3cret")
    result = pulsar("scans")
    assert result.exit_code == 2
    assert "PULSAR_SCOPE_ALLOW" in result.stderr
    assert "s3cret" not in result.stderr


def test_who_stops_a_worker_is_told_how_long_that_takes() -> None:
    said = " ".join(pulsar("worker", "--help").stdout.split())
    grace = Settings.model_fields["grace_seconds"].default
    assert f"PULSAR_GRACE_SECONDS ({grace:g})" in said
    assert f"up to {LONGEST_STOP} s more" in said
    readme = (Path(__file__).resolve().parents[2] / "README.md").read_text()
    told = {how: re.findall(rf"{how}[ =](\d+)", f"{said} {readme}") for how in ("stop -t", "TimeoutStopSec")}
    for how, seconds in told.items():
        assert seconds, how
        assert all(int(one) >= grace + LONGEST_STOP for one in seconds), (how, seconds)


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
    server.story = [scan("PENDING")]
    assert pulsar("status", SCAN_ID).stdout.splitlines()[-1].endswith("`pulsar explain` says what it waits for")


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


@pytest.mark.parametrize(("fence", "said"), [("off", "are not fenced"), ("on", "are fenced"), (None, None)])
def test_whether_tools_are_fenced_is_told_beside_the_modules(
    server: StandIn, fence: str | None, said: str | None
) -> None:
    module = {"name": "nmap", "installed": True, "state": "ready", "fence": fence}
    server.rows["modules"] = [module, {"name": "dns", "installed": True, "state": "ready", "fence": None}]
    told = pulsar("modules").stderr
    assert f"Tools {said}" in told if said else "fenced" not in told


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


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.84, "0.8 s"), (41, "41 s"), (59.7, "1 min 0 s"), (200, "3 min 20 s"), (7500, "2 h 5 min")]
)
def test_durations_in_words(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_the_command_starts_without_the_heavy_parts() -> None:
    heavy = "{'prefect', 'fastapi', 'sqlalchemy', 'alembic'}"
    code = f"import sys, deployments.command; sys.exit(sorted({heavy} & set(sys.modules)) or 0)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0
