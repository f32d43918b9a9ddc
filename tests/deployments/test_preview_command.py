"""`pulsar scan --dry-run`: what is asked, what is printed, with a platform and without one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from deployments.preview_answers import Preview
from tasks import plan
from tests.deployments.invoking import lines_with, pulsar
from tests.deployments.rest_stand_in import StandIn

pytestmark = pytest.mark.usefixtures("hurried")
PATH = ("POST", "/api/policies/preview/")
STEP: dict[str, Any] = {
    "module": "nmap_discovery",
    "risk": "safe",
    "when": "at_once",
    "why": "",
    "lacking": "nmap: not installed",
    "without_raw_sockets": "",
    "units": 64,
    "records": 64,
    "sends": "packets",
    "least": 4096,
    "most": 32768,
    "rate": 4000,
    "seconds": 90.0,
    "needs": [],
    "runs": [{"command": "nmap -sn -iL targets", "files": [], "subjects": ["127.0.0.0/26"], "records": 1}],
}
NEED = {"kind": "host", "such_as": [], "found_by": ["nmap_discovery"], "at_most": 4096, "sends": "packets"}
LATER = {**STEP, "module": "nmap", "when": "later", "units": 0, "runs": [], "lacking": ""}
LATER |= {"needs": [{**NEED, "least": 1, "most": 1, "seconds": 16.0}]}
SAID: dict[str, Any] = {
    "target": "127.0.0.0/20",
    "kind": "network",
    "policy": "quick",
    "ports": "all",
    "addresses": 4095,
    "left_out": ["127.0.9.9: excluded"],
    "steps": [STEP, LATER],
    "seconds": 90.0,
    "remarks": ["it is long"],
    "totals": [{"sends": "packets", "to_target": True, "least": 4096, "most": None}],
}


def test_the_platform_is_asked_and_nothing_is_started(server: StandIn) -> None:
    server.answers[PATH] = (200, SAID)
    result = pulsar("scan", "127.0.0.0/20", "--policy", "quick", "--dry-run")
    assert result.exit_code == 0
    assert [(method, path) for method, path, _, _ in server.asked if method == "POST"] == [PATH]
    assert server.asked[-1][3] == {"target": "127.0.0.0/20", "policy": "quick"}
    out = result.stdout
    assert "127.0.0.0/20 (4,095 addresses)" in out
    assert "127.0.9.9: excluded" in out
    assert "4,096-32,768 packets, 4000 a second each, 1 min 30 s at least" in " ".join(out.split())
    assert "1 packet for each host, 4,096 at most, 16 s at least each: found by nmap_discovery" in " ".join(out.split())
    assert "nmap: not installed" in out
    assert "nmap_discovery: nmap -sn -iL targets  # 127.0.0.0/26" in out
    assert "nmap_discovery: and 63 more like these" in out
    assert "! it is long" in out
    assert "At once: 4,096 packets or more that the target may notice; 1 min 30 s at least" in out


def test_time_that_is_none_is_not_told(server: StandIn) -> None:
    server.answers[PATH] = (200, {**SAID, "seconds": 0.4})
    out = pulsar("scan", "127.0.0.0/20", "--dry-run").stdout
    assert "At once: 4,096 packets or more that the target may notice, before what is found." in " ".join(out.split())


def test_json_is_what_the_platform_said(server: StandIn) -> None:
    server.answers[PATH] = (200, SAID)
    result = pulsar("scan", "127.0.0.0/20", "--dry-run", "--json")
    assert (result.exit_code, json.loads(result.stdout)) == (0, SAID)


def test_a_refusal_is_one(server: StandIn) -> None:
    server.answers[PATH] = (422, {"error": "target_refused", "detail": "the target is refused: loopback"})
    result = pulsar("scan", "127.0.0.1", "--dry-run")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "the target is refused: loopback" in result.stderr


def test_what_a_terminal_would_obey_is_not_printed(server: StandIn) -> None:
    server.answers[PATH] = (200, {**SAID, "remarks": ["\x1b[31mred\x1b[0m"], "left_out": ["\x07bell"]})
    assert not {"\x1b", "\x07"} & set(pulsar("scan", "127.0.0.0/20", "--dry-run").stdout)


def test_without_a_platform_it_is_told_here(no_platform: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PULSAR_SCOPE_ALLOW", "127.0.0.0/8")
    result = pulsar("scan", "127.0.9.0/28", "--policy", "network_sweep", "--dry-run")
    assert result.exit_code == 0
    assert lines_with(result.stdout, "nmap_discovery: nmap -T4 -n --privileged -sn")
    said = json.loads(pulsar("scan", "127.0.9.0/28", "--policy", "network_sweep", "--dry-run", "--json").stdout)
    assert said["addresses"] == 16
    assert not (no_platform / "platform.json").exists()


def test_without_a_platform_a_file_says_the_policy(
    no_platform: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PULSAR_SCOPE_ALLOW", "127.0.0.0/8")
    (tmp_path / "mine.json").write_text(json.dumps({"modules": {"nmap": {"timing": 2}}, "ports": "80"}))
    result = pulsar("scan", "127.0.0.1", "--policy", f"@{tmp_path / 'mine.json'}", "--dry-run", "--json")
    (step,) = json.loads(result.stdout)["steps"]
    assert step["runs"][0]["command"].startswith("nmap -T2 ")


@pytest.mark.parametrize(("target", "policy"), [("127.0.0.1", "quick"), ("example.com", "nope"), ("a b", "quick")])
def test_without_a_platform_a_refusal_is_one_too(no_platform: Path, target: str, policy: str) -> None:
    result = pulsar("scan", target, "--policy", policy, "--dry-run")
    assert (result.exit_code, result.stdout) == (2, "")


def test_the_command_reads_all_that_is_said_of_a_preview() -> None:
    assert set(Preview.model_fields) | {"kind"} == set(plan.Preview.__dataclass_fields__)
