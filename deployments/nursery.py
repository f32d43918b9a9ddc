"""A process that has imported all a flow run needs, and forks flow runs off itself.

A fresh interpreter spends its first seconds importing Prefect; a fork has done so already. The worker starts one
nursery (`python -m deployments.nursery MODULE…`) with one end of a socket pair as its standard input and asks it for
births; what is born is a process like any other: leader of its own session, nothing of the nursery's standard
streams, ended by the interpreter's ordinary shutdown. The nursery runs no threads and no event loop, so that forking
it is safe, and it ends with its worker; flow runs do not: they complete by themselves.

Each message on the socket is one datagram of JSON: `Birth` to the nursery, `News` from it. Linux only (pidfd).
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import importlib
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NoReturn
from uuid import uuid4

LARGEST_MESSAGE = 1 << 20
"""Bytes. An environment may hold 128 KiB a variable; the socket's buffers are asked to take this much."""

PR_SET_NAME = 15


@dataclass(frozen=True, slots=True)
class Birth:
    """What to run: `main` is `module:function`, called with `arguments`; its result is the exit code."""

    key: str
    main: str
    arguments: tuple[str, ...]
    env: dict[str, str]
    cwd: str
    log: str


@dataclass(frozen=True, slots=True)
class News:
    """What happened: `ready` (key empty), `born` or `died`; `exit_code` is negative where a signal ended it."""

    event: str
    key: str = ""
    pid: int = 0
    exit_code: int | None = None


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
                [sys.executable, "-m", __spec__.name, *self._preload],
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
            self._socket.send(json.dumps(asdict(birth)).encode())
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
        # Nobody is left to tell how the offspring end: they are stopped, and their engines report that.
        self._forget_socket()
        self._ready.set()
        for future in self._awaited.values():
            if not future.done():
                future.set_exception(NurseryLost(f"the process that starts flow runs died; see {self.log}"))
        for offspring in self._alive.values():
            signal_group(offspring.pid, signal.SIGTERM)
            offspring.conclude(-signal.SIGTERM)
        self._alive.clear()


def signal_group(pid: int, number: int) -> bool:
    """Signal a whole process group; False where nothing of it is left."""
    try:
        os.killpg(pid, number)
    except ProcessLookupError:
        return False
    return True


def main(modules: Sequence[str]) -> NoReturn:
    """Be a nursery until the worker goes; in a child, be the child."""
    worker = socket.socket(fileno=os.dup(0))
    _preload(modules)
    birth = _serve(worker)
    sys.exit(0 if birth is None else _live(birth, worker))


def _preload(modules: Sequence[str]) -> None:
    for module in modules:
        try:
            importlib.import_module(module)
        except Exception:
            # The flow run that needs it will fail with the same error, where its owner sees it.
            traceback.print_exc()
    gc.collect()
    gc.freeze()  # so that a child's collections do not copy the pages it shares


def _serve(worker: socket.socket) -> Birth | None:
    """Answer requests; returns a `Birth` in a forked child, None in the nursery once its worker is gone."""
    children: dict[int, str] = {}
    with selectors.DefaultSelector() as ready:
        ready.register(worker, selectors.EVENT_READ)
        _tell(worker, News("ready"))
        while True:
            for key, _ in ready.select():
                if key.fileobj is not worker:
                    _mourn(worker, ready, key, children)
                elif (birth := _receive(worker)) is None:
                    return None
                elif (pid := os.fork()) == 0:
                    return birth
                else:
                    children[pid] = birth.key
                    ready.register(os.pidfd_open(pid), selectors.EVENT_READ, data=pid)


def _receive(worker: socket.socket) -> Birth | None:
    try:
        letter = worker.recv(LARGEST_MESSAGE)
    except ConnectionResetError:
        return None
    if not letter:
        return None
    wish = json.loads(letter)
    return Birth(**{**wish, "arguments": tuple(wish["arguments"])})


def _mourn(
    worker: socket.socket, ready: selectors.BaseSelector, key: selectors.SelectorKey, children: dict[int, str]
) -> None:
    assert isinstance(key.fileobj, int)
    ready.unregister(key.fileobj)
    os.close(key.fileobj)
    _, status = os.waitpid(key.data, 0)
    _tell(worker, News("died", children.pop(key.data), key.data, os.waitstatus_to_exitcode(status)))


def _tell(worker: socket.socket, news: News) -> None:
    try:
        worker.send(json.dumps(asdict(news)).encode())
    except (BrokenPipeError, ConnectionResetError):
        # The worker is gone; the next read says so.
        return


def _live(birth: Birth, worker: socket.socket) -> int:
    """In the child: become a process of its own, then run what it was born for."""
    os.setsid()
    # Only now may the worker signal the group: before, the group was the nursery's.
    _tell(worker, News("born", birth.key, os.getpid()))
    worker.close()
    ctypes.CDLL(None).prctl(PR_SET_NAME, b"pulsar-run", 0, 0, 0)
    _take_streams(Path(birth.log))
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.chdir(birth.cwd)
    _take_environment(birth.env)
    module, _, function = birth.main.partition(":")
    result = getattr(importlib.import_module(module), function)(list(birth.arguments))
    return int(result or 0)


def _take_streams(log: Path) -> None:
    # A file, never a pipe: whatever inherits it keeps nobody waiting for its end.
    null = os.open(os.devnull, os.O_RDWR)
    out = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.dup2(null, 0)
    os.dup2(out, 1)
    os.dup2(out, 2)
    os.close(null)
    os.close(out)


def _take_environment(env: Mapping[str, str]) -> None:
    os.environ.clear()
    os.environ.update(env)
    if "prefect" in sys.modules:
        from prefect.context import refresh_global_settings_context
        from prefect.logging.configuration import setup_logging

        refresh_global_settings_context()
        setup_logging(incremental=True)


if __name__ == "__main__":
    main(sys.argv[1:])
