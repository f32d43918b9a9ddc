"""The worker's side of the process that flow runs are forked from (`deployments.cradle`)."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from uuid import uuid4

from deployments.cradle import LARGEST_MESSAGE, Birth, News


class NurseryLost(RuntimeError):
    """The nursery ended while something was wanted of it."""


class Offspring:
    """A forked process, as its worker sees it. `returncode` is None while it lives."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._ended = asyncio.Event()

    async def wait(self) -> int:
        """Wait for its end and give its exit code."""
        await self._ended.wait()
        assert self.returncode is not None
        return self.returncode

    def conclude(self, exit_code: int) -> None:
        """Record the end; only the first one counts."""
        if self.returncode is None:
            self.returncode = exit_code
        self._ended.set()


class Nursery:
    """The worker's side: starts the process, asks for births, hears of deaths. Belongs to one event loop.

    `root` is where the code is and where offspring work, `preload` the modules they share, `log` what takes their
    output.
    """

    def __init__(self, *, root: Path, preload: Sequence[str], log: Path) -> None:
        self.root = root
        self.log = log
        self._preload = tuple(preload)
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._ready = asyncio.Event()
        self._awaited: dict[str, asyncio.Future[Offspring]] = {}
        self._alive: dict[str, Offspring] = {}

    def start(self) -> None:
        """Start the process, unless it runs; does not wait for its imports."""
        if self._socket is not None:
            return
        self._reap()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        for end in (ours, theirs):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, LARGEST_MESSAGE)
        with theirs, self.log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                [sys.executable, "-m", "deployments.cradle", *self._preload],
                cwd=self.root,
                stdin=theirs.fileno(),
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        ours.setblocking(False)
        self._socket = ours
        self._ready.clear()
        asyncio.get_running_loop().add_reader(ours.fileno(), self._hear)

    async def ready(self) -> None:
        """Wait for its imports to be done. Raises `NurseryLost` where it ends instead."""
        await self._ready.wait()
        if self._socket is None:
            raise NurseryLost(f"the process that starts flow runs ended at once; see {self.log}")

    async def bear(self, main: str, *arguments: str, env: Mapping[str, str]) -> Offspring:
        """Fork a process that calls `main`, and return once it leads its own session.

        Starts the nursery where it is gone. Raises `NurseryLost` where nothing came of it.
        """
        self.start()
        assert self._socket is not None
        birth = Birth(uuid4().hex, main, arguments, dict(env), str(self.root), str(self.log))
        future: asyncio.Future[Offspring] = asyncio.get_running_loop().create_future()
        self._awaited[birth.key] = future
        try:
            await asyncio.get_running_loop().sock_sendall(self._socket, json.dumps(asdict(birth)).encode())
            return await future
        finally:
            del self._awaited[birth.key]

    def close(self) -> None:
        """Let the nursery go; what it bore lives on."""
        if self._socket is not None:
            self._forget_socket()
        self._reap()

    def _reap(self) -> None:
        if self._process is not None:
            self._process.wait()
            self._process = None

    def _forget_socket(self) -> None:
        assert self._socket is not None
        asyncio.get_running_loop().remove_reader(self._socket.fileno())
        self._socket.close()
        self._socket = None

    def _hear(self) -> None:
        assert self._socket is not None
        try:
            letter = self._socket.recv(LARGEST_MESSAGE)
        except ConnectionResetError:
            letter = b""
        if letter:
            self._take(News(**json.loads(letter)))
        else:
            self._lose()

    def _take(self, news: News) -> None:
        if news.event == "ready":
            self._ready.set()
        elif news.event == "died":
            self._bury(news.key, news.exit_code or 0)
        elif (future := self._awaited.get(news.key)) is None or future.done():
            signal_group(news.pid, signal.SIGKILL)  # whoever asked was cancelled meanwhile
        else:
            self._alive[news.key] = offspring = Offspring(news.pid)
            future.set_result(offspring)

    def _bury(self, key: str, exit_code: int) -> None:
        if (offspring := self._alive.pop(key, None)) is not None:
            offspring.conclude(exit_code)
        elif (future := self._awaited.get(key)) is not None and not future.done():
            future.set_exception(NurseryLost(f"the process ended at birth with status {exit_code}; see {self.log}"))

    def _lose(self) -> None:
        # Nobody is left to tell how the offspring end, so they end now.
        self._forget_socket()
        self._ready.set()
        for future in self._awaited.values():
            if not future.done():
                future.set_exception(NurseryLost(f"the process that starts flow runs died; see {self.log}"))
        for offspring in self._alive.values():
            signal_group(offspring.pid, signal.SIGKILL)
            offspring.conclude(-signal.SIGKILL)
        self._alive.clear()


def signal_group(pid: int, number: int) -> bool:
    """Signal a whole process group; False where nothing of it is left, or nothing that is ours to signal."""
    try:
        os.killpg(pid, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True
