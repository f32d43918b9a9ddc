"""Logs that processes write as their output: kept within bounds while they are written.

Who writes holds the file open and cannot be told to open another. So its end is copied aside, and then it is emptied,
as logrotate's `copytruncate` does: it is written in append mode, and goes on at its beginning. What is written between
the two is lost. A log and what is aside of it take twice `LARGEST_LOG` at most, and what comes in `LOOK_SECONDS`.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import shutil
from pathlib import Path

LARGEST_LOG = 10_000_000
"""Bytes."""
LOOK_SECONDS = 60.0


def bound(log: Path) -> bool:
    """Put a log aside that is larger than `LARGEST_LOG`, as NAME.1; True where it was, False also where it cannot be.

    The disk may be full: then it is tried again at the next look, with the room that the old one has left.
    """
    with contextlib.suppress(OSError):
        if log.stat().st_size > LARGEST_LOG:
            with log.open("rb") as writing:
                # The platform and a worker of this home may look at the same time.
                fcntl.flock(writing, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return _put_aside(log, writing.fileno())
    return False


def _put_aside(log: Path, writing: int) -> bool:
    size = os.fstat(writing).st_size
    if size <= LARGEST_LOG:
        return False
    aside, draft = log.with_name(f"{log.name}.1"), log.with_name(f"{log.name}.new")
    aside.unlink(missing_ok=True)
    try:
        with draft.open("wb") as kept, os.fdopen(os.dup(writing), "rb") as said:
            said.seek(size - LARGEST_LOG)
            shutil.copyfileobj(said, kept)
        draft.replace(aside)
    finally:
        draft.unlink(missing_ok=True)
    os.truncate(log, 0)
    return True


async def keep_bounded(log: Path, every: float = LOOK_SECONDS) -> None:
    """Look at a log until cancelled."""
    while True:
        await asyncio.sleep(every)
        await asyncio.to_thread(bound, log)
