"""Which processes of this machine work for a scan: by the mark that `tasks.runner` puts into their environment."""

from __future__ import annotations

import os
import re
import signal
import time
from pathlib import Path
from uuid import UUID

GONE_SECONDS = 2.0
LOOK_SECONDS = 0.05
MARK = b"PULSAR_SCAN="
_ID = re.compile(rb"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def processes_of(scan_id: UUID) -> set[int]:
    """The processes that carry a scan's mark. Those of other users are seen by root only; a zombie has no mark."""
    mark = MARK + str(scan_id).encode()
    return {
        int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit() and mark in _environment(entry)
    }


def marked_scans() -> list[UUID]:
    """The scans that processes of this machine work for."""
    marks = (word for entry in Path("/proc").iterdir() if entry.name.isdigit() for word in _environment(entry))
    found = {word.removeprefix(MARK) for word in marks if word.startswith(MARK)}
    return [UUID(text.decode()) for text in sorted(found) if _ID.fullmatch(text)]


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


def end_all_of(scan_id: UUID) -> tuple[int, set[int]]:
    """End what is left of a scan on this machine: how many processes that were, and which could not be ended."""
    found = processes_of(scan_id)
    left = set() if end_processes_of(scan_id) else processes_of(scan_id)
    return len(found - left), left


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return  # gone, or a set-uid program: it goes with its launcher
