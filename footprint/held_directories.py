"""Directories that go with the process that made them, also where that was killed.

Each is locked by its process for as long as it lives: the kernel lets go of the lock when the process ends, however
it ends (flock(2)), so whoever finds one without a lock may remove it.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
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
                fcntl.flock(descriptor, fcntl.LOCK_EX)  # who looks at it just now lets go at once
            yield Path(name)
        finally:
            os.close(descriptor)


def clear_forsaken(parent: Path) -> list[Path]:
    """Remove what killed processes left right below `parent`; returns what that was."""
    if not parent.is_dir():
        return []
    ours = [Path(entry.path) for entry in os.scandir(parent) if entry.name.startswith(PREFIXES)]
    gone = [path for path in ours if _is_settled(path) and not is_held(path)]
    for path in gone:
        shutil.rmtree(path, ignore_errors=True)
    return gone


def _is_settled(path: Path) -> bool:
    try:
        seen = path.lstat()
    except FileNotFoundError:
        return False
    return stat.S_ISDIR(seen.st_mode) and seen.st_mtime < time.time() - PATIENCE_SECONDS


def is_held(path: Path) -> bool:
    """Whether a directory's process lives, or may; never true of what is no directory, or is gone."""
    if path.is_symlink() or not path.is_dir():
        return False
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    else:
        return False
    finally:
        os.close(descriptor)
