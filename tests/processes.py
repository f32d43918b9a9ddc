"""How tests look for what is left of a scan: by the mark in its processes' environment."""

from __future__ import annotations

import time
from pathlib import Path
from uuid import UUID


def marked(scan_id: UUID) -> set[int]:
    """The processes that carry a scan's mark, zombies left out (their environment is empty)."""
    wanted = f"PULSAR_SCAN={scan_id}".encode()
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and wanted in _environment(entry):
            found.add(int(entry.name))
    return found


def _environment(process: Path) -> list[bytes]:
    try:
        return (process / "environ").read_bytes().split(b"\0")
    except OSError:
        return []  # it ended meanwhile, or is another user's


def wait_until_gone(scan_id: UUID, seconds: float = 10) -> set[int]:
    """Wait until no process carries the mark; returns those that are left when the time is up."""
    until = time.monotonic() + seconds
    while (left := marked(scan_id)) and time.monotonic() < until:
        time.sleep(0.05)
    return left


def wait_until_there(scan_id: UUID, count: int = 1, seconds: float = 20) -> set[int]:
    """Wait until at least `count` processes carry the mark. Fails the test when they do not come."""
    until = time.monotonic() + seconds
    while len(found := marked(scan_id)) < count:
        assert time.monotonic() < until, "the scan's processes did not start"
        time.sleep(0.05)
    return found
