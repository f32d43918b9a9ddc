"""A flow that stands in for a scan: it writes down what its process is like, then does as it is told."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger
from prefect.settings import get_current_settings

from tasks.stopping import is_winding_down

STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(120)"


def note_cancelled(flow: Any, flow_run: Any, state: Any) -> None:
    """A hook, to see that hooks are run."""
    Path(flow_run.parameters["diary"]).with_suffix(".cancelled").write_text(str(os.getpid()))


@flow(name="standin", on_cancellation=[note_cancelled])
def standin(diary: str, deed: str = "end") -> str:
    """Write `diary`, then `end`, `sleep` until told to, or `sleep` beside a child that ignores SIGTERM (`stubborn`)."""
    child = subprocess.Popen([sys.executable, "-c", STUBBORN]).pid if deed == "stubborn" else None
    get_run_logger().info("here")
    about = {
        "pid": os.getpid(),
        "parent": os.getppid(),
        "session": os.getsid(0),
        "child": child,
        "run": os.environ["PREFECT__FLOW_RUN_ID"],
        "api": get_current_settings().api.url,
        "stdin": str(Path("/proc/self/fd/0").readlink()),
        "stdout": str(Path("/proc/self/fd/1").readlink()),
        "cwd": str(Path.cwd()),
    }
    Path(diary).with_suffix(".new").write_text(json.dumps(about))
    Path(diary).with_suffix(".new").rename(diary)
    deadline = time.monotonic() + 120
    while deed != "end" and time.monotonic() < deadline and not Path(diary).with_suffix(".go").exists():
        if is_winding_down():
            Path(diary).with_suffix(".winding").touch()
        time.sleep(0.1)
    return "done"
