"""The processes a platform consists of: started on a leash, with a log each, and stopped within a bound."""

from __future__ import annotations

import contextlib
import os
import random
import select
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Self

from deployments.log_files import bound
from footprint.errors import PlatformError

LOOK_SECONDS = 0.1
SAID_LINES = 5
LISTENING = "0A"
"""A socket's state in /proc/net/tcp."""
QUIET_PORTS = range(10_240, 32_768)
"""Linux gives none of these to anybody who asks for any port, so one that was free stays so until it is bound."""
PORT_TRIES = 20


class Process:
    """One process in a session of its own, that ends with the thread that started it by `leash` at the latest."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: Path,
        log: Path,
        leash: signal.Signals,
        stop_signal: signal.Signals = signal.SIGTERM,
    ) -> None:
        self.name = name
        self.log = log
        self._stop_signal = stop_signal
        log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        bound(log)
        self._log_start = log.stat().st_size if log.exists() else 0
        holder = [sys.executable, "-I", str(Path(__file__).with_name("leash.py")), str(leash.value), str(os.getpid())]
        with log.open("ab") as out:
            self._popen = subprocess.Popen(  # noqa: S603 - an argument list of our own making
                [*holder, *command],
                env=dict(env),
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        self.pid = self._popen.pid

    def exit_code(self) -> int | None:
        """How it ended, or None while it runs."""
        return self._popen.poll()

    def stop(self, seconds: float) -> None:
        """Its stop signal, then SIGKILL when it takes longer than `seconds`; returns when it is gone."""
        if self.exit_code() is None:
            self._popen.send_signal(self._stop_signal)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._popen.wait(seconds)
        self._popen.kill()
        self._popen.wait()

    def last_words(self) -> str:
        """The last lines it wrote since it was started."""
        with self.log.open("rb") as log:
            size = self.log.stat().st_size
            # One that is shorter than it was has been put aside since.
            log.seek(max(self._log_start if self._log_start <= size else 0, size - 20_000))
            lines = log.read().decode(errors="replace").splitlines()
        return "\n".join(lines[-SAID_LINES:])

    def check(self) -> None:
        """Raise `PlatformError` with its last words where it has ended."""
        if (code := self.exit_code()) is not None:
            said = self.last_words() or "it wrote nothing"
            raise PlatformError(f"{self.name} ended with status {code}: {said}", hint=f"its log is {self.log}")


class Listener:
    """Hears from a process that it is ready, as systemd would (sd_notify(3)); `address` is for `NOTIFY_SOCKET`."""

    def __init__(self) -> None:
        name = f"pulsar-{uuid.uuid4().hex}"
        self.address = f"@{name}"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._socket.bind(f"\0{name}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def has_heard(self) -> bool:
        """Whether it said so since the last time this was asked."""
        try:
            return b"READY=1" in self._socket.recv(4096)
        except BlockingIOError:
            return False


def until(truth: Callable[[], bool], what: str, seconds: float, needed: Sequence[Process]) -> None:
    """Wait for something to be true. Raises `PlatformError` when a process it needs ends, or it takes too long."""
    deadline = time.monotonic() + seconds
    while not truth():
        for process in needed:
            process.check()
        if time.monotonic() > deadline:
            logs = " and ".join(str(process.log) for process in needed)
            raise PlatformError(f"{what} within {seconds:.0f} seconds", hint=f"look at {logs}" if logs else "")
        time.sleep(LOOK_SECONDS)


def trouble_listening(host: str, port: int) -> OSError | None:
    """Why a server could not listen there now. Connections that are ending (TIME_WAIT) are no reason."""
    try:
        _listen_once(host, port)
    except OSError as trouble:
        return trouble
    return None


def listening_ports(*pids: int) -> list[int]:
    """The TCP ports that these processes listen on, this very one where none is given (proc(5), /proc/net/tcp)."""
    own = set()
    for pid in pids or ("self",):
        with contextlib.suppress(OSError):
            for entry in Path(f"/proc/{pid}/fd").iterdir():
                with contextlib.suppress(OSError):
                    own.add(str(entry.readlink()))
    ports = set()
    for table in ("tcp", "tcp6"):
        for line in Path("/proc/self/net", table).read_text().splitlines()[1:]:
            _, local, _, state, *_, inode = line.split()[:10]
            if state == LISTENING and f"socket:[{inode}]" in own:
                ports.add(int(local.rpartition(":")[2], 16))
    return sorted(ports)


def free_port(host: str) -> int:
    """A port nobody listens on. Raises `OSError` where none is found."""
    for _ in range(PORT_TRIES):
        with contextlib.suppress(OSError):
            return _listen_once(host, random.choice(QUIET_PORTS))  # noqa: S311 -- nothing to guess
    return _listen_once(host, 0)


def _listen_once(host: str, port: int) -> int:
    family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(address)
        probe.listen(1)
        return int(probe.getsockname()[1])


def end_strays(mark: str, seconds: float) -> None:
    """End every process whose environment began with `mark` (`NAME=value`): SIGTERM, patience, SIGKILL."""
    strays = list(_marked(mark.encode()))
    for number in (signal.SIGTERM, signal.SIGKILL):
        for stray in strays:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(stray, number)
        _await_ends(strays, seconds)
    for stray in strays:
        os.close(stray)


def _marked(mark: bytes) -> Iterator[int]:
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        with contextlib.suppress(OSError), contextlib.ExitStack() as unwanted:
            # First the handle, then the look: the number could have passed to another process in between.
            handle = os.pidfd_open(int(entry.name))
            unwanted.callback(os.close, handle)
            if mark in (entry / "environ").read_bytes().split(b"\0"):
                unwanted.pop_all()
                yield handle


def _await_ends(handles: Sequence[int], seconds: float) -> None:
    watch = select.poll()
    for handle in handles:
        watch.register(handle, select.POLLIN)
    left, deadline = len(handles), time.monotonic() + seconds
    while left and (wait := deadline - time.monotonic()) > 0:
        for handle, _ in watch.poll(wait * 1000):
            watch.unregister(handle)
            left -= 1
