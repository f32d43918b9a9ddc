"""What of a home the doctor looks at on the disk: free space, and what was left in the work directory."""

from __future__ import annotations

import os
import shutil
from collections.abc import Container
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID


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


def _scan_of(name: str) -> UUID | None:
    try:
        return UUID(name)
    except ValueError:
        return None
