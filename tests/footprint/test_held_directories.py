"""A directory goes with its process, also where that was killed; that of a process that lives is left alone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from footprint import held_directories
from footprint.held_directories import clear_forsaken, held_directory

HOLD = """
import sys; from pathlib import Path
from footprint.held_directories import held_directory
with held_directory(Path(sys.argv[1]), "unit-") as made:
    (made / "inside").mkdir()
    print(made, flush=True)
    sys.stdin.read()
"""


def test_it_is_gone_when_the_block_ends(tmp_path: Path) -> None:
    with held_directory(tmp_path / "work", "unit-") as made:
        (made / "file").write_text("x")
    assert list((tmp_path / "work").iterdir()) == []


def test_only_what_killed_processes_left_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with held:
        assert held.stdout is not None
        made = Path(held.stdout.readline().strip())
        for name in ("other", "check-1"):
            (tmp_path / name).mkdir()
        (tmp_path / "unit-link").symlink_to(tmp_path / "other")
        assert clear_forsaken(tmp_path) == [], "it may be locked any moment"
        monkeypatch.setattr(held_directories, "PATIENCE_SECONDS", -1.0)
        assert clear_forsaken(tmp_path) == [tmp_path / "check-1"]
        held.kill()
        held.wait()
        assert clear_forsaken(tmp_path) == [made]
    assert {path.name for path in tmp_path.iterdir()} == {"other", "unit-link"}
    assert clear_forsaken(tmp_path / "none") == []
