"""Scans carried out without a platform: the real conductor and units, each scan in a process of its own, one store.

    with Playing(side, home, scope_allow=...) as playing:
        first, second = playing.ask("10.87.0.0/27", policy), playing.ask("10.87.0.0/27", policy)
        playing.carry_out(first, second, seconds=60)

Each process is to the store what a run of a worker is; only Prefect is missing, and with it a server to start.
"""

from __future__ import annotations

import concurrent.futures
import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from footprint.admission import NewScan, scope_of
from footprint.policy import ScanPolicy
from footprint.settings import Settings
from footprint.store import migrate, open_store
from footprint.store.scans import Begun, begin, insert_scan
from footprint.target import parse_target
from tests.estate.namespaces import Side

REPOSITORY = Path(__file__).parents[2]


class Playing:
    """An installation of its own, whose scans run on one side of a cable. `settings` are its environment's."""

    def __init__(self, side: Side, home: Path, **settings: str) -> None:
        self._side = side
        own = {"home": str(home), **settings}
        self._environment = {f"PULSAR_{name.upper()}": value for name, value in own.items()}
        self._url = f"sqlite:///{home / 'pulsar.db'}"
        migrate(self._url)
        self.store = open_store(self._url)
        self._settings = Settings.model_validate({"home": home, **settings})

    def ask(self, target: str, policy: ScanPolicy) -> UUID:
        """Write a scan down; raises what its admission raises."""
        wanted = parse_target(target)
        scope_of(self._settings, wanted, policy).admit(wanted)
        with self.store.write() as session:
            return insert_scan(session, NewScan(wanted, policy, "", "api"))[0].id

    def start(self, scan_id: UUID) -> subprocess.Popen[Any]:
        """Begin a scan in a process of its own."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("PULSAR_", "PREFECT_"))}
        argv = [sys.executable, "-m", "tests.estate.playing", str(scan_id)]
        return self._side.popen(argv, env=inherited | self._environment, cwd=REPOSITORY, stdout=subprocess.PIPE)

    def carry_out(self, *scans: UUID, seconds: float) -> list[str]:
        """Carry scans out side by side; how each ended. Raises `subprocess.TimeoutExpired`."""
        until = time.monotonic() + seconds
        running = [self.start(scan_id) for scan_id in scans]
        try:
            return [one.communicate(timeout=max(0.1, until - time.monotonic()))[0].decode() for one in running]
        finally:
            for one in running:
                one.kill()
                one.wait()


class _Running:
    """What stands in for Prefect's future."""

    def __init__(self, future: concurrent.futures.Future[Any]) -> None:
        self._future = future

    def add_done_callback(self, done: Callable[[Any], object]) -> None:
        """Have it called once the unit has ended."""
        self._future.add_done_callback(lambda _: done(self))

    def wait(self, timeout: float) -> None:
        """Wait for the unit's end."""
        concurrent.futures.wait([self._future], timeout)


class _Units:
    """What stands in for the Prefect task: the same function, in a thread."""

    def __init__(self, carry_out: Callable[[Begun, str, int], Any]) -> None:
        self._carry_out = carry_out
        self._pool = concurrent.futures.ThreadPoolExecutor(64)

    def submit(self, scan: Begun, module: str, batch: int) -> _Running:
        """Begin a unit."""
        return _Running(self._pool.submit(self._carry_out, scan, module, batch))


class _Unseen:
    """What stands in for the progress in the Prefect UI."""

    def __init__(self, *_: object) -> None: ...

    def show(self, *_: object) -> None: ...

    def complete(self, publish: Callable[[], None]) -> None: ...

    def close(self) -> None: ...


def main(scan_id: UUID) -> None:
    """Carry one scan out in this process, and say how it ended."""
    from flows import conduct
    from tasks import run_scan
    from tasks.installation import installation

    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    units = _Units(run_scan.run_scan.fn)
    for module in (conduct, run_scan):
        setattr(module, "get_run_logger", lambda: logging.getLogger("playing"))  # noqa: B010 -- not its type
    for name, stand_in in (("run_scan", units), ("ProgressReport", _Unseen)):
        setattr(conduct, name, stand_in)
    with installation().store.write() as session:
        scan = begin(session, scan_id, uuid4())
    with conduct.Conductor(scan) as conductor:
        conductor.play()
        sys.stdout.write(f"{conductor.conclude().message}\n")


if __name__ == "__main__":
    main(UUID(sys.argv[1]))
