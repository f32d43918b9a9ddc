"""What a process and all below it hold of the machine: read from /proc, starting nothing (proc(5))."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

_COUNTED = (b"RssAnon:", b"RssShmem:", b"VmSwap:", b"VmPTE:")
"""Pages of files are shared with everybody and given back at need: not counted."""


def tree_of(pid: int) -> Iterator[int]:
    """A process and its descendants. In a process namespace nothing gets away: orphans become its init's children."""
    children = defaultdict(list)
    for entry in os.scandir("/proc"):
        if entry.name.isdigit() and (parent := _parent(entry.name)):
            children[parent].append(int(entry.name))
    waiting = [pid]
    while waiting:
        found = waiting.pop()
        yield found
        waiting += children[found]


def memory_of(pid: int) -> int:
    """Bytes that one process has for itself or shares with its relatives; 0 once it has ended."""
    lines = _lines(f"{pid}/status")
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith(_COUNTED))


def start_of(pid: int) -> int | None:
    """When a process began, in ticks since the machine did; None where there is none of that number."""
    fields = _stat(str(pid))
    return int(fields[19]) if fields else None


def has_processes(uid: int) -> bool:
    """True while a process of that user id is there."""
    told = (_lines(f"{entry.name}/status") for entry in Path("/proc").iterdir() if entry.name.isdigit())
    return any(line.split()[1] == b"%d" % uid for lines in told for line in lines if line.startswith(b"Uid:"))


def _parent(pid: str) -> int:
    fields = _stat(pid)
    return int(fields[1]) if fields else 0


def _stat(pid: str) -> list[bytes]:
    # The name in brackets may hold spaces, brackets and line breaks itself.
    return b" ".join(_lines(f"{pid}/stat")).rpartition(b")")[2].split()


def _lines(name: str) -> list[bytes]:
    try:
        return Path("/proc", name).read_bytes().splitlines()
    except OSError:
        return []
