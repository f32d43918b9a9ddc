"""`pulsar explain`, `pulsar logs` and `pulsar doctor`: what they print, and their exit codes."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from deployments import diagnosis_command
from footprint.doctor import CHECKS
from tests.deployments.invoking import lines_with, pulsar
from tests.deployments.rest_stand_in import SCAN_ID, StandIn, scan

pytestmark = pytest.mark.usefixtures("hurried")

BEGIN = datetime(2026, 3, 1, 10, 0, 2, tzinfo=UTC)


def line(second: int, message: str, **more: Any) -> dict[str, Any]:
    at = (BEGIN + timedelta(seconds=second)).isoformat()
    told = {"id": f"line-{second}", "at": at, "level": "info", "module": None, "batch": None, "message": message}
    return told | {"stderr": [], "source": "prefect"} | more


def test_an_explanation_is_printed_as_a_paragraph_or_as_it_was_sent(server: StandIn) -> None:
    cause = {"code": "no_worker", "detail": "no worker", "remedy": "start one", "since": None}
    sent = {"status": "PENDING", "explanation": "It waits \x1b[2J[red].", "causes": [cause]}
    server.answers["GET", f"/api/scans/{SCAN_ID}/explain/"] = (200, sent)
    assert pulsar("explain", SCAN_ID).stdout == "It waits [2J[red].\n"
    assert json.loads(pulsar("explain", SCAN_ID, "--json").stdout) == sent
    assert pulsar("explain", "../..").exit_code == 2


def test_a_log_is_printed_in_full_with_the_last_words_of_tools(server: StandIn) -> None:
    lines = [line(number, f"message {number}") for number in range(150)]
    lines.append(line(150, "it \x1b[2Jcrashed", level="warning", module="nmap", batch=3, stderr=["why\x07", "so"]))
    server.rows["logs"] = lines
    result = pulsar("logs", SCAN_ID, "--module", "nmap", "--level", "warning")
    printed = result.stdout.splitlines()
    assert len(printed) == 153
    assert printed[0].endswith("INFO    scan: message 0")
    assert printed[-3].endswith("WARNING nmap 3: it [2Jcrashed")
    assert printed[-2:] == ["    | why", "    | so"]
    assert {"module=nmap", "level=warning"} <= set(server.asked[-1][1].partition("?")[2].split("&"))
    assert pulsar("logs", SCAN_ID, "--level", "loud").exit_code == 2


def test_a_followed_log_is_printed_once_and_to_its_end(server: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diagnosis_command, "LOOK_SECONDS", 0.01)
    server.story = [scan("STARTED"), scan("STARTED"), scan("SUCCESS", 100)]
    server.rows["logs"] = [line(0, "began"), line(60, "ended")]
    assert [said.partition("scan: ")[2] for said in pulsar("logs", "-f", SCAN_ID).stdout.splitlines()] == [
        "began",
        "ended",
    ]
    asked = [path for _, path, _, _ in server.asked if "/logs/" in path]
    assert len(asked) > 4
    # What came before the last line by less than its way may take is read again.
    assert "after" not in asked[0]
    assert "after=2026-03-01T10%3A00%3A32" in asked[1]


def test_the_doctor_says_that_no_platform_runs_and_leaves_the_home_alone(no_platform: Path) -> None:
    result = pulsar("doctor", "--json")
    parts = {part["name"]: part for part in json.loads(result.stdout)["parts"]}
    assert result.exit_code == 1
    assert set(parts) == set(CHECKS)
    assert [name for name, part in parts.items() if part["status"] == "fail"] == ["api", "prefect", "store"]
    assert "pulsar up" in parts["api"]["remedy"]
    assert "pulsar up" in parts["prefect"]["remedy"]
    assert not (no_platform / "pulsar.db").exists()
    shown = pulsar("doctor").stdout
    assert lines_with(shown, "api")[0].split()[:2] == ["api", "fail"]
    assert "start one: `pulsar up`" in shown


def test_the_doctor_asks_a_platform_elsewhere_for_its_parts(server: StandIn) -> None:
    parts = [{"name": "store", "status": "ok", "detail": "answers", "remedy": ""}]
    server.answers["GET", "/api/health/"] = (200, {"status": "ok", "parts": parts})
    result = pulsar("doctor", "--json")
    assert (result.exit_code, json.loads(result.stdout)["parts"]) == (0, parts)
    server.answers["GET", "/api/health/"] = (503, {"status": "down", "parts": [parts[0] | {"status": "fail"}]})
    assert pulsar("doctor").exit_code == 1
