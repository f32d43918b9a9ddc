"""Logs stay within their bounds while processes go on to write them."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deployments import log_files, platform
from deployments.blueprint import Blueprint
from deployments.log_files import bound, keep_bounded
from deployments.platform import Platform
from deployments.processes import Process
from footprint.settings import Settings

LARGEST = 20_000
CHATTER = """
import sys, time
number = 0
while True:
    print(f"line {number:09}", flush=True)
    number += 1
    if number % 50 == 0:
        time.sleep(0.002)
"""


def becomes_true(truth: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not truth():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A log, where little is much."""
    monkeypatch.setattr(log_files, "LARGEST_LOG", LARGEST)
    return tmp_path / "logs" / "api.log"


@pytest.fixture
def chatter(log: Path) -> Iterator[Process]:
    """A process that writes and writes, as the parts of a platform do."""
    process = Process(
        "the chatter", (sys.executable, "-c", CHATTER), env=dict(os.environ), cwd=log.parents[1], log=log,
        leash=signal.SIGKILL,
    )  # fmt: skip
    yield process
    process.stop(0)


def _aside(log: Path) -> Path:
    return log.with_name("api.log.1")


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def test_a_log_is_put_aside_while_it_is_written_and_goes_on_at_its_beginning(log: Path, chatter: Process) -> None:
    for _ in range(3):
        becomes_true(lambda: _size(log) > LARGEST)
        assert bound(log)
    becomes_true(lambda: _size(log) > 100)
    kept, now = _aside(log).read_bytes(), log.read_bytes()
    assert LARGEST <= len(kept) < 10 * LARGEST
    assert b"\0" not in kept + now, "it is written in append mode"
    numbers = [int(line.removeprefix(b"line ")) for line in (kept + now).splitlines()[1:-1] if len(line) == 14]
    assert numbers == sorted(numbers)
    assert sorted(path.name for path in log.parent.iterdir()) == ["api.log", "api.log.1"]
    assert "line" in chatter.last_words()


def test_last_words_are_found_in_a_log_that_is_shorter_than_when_its_process_began(log: Path) -> None:
    log.parent.mkdir()
    log.write_bytes(b"x" * (LARGEST - 1))
    process = Process("it", ("sleep", "60"), env={}, cwd=log.parent, log=log, leash=signal.SIGKILL)
    try:
        log.write_bytes(b"")
        with log.open("ab") as out:
            out.write(b"the last words\n")
        assert process.last_words() == "the last words"
    finally:
        process.stop(0)


def test_of_a_huge_one_the_end_is_kept(log: Path) -> None:
    log.parent.mkdir()
    log.write_bytes(b"a" * 10 * LARGEST + b"end")
    _aside(log).write_bytes(b"older")
    assert bound(log)
    assert (_size(log), _size(_aside(log)), _aside(log).read_bytes()[-4:]) == (0, LARGEST, b"aend")


def test_what_is_small_absent_or_cannot_be_put_aside_is_left(log: Path) -> None:
    assert not bound(log)
    log.parent.mkdir()
    log.write_bytes(b"a" * LARGEST)
    assert not bound(log)
    log.write_bytes(b"a" * (LARGEST + 1))
    _aside(log).mkdir()
    assert not bound(log)
    assert _size(log) == LARGEST + 1


def test_two_that_look_at_once_do_not_both_put_it_aside(log: Path) -> None:
    log.parent.mkdir()
    log.write_bytes(b"a" * 2 * LARGEST)
    with log.open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert not bound(log)
    assert bound(log)


async def test_a_worker_looks_at_the_log_of_its_runs_again_and_again(log: Path, chatter: Process) -> None:
    keeping = asyncio.create_task(keep_bounded(log, every=0.02))
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(60):
            while not _aside(log).exists():
                await asyncio.sleep(0.02)
    keeping.cancel()
    assert _aside(log).exists()


def test_a_platform_looks_at_the_logs_of_its_parts(
    log: Path, chatter: Process, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platform, "LOOK_SECONDS", 0.02)
    monkeypatch.setattr(platform, "LOGS_SECONDS", 0.02)
    settings = Settings(home=tmp_path)
    watched = Platform(settings, on_event=lambda _said: None)
    watched._parts["api"] = chatter
    blueprint = Blueprint(settings, "http://127.0.0.1:9/api", "", embeds_prefect=False)
    watcher = threading.Thread(target=watched._watch, args=(blueprint,))
    watcher.start()
    try:
        becomes_true(_aside(log).exists)
    finally:
        watched._leaving.set()
        watcher.join()
