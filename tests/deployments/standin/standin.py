"""Flows that stand in for a scan: one writes down what its process is like, then does as it is told."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger
from prefect.client.orchestration import get_client
from prefect.runtime import flow_run
from prefect.settings import get_current_settings
from prefect.states import Cancelling

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
        time.sleep(0.1)
    return "done"


@flow(name="hasty")
def hasty(diary: str, deed: str = "end") -> None:
    """End before anybody can act on the cancel that was just asked for."""
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(flow_run.id, Cancelling())
    os._exit(1)
