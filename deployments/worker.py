"""What `pulsar worker` runs: the forking worker on the pool `pulsar`. Also `python -m deployments.worker [NAME]`.

`prefect worker start --pool pulsar` works as well; it only takes longer to start a scan.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import suppress

from deployments.blueprint import CODE_ROOT, POOL
from deployments.nursery import Nursery
from footprint.errors import InstallationError
from footprint.settings import Settings

_ENGINE = ("prefect.flow_engine", "prefect.task_engine", "prefect.runner._workspace_runtime_bootstrap")
PRELOAD = (*_ENGINE, "flows.scan", "flows.maintenance")
"""What every flow run needs: imported once, in the process they are forked from."""
LONGEST_STOP = 14
"""Seconds. Only a Prefect server that went away first makes a stop this long: the worker would wait for its answers."""


def run_worker(settings: Settings, *, name: str | None) -> None:
    """Take scans from the pool until SIGTERM or SIGINT; scans that run are then stopped and reported.

    `name` is what Prefect calls it; two of one name count as one. Needs `PREFECT_API_URL` (and
    `PREFECT_API_AUTH_STRING`) in the environment, and waits for the server there. Tells systemd, or whoever set
    `NOTIFY_SOCKET`, when it is ready.
    """
    os.environ["PREFECT_WORKER_QUERY_SECONDS"] = str(settings.worker_poll_seconds)
    os.environ.setdefault("DO_NOT_TRACK", "1")
    log = settings.home / "logs" / "runs.log"
    log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    name = name or f"{socket.gethostname()}-{os.getpid()}"
    nursery = Nursery(root=CODE_ROOT, preload=PRELOAD, log=log)
    asyncio.run(work(nursery, name=name, tidy=lambda: _take_down_fences(settings)))


async def work(
    nursery: Nursery, *, name: str | None = None, pool: str = POOL, tidy: Callable[[], None] = lambda: None
) -> None:
    """Be a worker with this nursery until a signal comes. `tidy` is called in a thread before the first run."""
    _stop_on_signals()
    notify = os.environ.pop("NOTIFY_SOCKET", "")
    nursery.start()
    # Not before: this takes as long as the imports that now go on in the other process.
    from prefect.context import refresh_global_settings_context

    from deployments.forking import ForkingWorker, server_answers

    refresh_global_settings_context()  # whoever imported Prefect before us did so without our environment
    worker = ForkingWorker(pool, nursery=nursery, name=name, on_ready=lambda: _tell(notify, b"READY=1"))
    try:
        await asyncio.gather(server_answers(), asyncio.to_thread(tidy))
        await worker.start()
    except asyncio.CancelledError:
        _tell(notify, b"STOPPING=1")
    finally:
        nursery.close()


def _take_down_fences(settings: Settings) -> None:
    """Remove the rules that killed scans have left in the kernel, also where tools are fenced no longer."""
    if os.geteuid() != 0 or shutil.which("nft") is None:
        return
    from tasks.fence import remove_stale

    # Where no program can be started none was fenced either.
    with suppress(InstallationError):
        remove_stale(settings.work_dir)


def _stop_on_signals() -> None:
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None
    stopping = asyncio.Event()

    def stop() -> None:
        # Once only: a second cancel would break off the orderly stop of the scans, which is bounded anyway.
        if not stopping.is_set():
            stopping.set()
            signal.alarm(LONGEST_STOP)
            task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)


def _tell(address: str, state: bytes) -> None:
    """Systemd's notification protocol (sd_notify(3)); `@` begins an abstract address."""
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as messenger:
        try:
            messenger.sendto(state, address.replace("@", "\0", 1) if address.startswith("@") else address)
        except ConnectionRefusedError:
            # Who wanted to know has what it wanted, and closed.
            return


if __name__ == "__main__":
    run_worker(Settings(), name=sys.argv[1] if sys.argv[1:] else None)
