"""Ways to run the `pulsar` command in a test: in this process, as a process, on a terminal of its own."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import time

from typer.testing import CliRunner, Result

from deployments.command import app

COMMAND = [sys.executable, "-c", "from deployments.command import main; main()"]


def pulsar(*words: str) -> Result:
    result = CliRunner().invoke(app, list(words))
    assert "Traceback" not in result.stdout + result.stderr
    return result


def lines_with(text: str, word: str) -> list[str]:
    return [line for line in text.splitlines() if word in line]


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
