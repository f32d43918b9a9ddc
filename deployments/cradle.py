"""The process that flow runs are forked from: `python -m deployments.cradle MODULE…`, started by `deployments.nursery`.

A fresh interpreter spends its first seconds importing Prefect; a fork has done so already. This process imports what a
flow run needs and waits for births. What is born is a process like any other: leader of its own session, with nothing
of this one's standard streams, ended by the interpreter's ordinary shutdown. There are no threads and no event loop
here, so that forking is safe. It ends with its worker; flow runs do not: they complete by themselves.

Its standard input is a socket to the worker. Each message is one datagram of JSON: `Birth` to here, `News` from here.
Linux only (pidfd).
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import os
import selectors
import signal
import socket
import sys
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NoReturn

from tasks.stopping import heed_winding_down

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


def main(modules: Sequence[str]) -> NoReturn:
    """Bear children until the worker goes; in a child, be the child."""
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
    """Answer requests; returns a `Birth` in a forked child, None here once the worker is gone."""
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
    # Only now may the worker signal the group: before, the group was not ours.
    _tell(worker, News("born", birth.key, os.getpid()))
    worker.close()
    ctypes.CDLL(None).prctl(PR_SET_NAME, b"pulsar-run", 0, 0, 0)
    _take_streams(Path(birth.log))
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    heed_winding_down()  # from the first moment on: the signal may come before there is a scan
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
