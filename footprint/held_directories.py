"""Directories that go with the process that made them, also where that was killed.

Each is locked by its process for as long as it lives: the kernel lets go of the lock when the process ends, however
it ends (flock(2)), so whoever finds one without a lock may remove it.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PREFIXES = ("unit-", "check-", "worker-")
"""What such directories are named after: one program's, one check's of a tool, one worker's."""
PATIENCE_SECONDS = 20.0
"""What a directory's maker gets to lock it."""


@contextmanager
def held_directory(parent: Path, prefix: str) -> Iterator[Path]:
    """A new directory below `parent`, which is made where it is not there; it is gone when the block ends."""
    parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with tempfile.TemporaryDirectory(dir=parent, prefix=prefix, ignore_cleanup_errors=True) as name:
        descriptor = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            with suppress(OSError):  # a file system without locks: then nobody can take it for forsaken either
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield Path(name)
        finally:
            os.close(descriptor)


def clear_forsaken(parent: Path) -> list[Path]:
    """Remove what killed processes left right below `parent`; returns what that was."""
    if not parent.is_dir():
        return []
    young = time.time() - PATIENCE_SECONDS
    ours = [entry for entry in os.scandir(parent) if entry.name.startswith(PREFIXES)]
    return [Path(entry.path) for entry in ours if _removed(Path(entry.path), young)]


def _removed(path: Path, young: float) -> bool:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return False  # it went meanwhile, or is no directory
    try:
        if os.fstat(descriptor).st_mtime > young:
            return False
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(path, ignore_errors=True)
        return not path.exists()
    except OSError:
        return False  # its process lives
    finally:
        os.close(descriptor)
