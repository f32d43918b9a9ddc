"""A module is called ready only where its program runs behind the fence, as its units would have it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests.estate.namespaces import Namespaces

pytestmark = pytest.mark.alone

INSPECT = """
import json, sys
from dataclasses import replace
from pathlib import Path
from footprint.settings import Settings
from tasks import inspection
from tasks.catalogue import tool_named
tool = tool_named("tls")
binary = replace(tool.binary, name="some-sslyze", version_argv=("some-sslyze",))
told = []
for fence in (False, True):
    told.append(inspection._inspect(replace(tool, binary=binary), Settings(home=Path(sys.argv[1]), fence=fence), None))
print(json.dumps([(state.state, state.installed, state.version, state.remedy) for state in told]))
"""
TELLS = "echo SSLyze version 6.2.0"
ONLY_ROOT = f'test $(id -u) = 0 && {TELLS} || echo "no library for you" >&2'
READY = ["ready", True, "6.2.0", ""]


def _told(made: Namespaces, tmp_path: Path, program: Path, script: str) -> list[list[object]]:
    """What is said of a program, without a fence and with one, whose file this is."""
    program.parent.mkdir(parents=True, exist_ok=True)
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    asked = ["env", f"PULSAR_TOOLS_PATH={program.parent}", sys.executable, "-c", INSPECT, str(tmp_path / "home")]
    ran = made.scanner.run(asked, timeout=60)
    assert ran.returncode == 0, ran.stderr
    told: list[list[object]] = json.loads(ran.stdout)
    return told


def test_a_program_that_the_fences_id_may_not_read_is_not_ready_and_the_remedy_is_told(
    namespaces: Namespaces, tmp_path: Path
) -> None:
    (own := tmp_path / "own").mkdir(mode=0o700)
    open_, fenced = _told(namespaces, tmp_path, own / "some-sslyze", TELLS)
    assert open_ == READY
    assert fenced[:3] == ["missing", False, None]
    assert "tls: it cannot be run behind the fence: " in str(fenced[3])
    assert "Permission denied" in str(fenced[3])
    assert "chmod -R o+rX" in str(fenced[3])


def test_a_program_that_does_not_work_under_the_fences_id_is_not_ready(namespaces: Namespaces, tmp_path: Path) -> None:
    open_, fenced = _told(namespaces, tmp_path, tmp_path / "open" / "some-sslyze", ONLY_ROOT)
    assert open_ == READY
    assert fenced[0] == "missing"
    assert "behind the fence: no library for you" in str(fenced[3])


def test_a_program_below_a_closed_directory_is_ready_since_the_fence_shows_it(
    namespaces: Namespaces, tmp_path: Path
) -> None:
    (closed := tmp_path / "closed").mkdir(mode=0o700)
    assert _told(namespaces, tmp_path, closed / "venv" / "bin" / "some-sslyze", TELLS) == [READY, READY]
