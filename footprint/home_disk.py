"""What of a home the doctor looks at on the disk: free space, and what was left in the work directory."""

from __future__ import annotations

import os
import shutil
from collections.abc import Container, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from uuid import UUID

from footprint.held_directories import is_held

FORSAKEN_AFTER = timedelta(days=1)
"""What no unit and no copy that is being made would leave unchanged for."""


@dataclass(frozen=True, slots=True)
class Leftover:
    """A file or directory that nobody needs unless the scan goes on that it belongs to; `bytes` with all in it."""

    path: Path
    why: str
    bytes: int
    scan: UUID | None = None


@dataclass(frozen=True, slots=True)
class SpoolSeen:
    """How many results wait in a spool, how many files could not be read, and of which scans they are."""

    waiting: int = 0
    broken: int = 0
    scans: tuple[str, ...] = ()


def free_space(home: Path) -> int:
    """Bytes that are free where the home is, or is going to be."""
    there = next(path for path in (home, *home.parents) if path.exists())
    return shutil.disk_usage(there).free


def leftovers(work_dir: Path, live: Container[UUID]) -> list[str]:
    """The directories of scans that are not live."""
    if not work_dir.is_dir():
        return []
    return [entry.name for entry in os.scandir(work_dir) if (scan := _scan_of(entry.name)) and scan not in live]


def left_behind(work_dir: Path, backups: Path, at: datetime) -> list[Leftover]:
    """What killed flows, checks and copies left on this disk a day ago or longer, also of scans that still go on."""
    made = [path for path in _in(work_dir) if _is_old(path, at) and not is_held(path)]
    drafts = [path for path in _in(backups) if path.suffix == ".part" and _is_old(path, at)]
    scans = {path: scan for path in made if (scan := _scan_of(path.name))}
    return [
        *(_leftover(path, "directory of a scan that is over", scan) for path, scan in scans.items()),
        *(_leftover(path, "left by a program that was killed") for path in made if path not in scans),
        *(_leftover(path, "a copy that was not finished") for path in drafts),
    ]


def _leftover(path: Path, why: str, scan: UUID | None = None) -> Leftover:
    return Leftover(path, why, _size(path), scan)


def _in(directory: Path) -> Iterator[Path]:
    return iter(sorted(directory.iterdir())) if directory.is_dir() else iter(())


def _is_old(path: Path, at: datetime) -> bool:
    try:
        return at.timestamp() - path.lstat().st_mtime > FORSAKEN_AFTER.total_seconds()
    except FileNotFoundError:
        return False


def _size(path: Path) -> int:
    size = 0
    for one in (path, *path.rglob("*")) if path.is_dir() and not path.is_symlink() else (path,):
        try:
            size += one.lstat().st_size if not one.is_dir() else 0
        except OSError:
            continue  # it went meanwhile
    return size


def _scan_of(name: str) -> UUID | None:
    try:
        return UUID(name)
    except ValueError:
        return None
