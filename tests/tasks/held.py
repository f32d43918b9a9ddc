"""How tests run a script in the sandbox: the real one, and nothing of it may be left afterwards."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import pytest

from footprint.errors import SandboxMissing
from tasks.runner import GRACE_SECONDS, Limits
from tasks.sandbox import Held, Script, check_sandbox, run_script
from tasks.tool import Ending
from tests.processes import wait_until_gone

SLACK = 2 * GRACE_SECONDS + 8
"""Seconds beyond its own that a script may take on a busy machine: the graces, a start, looking for what is left."""

Hold = Callable[..., Held]


def require_sandbox(directory: Path) -> None:
    """Skip the test where no sandbox can be had."""
    try:
        check_sandbox(directory, directory / "trial")
    except SandboxMissing as missing:
        pytest.skip(str(missing))


def holder(directory: Path) -> Hold:
    """What runs a text in the sandbox and makes sure that no process, no file and no time is left of it."""
    work_dir = directory / "work"

    def hold(text: str, interpreter: str | None = "sh", *, seconds: int = 20, memory: int = 64, **given: str) -> Held:
        mark = uuid4()
        environment = {"PULSAR_SCAN": str(mark), **given}
        limits = Limits(seconds, work_dir, mark)
        held = run_script(Script("script", text, interpreter), given.get("STDIN", ""), environment, limits, memory)
        assert wait_until_gone(mark, 3) == set()
        assert list(work_dir.iterdir()) == []
        assert held.output.seconds < seconds + SLACK
        return held

    return hold


def said(held: Held) -> list[str]:
    """The lines that a script printed, which ended well and within its limits."""
    assert (held.output.ending, held.output.returncode, held.exceeded) == (Ending.EXITED, 0, ""), held.output.stderr
    return held.output.stdout.splitlines()
