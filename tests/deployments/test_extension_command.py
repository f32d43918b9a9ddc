"""`pulsar extension`: what is installed, whether it can be run, and what it says of a target, tried by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from footprint.extensions import Extension, add
from footprint.manifest import Manifest
from tasks import sandbox
from tests.deployments.invoking import lines_with, pulsar
from tests.tasks.held import require_sandbox


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of its own."""
    require_sandbox(tmp_path)
    monkeypatch.setenv("PULSAR_HOME", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "160")
    return tmp_path


def _install(home: Path, name: str, text: str, **fields: object) -> None:
    told = {"name": name, "accepts": ("host",), "script": "script", "interpreter": "sh", **fields}
    add(home, Extension(Manifest.model_validate(told), text))


def test_a_home_without_extensions_says_where_they_go(home: Path) -> None:
    result = pulsar("extension", "list")
    assert result.exit_code == 0
    assert "No extension is installed" in result.stdout
    assert str(home / "extensions") in result.stdout.replace("\n", "")


def test_what_is_installed_is_listed_with_what_is_wrong_with_it(home: Path) -> None:
    _install(home, "web", "true", accepts=("service", "host"), services=("http",), description="Looks [at] webs")
    (home / "extensions" / "broken").mkdir()
    out = pulsar("extension", "list").stdout
    (web,) = lines_with(out, "web ")
    assert all(word in web for word in ("service, host (http)", "60", "128", "Looks [at] webs"))
    assert "extension.toml is not there" in lines_with(out, "broken")[0]
    assert (pulsar("extension", "check", "web").stdout, pulsar("extension", "check", "broken").exit_code) == (
        "In order.\n",
        2,
    )


@pytest.mark.parametrize(
    ("accepts", "target", "kind"),
    [
        ("host", "127.0.0.1", "host"),
        ("host", "::1", "host"),
        ("domain", "www.Example.com", "domain"),
        ("service", "127.0.0.1:80/http", "service"),
        ("service", "[::1]:443", "service"),
    ],
)
def test_one_is_tried_on_what_it_accepts(home: Path, accepts: str, target: str, kind: str) -> None:
    _install(home, "tells", 'echo "for $DOM_FQDN"; cat; echo aside >&2', accepts=(accepts,), score=5.3)
    result = pulsar("extension", "run", "tells", target)
    assert result.exit_code == 0
    assert f'"kind": "{kind}"' in result.stdout
    assert lines_with(result.stdout, "extension/tells")[0].split()[:3] == ["medium", "5.3", "extension/tells"]
    assert "aside" in result.stderr
    assert "of 60 s" in result.stderr
    assert "of 128 MiB, exit code 0" in result.stderr
    assert list((home / "work").iterdir()) == []


def test_how_it_failed_is_said_and_is_exit_code_1(home: Path) -> None:
    _install(home, "hangs", "echo before; sleep 60", timeout=1)
    result = pulsar("extension", "run", "hangs", "127.0.0.1")
    assert result.exit_code == 1
    assert "before" in result.stdout
    assert "stopped after 1 s, its time limit" in result.stderr


def test_what_it_prints_does_nothing_to_the_terminal(home: Path) -> None:
    _install(home, "paints", r"printf '\033[2J\033]0;owned\007[red]x\n%.0s' 1 2 3; yes | head -1000")
    result = pulsar("extension", "run", "paints", "127.0.0.1")
    assert "\x1b" not in result.stdout + result.stderr
    assert "[2J]0;owned[red]x" in result.stdout
    assert "more lines" in result.stderr


@pytest.mark.parametrize(
    "target", ["a.example", "127.0.0.0/24", "127.0.0.1:80", "127.0.0.1:0", "-x", "127.0.0.1:99999"]
)
def test_what_it_does_not_accept_is_refused(home: Path, target: str) -> None:
    _install(home, "hosts", "echo ran")
    result = pulsar("extension", "run", "hosts", "--", target)
    assert (result.exit_code, result.stdout) == (2, "")


def test_without_a_sandbox_nothing_is_run(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _install(home, "one", "echo ran")
    sandbox._try.cache_clear()
    monkeypatch.setattr(sandbox, "search_path", lambda: str(home))
    result = pulsar("extension", "run", "one", "127.0.0.1")
    assert (result.exit_code, result.stdout) == (3, "")
    assert "apt-get install" in result.stderr
    assert pulsar("extension", "run", "gone", "127.0.0.1").exit_code == 2
