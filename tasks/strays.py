"""Which processes of this machine work for a scan: by the mark that `tasks.runner` puts into their environment."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from uuid import UUID

GONE_SECONDS = 2.0
LOOK_SECONDS = 0.05


def processes_of(scan_id: UUID) -> set[int]:
    """The processes that carry a scan's mark. Those of other users are seen by root only; a zombie has no mark."""
    mark = f"PULSAR_SCAN={scan_id}".encode()
    return {
        int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit() and mark in _environment(entry)
    }


def _environment(process: Path) -> list[bytes]:
    try:
        return (process / "environ").read_bytes().split(b"\0")
    except OSError:
        return []  # it ended meanwhile, or is another user's


def end_processes_of(scan_id: UUID) -> bool:
    """Make sure that no process of a scan is left, whatever its launcher did; False where one stays."""
    until = time.monotonic() + GONE_SECONDS
    while left := processes_of(scan_id):
        if time.monotonic() > until:
            return False
        for pid in left:
            _kill(pid)
        time.sleep(LOOK_SECONDS)
    return True


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return  # gone, or a set-uid program: it goes with its launcher
