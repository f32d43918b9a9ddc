"""Pulsar in the scanner's namespace: the real command with a home and settings of its own, and what it found."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from tests.estate import addresses as at
from tests.estate.comparison import Seen, newest_scan
from tests.estate.estate import REPOSITORY
from tests.estate.namespaces import Side

FEEDS = REPOSITORY / "tests" / "fixtures" / "feeds"
STOP_SECONDS = 60.0
COMMAND = (sys.executable, "-c", "from deployments.command import main; main()")


class Ground(Protocol):
    """What is scanned: from which side, and the PEM file of the authority that issued its certificates."""

    @property
    def scanner(self) -> Side: ...

    @property
    def authority(self) -> Path: ...


class Pulsar:
    """The `pulsar` command beside an estate; its platform asks the estate's name server and nobody else."""

    def __init__(self, estate: Ground, home: Path, **settings: str) -> None:
        self._estate = estate
        self.store_url = f"sqlite:///{home / 'pulsar.db'}"
        own = {
            "home": str(home),
            "resolvers": at.NS1,
            "scope_allow": f"{at.NET},{at.NET6}",
            "scope_exclude": at.EXCLUDED,
            "tls_authorities": str(estate.authority),
        }
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("PULSAR_", "PREFECT_"))}
        named = {f"PULSAR_{name.upper()}": value for name, value in (own | settings).items()}
        self._environment = inherited | named | {"PYTHONPATH": str(REPOSITORY), "DO_NOT_TRACK": "1"}

    def read_feeds(self) -> None:
        """Have the sample of vulnerability feeds read."""
        self._finish(
            self._start(["feeds", "update", "--from", FEEDS], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL), 120
        )

    def scan(self, target: str, policy: str, *, seconds: float, **options: Any) -> int:
        """Scan, and return the command's exit code; `TimeoutError` where it takes longer than `seconds`."""
        return self._finish(self._start(["scan", "--policy", policy, "--", target], **options), seconds)

    @contextmanager
    def platform(self, seconds: float) -> Iterator[None]:
        """The platform, running and answering; `TimeoutError` where it does not answer within `seconds`."""
        with self._while_running(["up"]):
            until = time.monotonic() + seconds
            while self._run(["scans"]).returncode:
                if time.monotonic() > until:
                    raise TimeoutError(f"the platform did not answer within {seconds:.0f} s")
                time.sleep(1)
            yield

    @contextmanager
    def worker(self, name: str) -> Iterator[subprocess.Popen[Any]]:
        """One worker more."""
        with self._while_running(["worker", "--name", name]) as process:
            yield process

    def output(self, words: Sequence[str]) -> str:
        """What the command prints; `subprocess.CalledProcessError` where it fails."""
        done = self._run(words)
        done.check_returncode()
        return done.stdout

    def seen(self) -> Seen:
        """What the newest scan found."""
        return newest_scan(self.store_url)

    def _run(self, words: Sequence[str]) -> subprocess.CompletedProcess[str]:
        return self._estate.scanner.run([*COMMAND, *words], env=self._environment, cwd=REPOSITORY, timeout=STOP_SECONDS)

    @contextmanager
    def _while_running(self, words: Sequence[str]) -> Iterator[subprocess.Popen[Any]]:
        with self._start(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            try:
                yield process
            finally:
                _stop(process)

    def _start(self, words: Sequence[str | Path], **options: Any) -> subprocess.Popen[Any]:
        return self._estate.scanner.popen([*COMMAND, *words], env=self._environment, cwd=REPOSITORY, **options)

    def _finish(self, process: subprocess.Popen[Any], seconds: float) -> int:
        with process:
            try:
                return process.wait(seconds)
            except subprocess.TimeoutExpired:
                raise TimeoutError(f"the scan did not end within {seconds:.0f} s") from None
            finally:
                _stop(process)


def _stop(process: subprocess.Popen[Any]) -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
