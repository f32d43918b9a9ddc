"""Points at which a test ends or stops this very process, to see how what it leaves behind is mended.

They do nothing unless `PULSAR_FAILPOINTS` names a directory. There a file that is called as a point arms it, and holds
what is to happen: `KILL` or `STOP`. Who comes upon it first renames it to `POINT.PID` and does that to itself; the next
passes.
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import Literal, get_args

VARIABLE = "PULSAR_FAILPOINTS"

Point = Literal["after-lease", "after-spawn", "after-tool", "after-commit", "after-verdict"]
"""After the scan's row says STARTED; a tool's start; its end, nothing of it kept; its unit's transaction; the scan's
last transaction, before artifacts, Prefect's state and whatever is told to others."""
POINTS: tuple[Point, ...] = get_args(Point)


def failpoint(point: Point) -> None:
    """Do to this process what is armed here, once."""
    directory = os.environ.get(VARIABLE)
    if not directory:
        return
    armed = Path(directory, point)
    taken = armed.with_name(f"{point}.{os.getpid()}")
    with suppress(FileNotFoundError):
        armed.rename(taken)
        os.kill(os.getpid(), signal.Signals[f"SIG{taken.read_text().strip()}"])
