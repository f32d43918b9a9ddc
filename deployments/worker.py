"""What `pulsar worker` runs: the forking worker on the pool `pulsar`. Also `python -m deployments.worker`.

`prefect worker start --pool pulsar` works as well; it only takes longer to start a scan.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from pathlib import Path

from deployments.nursery import Nursery
from footprint.settings import Settings

POOL = "pulsar"
CODE_ROOT = Path(__file__).resolve().parent.parent
PRELOAD = ("prefect.flow_engine", "prefect.task_engine", "prefect.runner._workspace_runtime_bootstrap", "flows.scan")
"""What every flow run needs: imported once, in the process they are forked from."""


def run_worker(settings: Settings, *, name: str | None) -> None:
    """Take scans from the pool until SIGTERM or SIGINT; scans that run are then stopped and reported.

    Needs `PREFECT_API_URL` (and `PREFECT_API_AUTH_STRING`) in the environment. Tells systemd, or whoever set
    `NOTIFY_SOCKET`, when it is ready.
    """
    os.environ["PREFECT_WORKER_QUERY_SECONDS"] = str(settings.worker_poll_seconds)
    log = settings.home / "logs" / "runs.log"
    log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    asyncio.run(work(Nursery(root=CODE_ROOT, preload=PRELOAD, log=log), name=name))


async def work(nursery: Nursery, *, name: str | None = None, pool: str = POOL) -> None:
    """Be a worker with this nursery until a signal comes."""
    _stop_on_signals()
    notify = os.environ.pop("NOTIFY_SOCKET", "")
    nursery.start()
    # Not before: this takes as long as the nursery's own imports, beside which it now runs.
    from prefect.context import refresh_global_settings_context

    from deployments.forking import ForkingWorker

    refresh_global_settings_context()  # whoever imported Prefect before us did so without our environment
    worker = ForkingWorker(pool, nursery=nursery, name=name, on_ready=lambda: _tell(notify, b"READY=1"))
    try:
        await worker.start()
    except asyncio.CancelledError:
        _tell(notify, b"STOPPING=1")


def _stop_on_signals() -> None:
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None
    stopping = asyncio.Event()

    def stop() -> None:
        # Once only: a second cancel would break off the orderly stop of the scans, which is bounded anyway.
        if not stopping.is_set():
            stopping.set()
            task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)


def _tell(address: str, state: bytes) -> None:
    """Systemd's notification protocol (sd_notify(3)); `@` begins an abstract address."""
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as messenger:
        messenger.sendto(state, address.replace("@", "\0", 1) if address.startswith("@") else address)


if __name__ == "__main__":
    run_worker(Settings(), name=None)
