"""What a process and all below it hold, as /proc says it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tasks.tree import has_processes, memory_of, start_of, tree_of

KEEPS = "kept = bytearray(b'x' * 30_000_000); import sys; print('kept', flush=True); sys.stdin.read()"
HAS_CHILDREN = """
import os, sys
if os.fork() == 0 and os.fork() == 0:
    open('/proc/self/comm', 'w').write(') R 1 (')
    print(os.getpid(), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def started(request: pytest.FixtureRequest) -> Iterator[subprocess.Popen[str]]:
    """A Python process with a program of its own, which ends with its input."""
    words = [sys.executable, "-c", request.param]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield process


def _line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


@pytest.mark.parametrize("started", [HAS_CHILDREN], indirect=True)
def test_a_tree_is_a_process_and_all_below_it_whatever_they_call_themselves(started: subprocess.Popen[str]) -> None:
    grandchild = int(_line(started))
    tree = list(tree_of(started.pid))
    assert (tree[0], len(tree), len(set(tree))) == (started.pid, 3, 3)
    assert grandchild in tree
    assert os.getpid() not in tree
    assert started.pid in tree_of(os.getpid())


@pytest.mark.parametrize("started", [KEEPS], indirect=True)
def test_what_a_process_has_for_itself_is_its_memory_and_a_dead_one_has_none(started: subprocess.Popen[str]) -> None:
    assert _line(started) == "kept\n"
    assert 30_000_000 < memory_of(started.pid) < 60_000_000
    started.send_signal(signal.SIGKILL)
    started.wait()
    assert memory_of(started.pid) == 0
    assert list(tree_of(started.pid)) == [started.pid]


def test_when_a_process_began_tells_it_from_a_later_one_of_its_number() -> None:
    own = start_of(os.getpid())
    assert own is not None
    with subprocess.Popen(["sleep", "60"]) as later:
        assert (start_of(later.pid) or 0) >= own
        later.kill()
    assert start_of(later.pid) is None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may start a process of another")
def test_the_processes_of_an_id_are_seen_while_they_are_there() -> None:
    assert not has_processes(60991)
    with subprocess.Popen(["sleep", "60"], user=60991, group=60991) as process:
        assert has_processes(60991)
        process.kill()
    assert not has_processes(60991)
