"""`pulsar policy` and policies in files: what is asked of the API, what is printed, what is refused before that."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from deployments.command import app
from deployments.home import home_store
from footprint.policy import PRESETS
from footprint.settings import Settings
from footprint.store.policies import add_policy
from tasks.policies import policy_of
from tests.deployments.invoking import lines_with, pulsar
from tests.deployments.rest_stand_in import StandIn, scan

pytestmark = pytest.mark.usefixtures("hurried")
MINE: dict[str, Any] = {"name": "mine", "description": "Ours.", "modules": {"dns": {}, "nmap": {"timing": 3}}}
TOML = 'name = "mine"\ndescription = "Ours."\n[modules]\ndns = {}\nnmap = { timing = 3 }\n'
SHOWN = {**MINE, "shipped": False, "required": [], "created_at": "2026-03-01T10:00:00Z"}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file with a policy."""
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(MINE))
    return path


def test_a_policy_is_shown_whole(server: StandIn) -> None:
    server.answers["GET", "/api/policies/mine/"] = (200, SHOWN)
    out = pulsar("policy", "show", "mine").stdout
    assert lines_with(out, "modules")[0].split(maxsplit=1)[1].strip() == json.dumps(MINE["modules"])
    assert "required" not in out
    assert json.loads(pulsar("policy", "show", "mine", "--json").stdout) == SHOWN


@pytest.mark.parametrize(("name", "text"), [("mine.json", json.dumps(MINE)), ("mine.toml", TOML)])
def test_a_policy_is_kept_from_a_file(server: StandIn, tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    server.answers["POST", "/api/policies/"] = (201, SHOWN)
    result = pulsar("policy", "add", str(tmp_path / name))
    assert (result.exit_code, result.stdout) == (0, "mine\n")
    assert server.asked[-1][3] == MINE


def test_a_policy_is_kept_from_stdin(server: StandIn) -> None:
    server.answers["POST", "/api/policies/"] = (201, SHOWN)
    result = CliRunner().invoke(app, ["policy", "add", "-"], input=json.dumps(MINE))
    assert result.exit_code == 0
    assert server.asked[-1][3] == MINE


def test_a_policy_is_replaced_where_that_is_asked_for(server: StandIn, file: Path) -> None:
    server.answers["POST", "/api/policies/"] = (409, {"error": "conflict", "detail": "there is one", "hint": "or PUT"})
    server.answers["PUT", "/api/policies/mine/"] = (200, SHOWN)
    refused = pulsar("policy", "add", str(file))
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert "there is one" in refused.stderr
    assert pulsar("policy", "add", "--replace", str(file)).exit_code == 0
    assert (server.asked[-1][0], server.asked[-1][3]) == ("PUT", MINE)


def test_a_policy_is_forgotten(server: StandIn) -> None:
    server.answers["DELETE", "/api/policies/mine/"] = (204, b"")
    result = pulsar("policy", "rm", "mine")
    assert (result.exit_code, result.stdout) == (0, "")
    assert server.asked[-1][0] == "DELETE"


@pytest.mark.parametrize("name", ["../scans", "Mine", "", "a/b", "x" * 65])
@pytest.mark.parametrize("verb", ["show", "rm"])
def test_what_is_no_name_is_not_asked_for(server: StandIn, verb: str, name: str) -> None:
    result = pulsar("policy", verb, name)
    assert (result.exit_code, result.stdout) == (2, "")
    assert [path for _, path, _, _ in server.asked] in ([], ["/api/health/"])


@pytest.mark.parametrize(
    ("name", "raw", "said"),
    [
        ("p.json", b"{", "strict JSON"),
        ("p.json", b'{"name": "a", "name": "b"}', "strict JSON"),
        ("p.json", b'{"depth": NaN}', "strict JSON"),
        ("p.json", b'{"depth": 1e400}', "strict JSON"),
        ("p.json", b'{"description": "\\ud800"}', "strict JSON"),
        ("p.json", b"\xff", "strict JSON"),
        ("p.json", b"[" * 60_000, "strict JSON"),
        ("p.json", TOML.encode(), "called .toml"),
        ("p.json", b"[]", "no object"),
        ("p.json", b"{" + b" " * 70_000 + b"}", "too large"),
        ("p.toml", b"name = ", "TOML"),
        ("p.toml", b"at = 2026-01-01", "TOML"),
        ("p.toml", b"depth = inf", "TOML"),
    ],
)
def test_a_file_that_holds_no_policy_is_refused_here(
    server: StandIn, tmp_path: Path, name: str, raw: bytes, said: str
) -> None:
    (tmp_path / name).write_bytes(raw)
    for words in (["policy", "add", str(tmp_path / name)], ["scan", "127.0.0.1", "--policy", f"@{tmp_path / name}"]):
        result = pulsar(*words)
        assert (result.exit_code, result.stdout) == (2, "")
        assert said in result.stderr
    assert server.asked == []


def test_a_file_that_is_not_there_is_refused(server: StandIn, tmp_path: Path) -> None:
    for path in (tmp_path / "missing.json", tmp_path):
        result = pulsar("policy", "add", str(path))
        assert (result.exit_code, server.asked) == (2, [])
        assert "cannot be read" in result.stderr


@pytest.mark.parametrize("words", [("show", "mine"), ("rm", "mine"), ("add", "FILE")])
def test_without_a_platform_policies_are_not_changed(no_platform: Path, file: Path, words: tuple[str, ...]) -> None:
    result = pulsar("policy", *(str(file) if word == "FILE" else word for word in words))
    assert (result.exit_code, result.stdout) == (3, "")
    assert "pulsar up" in result.stderr


def test_without_a_platform_ones_own_are_listed_all_the_same(no_platform: Path) -> None:
    with home_store(Settings()) as store, store.write() as session:
        add_policy(session, policy_of(MINE))
    assert [one["name"] for one in json.loads(pulsar("policies", "--json").stdout)] == [*PRESETS, "mine"]
    assert lines_with(pulsar("policies").stdout, "mine")[0].split() == ["mine", "Ours."]


def test_a_scan_takes_a_name_or_brings_a_policy(server: StandIn, file: Path) -> None:
    server.on_post = (201, scan("PENDING"))
    assert pulsar("scan", "127.0.0.1", "--policy", "mine", "--no-wait").exit_code == 0
    assert server.asked[-1][3]["policy"] == "mine"
    assert pulsar("scan", "127.0.0.1", "--policy", f"@{file}", "--no-wait").exit_code == 0
    assert server.asked[-1][3]["policy"] == MINE


class Never:
    """Stands where a platform would be started, which must not happen."""

    def __init__(self, *_: object, **__: object) -> None:
        raise AssertionError("a platform was started")


def test_what_a_platform_would_refuse_starts_none(
    no_platform: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deployments.platform.Platform", Never)
    monkeypatch.setenv("PULSAR_SCOPE_ALLOW", "127.0.0.0/8")
    bad = tmp_path / "bad.json"
    bad.write_text(json.dumps({**MINE, "depth": 99}))
    for policy, said in ((f"@{bad}", "policy.depth: at most 16"), ("other", "no policy of that name")):
        result = pulsar("scan", "127.0.0.1", "--policy", policy)
        assert (result.exit_code, result.stdout) == (2, "")
        assert said in result.stderr


def test_ones_own_policy_and_a_files_lead_to_a_platform(
    no_platform: Path, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deployments.platform.Platform", Never)
    monkeypatch.setenv("PULSAR_SCOPE_ALLOW", "127.0.0.0/8")
    with home_store(Settings()) as store, store.write() as session:
        add_policy(session, policy_of(MINE))
    for policy in ("mine", f"@{file}"):
        with pytest.raises(AssertionError, match="a platform was started"):
            CliRunner().invoke(app, ["scan", "127.0.0.1", "--policy", policy], catch_exceptions=False)


def test_each_bound_of_a_refused_policy_has_a_line_with_its_fields(server: StandIn, file: Path) -> None:
    problems = {"intensity": "at most 5", "modules.nmap.timing": "at most 5", "depth": "at most 16", "x\x1b[31m": "odd"}
    fields = [{"field": field, "problem": problem} for field, problem in problems.items()]
    server.answers["POST", "/api/policies/"] = (422, {"error": "invalid_policy", "detail": "long", "fields": fields})
    result = pulsar("policy", "add", str(file))
    said = [line.strip() for line in result.stderr.splitlines()]
    assert (result.exit_code, said[0]) == (2, "pulsar: this is wrong with it")
    assert said[1:3] == ["intensity, modules.nmap.timing: at most 5", "depth: at most 16"]
    assert "\x1b" not in result.stderr
    server.answers["POST", "/api/policies/"] = (
        422,
        {"error": "x", "detail": "depth: at most 16", "fields": fields[2:3]},
    )
    assert pulsar("policy", "add", str(file)).stderr == "pulsar: depth: at most 16\n"
    server.answers["POST", "/api/policies/"] = (422, {"error": "x", "detail": "odd", "fields": [{"field": 5}]})
    assert pulsar("policy", "add", str(file)).stderr == "pulsar: odd\n"
