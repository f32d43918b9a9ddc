"""The limits of the sandbox for extensions: each ends what goes beyond it, in time, and nothing is left running."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import pytest

from tasks import sandbox
from tasks.sandbox import OUTPUT_CAP, PROCESSES
from tasks.tool import Ending
from tests.processes import wait_until_gone, wait_until_there
from tests.tasks.held import Hold, said


def test_a_fork_bomb_ends_with_its_number_of_processes(hold: Hold) -> None:
    bomb = "import os, time\nwhile True:\n try:\n  os.fork()\n except OSError:\n  time.sleep(0.2)\n"
    held = hold(bomb, "python3", seconds=3, memory=512)
    assert held.output.ending in (Ending.TIMED_OUT, Ending.KILLED)
    counting = "n=0; while sleep 60 & do n=$((n+1)); echo $n; test $n -lt 99 || break; done"
    lines = hold(counting, seconds=3).output.stdout.split()
    assert PROCESSES - 8 < int(lines[-1]) < PROCESSES


HOGS = {
    "one process": "kept = []\nwhile True: kept.append(bytearray(b'x' * 1_000_000)); time.sleep(0.002)",
    "many processes": "[os.fork() for _ in range(3)]\nkept = []\n"
    "while len(kept) < 40: kept.append(bytearray(b'x' * 1_000_000)); time.sleep(0.01)\ntime.sleep(60)",
    "files": "for n in range(59): open(f'/tmp/{n}', 'wb').write(b'x' * 1_000_000); time.sleep(0.01)\ntime.sleep(60)",
    "removed files": "kept = []\nfor n in range(50):\n kept.append(open('/tmp/one', 'wb'))\n"
    " os.truncate('/tmp/one', 0)\n kept[-1].write(b'x' * 1_000_000)\n kept[-1].flush()\n os.remove('/tmp/one')\n"
    "time.sleep(60)",
    "shared memory": "import mmap\nkept = mmap.mmap(-1, 200_000_000)\n"
    "while True: kept.write(b'x' * 1_000_000); time.sleep(0.005)",
    "shared memory by its files": "kept = [bytearray(b'x' * 35_000_000)]\n"
    "for n in range(15): open(f'/dev/shm/{n}', 'wb').write(b'x' * 1_000_000); time.sleep(0.01)\ntime.sleep(60)",
}


@pytest.mark.parametrize("how", HOGS)
def test_all_that_it_holds_counts_as_its_memory(hold: Hold, how: str) -> None:
    held = hold(f"import os, time\n{HOGS[how]}\n", "python3", seconds=30, memory=48)
    assert held.output.ending is Ending.KILLED
    assert held.exceeded == "used more than 48 MiB of memory"
    assert held.output.seconds < 25


def test_one_process_cannot_outrun_the_one_who_looks(hold: Hold) -> None:
    greedy = "try:\n bytearray(2_000_000_000)\nexcept MemoryError:\n print('refused')\n"
    assert said(hold(greedy, "python3")) == ["refused"]


def test_files_without_number_end_it(hold: Hold) -> None:
    held = hold("for n in range(1_000_000): open(f'/tmp/{n}', 'w').close()", "python3", seconds=30)
    assert held.output.ending is Ending.KILLED
    assert held.exceeded == f"made more than {sandbox.INODES} files"


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_gigabyte_of_output_is_cut_off(hold: Hold, stream: str) -> None:
    flood = f"import sys\nfor _ in range(1000): sys.{stream}.write('x' * 1_000_000)\n"
    held = hold(flood, "python3")
    assert held.output.ending is Ending.CAPPED
    assert len(held.output.stdout) == (OUTPUT_CAP if stream == "stdout" else 0)
    assert len(held.output.stderr) <= 4096


def test_a_flood_by_a_child_is_seen_although_its_parent_ends_well(hold: Hold) -> None:
    assert hold("yes >&2; echo fine").output.ending is Ending.CAPPED


DAEMONS = """
setsid sh -c 'trap "" TERM HUP INT; (setsid sleep 300 &) ; sleep 300' >/dev/null 2>&1 &
(setsid sleep 300 >/dev/null 2>&1 &) &
python3 -c 'import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        time.sleep(300)
' >/dev/null 2>&1 &
echo started
"""


def test_what_it_leaves_behind_ends_with_it(hold: Hold) -> None:
    held = hold(f"{DAEMONS} sleep 0.3; exit 0")
    assert said(held) == ["started"]
    assert held.output.seconds < 10


@pytest.mark.parametrize(
    "stubborn",
    [
        "trap '' TERM INT HUP; while :; do sleep 1; done",
        f"{DAEMONS} trap '' TERM; while :; do sleep 1; done",
        # Everything that is not init stands still, `timeout` too: the deadline outside must do.
        "python3 -c 'import os, signal\nos.kill(os.getppid(), signal.SIGSTOP)\nos.kill(-1, signal.SIGSTOP)'; sleep 60",
        "exec >&- 2>&- <&-; sleep 300",
        "while :; do :; done",
    ],
    ids=["deaf", "deaf with daemons", "stops its supervisor", "closes everything", "busy"],
)
def test_what_does_not_end_is_ended(hold: Hold, stubborn: str) -> None:
    held = hold(stubborn, seconds=2)
    assert held.output.ending in (Ending.TIMED_OUT, Ending.KILLED)
    assert held.exceeded == ""


def test_killing_all_that_it_sees_ends_only_itself(hold: Hold) -> None:
    assert hold("kill -9 -1; kill -9 1").output.ending in (Ending.KILLED, Ending.EXITED)


def test_nothing_survives_a_kill_of_the_process_that_runs_the_sandbox(hold: Hold, tmp_path: Path) -> None:
    mark = uuid4()
    code = (
        "import sys; from pathlib import Path; from tasks.runner import Limits; from tasks.sandbox import *\n"
        "run_script(Script('script', sys.argv[1], 'sh'), '', {'PULSAR_SCAN': sys.argv[2]}, "
        "Limits(120, Path(sys.argv[3])), 64)"
    )
    words = [sys.executable, "-c", code, f"{DAEMONS} trap '' TERM; sleep 300", str(mark), str(tmp_path / "work")]
    with subprocess.Popen(words) as parent:
        try:
            wait_until_there(mark, 5)
        finally:
            parent.kill()
    left = wait_until_gone(mark, 5)
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert left == set()


def test_bytes_that_are_no_text_are_replaced(hold: Hold) -> None:
    assert said(hold(r"printf 'a\377\200b\n'")) == ["a\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}b"]


def test_its_own_exit_code_is_told(hold: Hold) -> None:
    output = hold("echo out; echo why >&2; exit 7").output
    assert (output.stdout, output.stderr.strip(), output.returncode) == ("out\n", "why", 7)
