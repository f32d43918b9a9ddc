"""What `pulsar worker` runs: the forking worker on the pool `pulsar`. Also `python -m deployments.worker [NAME]`.

`prefect worker start --pool pulsar` works as well; it only takes longer to start a scan.
"""

from __future__ import annotations

import asyncio
import math
import os
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import Callable
from contextlib import closing, suppress

from deployments.blueprint import CODE_ROOT, POOL
from deployments.grace import Grace
from deployments.log_files import keep_bounded
from deployments.nursery import Nursery
from footprint.errors import InstallationError, StoreNotMigrated, StoreUnavailable
from footprint.held_directories import clear_forsaken, held_directory
from footprint.settings import Settings

_ENGINE = ("prefect.flow_engine", "prefect.task_engine", "prefect.runner._workspace_runtime_bootstrap")
PRELOAD = (*_ENGINE, "flows.scan", "flows.maintenance")
"""What every flow run needs: imported once, in the process they are forked from."""
LONGEST_STOP = 14
"""Seconds. Only a Prefect server that went away first makes a stop this long: the worker would wait for its answers."""


def run_worker(settings: Settings, *, name: str | None) -> None:
    """Take scans from the pool until SIGTERM or SIGINT; scans that run are then stopped and reported.

    At SIGTERM the units that run get `PULSAR_GRACE_SECONDS` to end, and none is begun; at SIGINT, or a second signal,
    they are stopped at once. So give it that long and `LONGEST_STOP` more before it is killed.

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
    with held_directory(settings.work_dir, "worker-") as temporary:
        # Prefect's runner keeps a directory where temporary files are kept, and a kill -9 leaves it there.
        tempfile.tempdir = str(temporary)
        asyncio.run(work(nursery, name=name, tidy=lambda: _tidy(settings), grace=settings.grace_seconds))


async def work(
    nursery: Nursery,
    *,
    name: str | None = None,
    pool: str = POOL,
    tidy: Callable[[], None] = lambda: None,
    grace: float = 0.0,
) -> None:
    """Be a worker with this nursery until a signal comes. `tidy` is called in a thread before the first run."""
    given = Grace(grace)
    _stop_on_signals(given)
    notify = os.environ.pop("NOTIFY_SOCKET", "")
    nursery.start()
    # Not before: this takes as long as the imports that now go on in the other process.
    from prefect.context import refresh_global_settings_context

    from deployments.forking import ForkingWorker, server_answers

    refresh_global_settings_context()  # whoever imported Prefect before us did so without our environment
    bounded = asyncio.create_task(keep_bounded(nursery.log))
    worker = ForkingWorker(pool, nursery=nursery, name=name, on_ready=lambda: _tell(notify, b"READY=1"), grace=given)
    try:
        await asyncio.gather(server_answers(), asyncio.to_thread(tidy))
        await worker.start()
    except asyncio.CancelledError:
        _tell(notify, b"STOPPING=1")
    finally:
        bounded.cancel()
        nursery.close()


def _tidy(settings: Settings) -> None:
    clear_forsaken(settings.work_dir)
    _take_down_fences(settings)
    _clear_spool(settings)


def _clear_spool(settings: Settings) -> None:
    """Drop what this machine still keeps of scans that have ended: the API does not see it, where it is elsewhere."""
    if not settings.spool_dir.is_dir():
        return
    from footprint.spool import Spool
    from footprint.store import open_store
    from footprint.store.spooled import clear_spool

    with suppress(StoreUnavailable, StoreNotMigrated), closing(open_store(settings.store_url)) as store:
        clear_spool(store, Spool(settings.spool_dir))


def _take_down_fences(settings: Settings) -> None:
    """Remove the rules that killed scans have left in the kernel, also where tools are fenced no longer."""
    if os.geteuid() != 0 or shutil.which("nft") is None:
        return
    from tasks.fence import remove_stale

    # Where no program can be started none was fenced either.
    with suppress(InstallationError):
        remove_stale(settings.work_dir)


def _stop_on_signals(grace: Grace) -> None:
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None
    stopping = asyncio.Event()

    def stop(number: signal.Signals) -> None:
        is_first, had_grace = not stopping.is_set(), grace.seconds > 0
        if number is signal.SIGINT or not is_first:
            grace.end()
        if is_first or had_grace:
            signal.alarm(math.ceil(LONGEST_STOP + grace.seconds))
        if is_first:
            # Once only: a second cancel would break off the orderly stop of the scans, which is bounded anyway.
            stopping.set()
            task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop, number)


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
