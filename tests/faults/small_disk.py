"""A file system of its own for a store, small enough to be filled."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

DISK = "48m"
"""Its size."""


@contextmanager
def small_disk() -> Iterator[tuple[Path, bool]]:
    """A directory that is a file system of its own, where one can be mounted (root); else a plain one, and False.

    Not among pytest's directories: where a run of tests is killed it stays mounted, and is to harm no other.
    """
    directory = Path(tempfile.mkdtemp(prefix="small-disk-"))
    mounting = ["mount", "-t", "tmpfs", "-o", f"size={DISK},mode=0700", "tmpfs", str(directory)]
    is_mounted = os.geteuid() == 0 and subprocess.run(mounting, capture_output=True).returncode == 0
    try:
        yield directory, is_mounted
    finally:
        if is_mounted:
            subprocess.run(["umount", "--lazy", str(directory)], check=True)
        shutil.rmtree(directory)
