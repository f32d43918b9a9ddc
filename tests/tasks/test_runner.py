"""Foreign programs: started clean, held to their limits, and never outliving their unit."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from uuid import uuid4

import pytest

from footprint.errors import InstallationError
from tasks import runner
from tasks.runner import OUTPUT_CAP, Containment, Limits, _run, containment, run
from tasks.tool import Command, Ending, Output
from tests.processes import wait_until_gone, wait_until_there

STUBBORN = """
trap '' TERM INT HUP
setsid sh -c 'trap "" TERM; sleep 300' &
(sleep 300 &) &
echo started
while :; do sleep 300; done
"""

PLAIN = "echo started; exec sleep 300"


def _script(text: str) -> Command:
    return Command(("sh", "script"), {"script": text})


def _limits(tmp_path: Path, seconds: float = 20) -> Limits:
    return Limits(seconds, tmp_path, uuid4())


def test_output_errors_and_code_come_apart(tmp_path: Path) -> None:
    output = run(_script("echo out; echo err >&2; exit 3"), _limits(tmp_path))
    assert (output.stdout, output.stderr.strip(), output.returncode) == ("out\n", "err", 3)
    assert output.ending is Ending.EXITED


def test_the_environment_holds_nothing_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_API_AUTH_STRING", "secret")
    limits = _limits(tmp_path)
    names = {line.partition("=")[0] for line in run(Command(("env",)), limits).stdout.splitlines()}
    assert names - {"PWD"} == {"PATH", "LC_ALL", "HOME", "TMPDIR", "PULSAR_SCAN"}  # bubblewrap says where it is, too


def test_its_input_is_empty_and_it_leaves_no_core(tmp_path: Path) -> None:
    output = run(_script("cat; ulimit -c"), _limits(tmp_path))
    assert output.stdout.strip() == "0"


def test_words_reach_the_program_as_they_are_and_no_shell_reads_them(tmp_path: Path) -> None:
    hostile = ("$(touch owned)", "`touch owned`", "'; touch owned; '", "a\nb", "*", "")
    output = run(Command(("printf", "%s|", *hostile)), _limits(tmp_path))
    assert output.stdout == "".join(f"{word}|" for word in hostile)
    assert not list(tmp_path.rglob("owned"))


def test_files_are_there_while_it_runs_and_gone_afterwards(tmp_path: Path) -> None:
    output = run(Command(("cat", "targets"), {"targets": "192.0.2.1\n"}), _limits(tmp_path))
    assert output.stdout == "192.0.2.1\n"
    assert list(tmp_path.iterdir()) == []


def test_what_it_was_to_write_is_read_and_what_it_did_not_write_is_not_there(tmp_path: Path) -> None:
    command = Command(
        ("sh", "script"), {"script": r"printf 'sent\377' >meta; echo more >other"}, keeps=("meta", "absent")
    )
    output = run(command, _limits(tmp_path))
    assert output.files == {"meta": "sent\N{REPLACEMENT CHARACTER}"}
    assert list(tmp_path.iterdir()) == []


def test_it_is_asked_to_end_with_the_signal_it_understands(tmp_path: Path) -> None:
    script = "trap 'echo saved >result; exit 0' INT; trap '' TERM; while :; do sleep 0.1; done"
    command = Command(("sh", "script"), {"script": script}, keeps=("result",), stop_signal=signal.SIGINT)
    assert run(command, _limits(tmp_path, seconds=1)).files == {"result": "saved\n"}
    stopped = Limits(20, tmp_path, uuid4())
    threading.Timer(0.5, stopped.stopped.set).start()
    assert run(command, stopped).ending is Ending.STOPPED


def test_bytes_that_are_no_text_are_replaced(tmp_path: Path) -> None:
    assert run(_script(r"printf 'a\377b'"), _limits(tmp_path)).stdout == "a\N{REPLACEMENT CHARACTER}b"


def test_a_flood_is_cut_at_the_cap(tmp_path: Path) -> None:
    output = run(Command(("yes",)), _limits(tmp_path))
    assert output.ending is Ending.CAPPED
    assert len(output.stdout) == OUTPUT_CAP


def test_a_program_that_does_not_exist_fails_with_its_reason(tmp_path: Path) -> None:
    output = run(Command(("no-such-scanner",)), _limits(tmp_path))
    assert output.returncode == 127
    assert "no-such-scanner" in output.stderr


def test_progress_is_told_while_it_runs(tmp_path: Path) -> None:
    pieces: list[str] = []
    run(_script("for n in 1 2 3; do echo $n; sleep 0.8; done"), _limits(tmp_path), pieces.append)
    assert "1" in pieces[0]
    assert len(pieces) >= 2
    assert "".join(pieces) == "1\n2\n3\n"[: len("".join(pieces))]


@pytest.mark.parametrize("contained", list(Containment))
def test_a_stubborn_program_ends_at_its_deadline(tmp_path: Path, contained: Containment) -> None:
    limits = _limits(tmp_path, seconds=1)
    (tmp_path / "script").write_text(
        STUBBORN if contained is not Containment.PARENT_DEATH else "echo started; exec sleep 300"
    )
    output = _run(Command(("sh", "script")), limits, contained, lambda text: None)
    assert output.ending in (Ending.TIMED_OUT, Ending.KILLED)
    assert output.seconds < 10
    assert limits.mark is not None
    assert wait_until_gone(limits.mark, 2) == set()


def test_what_it_wrote_before_its_deadline_is_kept(tmp_path: Path) -> None:
    output = run(_script("echo early; sleep 300"), _limits(tmp_path, seconds=1))
    assert (output.stdout, output.ending) == ("early\n", Ending.TIMED_OUT)


@pytest.mark.parametrize("contained", [Containment.BUBBLEWRAP, Containment.UNSHARE])
def test_the_stop_flag_ends_the_whole_tree(tmp_path: Path, contained: Containment) -> None:
    limits = _limits(tmp_path, seconds=60)
    assert limits.mark is not None
    (tmp_path / "script").write_text(STUBBORN)
    timer = threading.Timer(1.0, limits.stopped.set)
    timer.start()
    output = _run(Command(("sh", "script")), limits, contained, lambda text: None)
    timer.join()
    assert output.ending is Ending.STOPPED
    assert output.seconds < 8
    assert wait_until_gone(limits.mark, 2) == set()


@pytest.mark.parametrize("contained", list(Containment))
def test_nothing_survives_a_kill_of_the_process_that_started_it(tmp_path: Path, contained: Containment) -> None:
    mark = uuid4()
    (tmp_path / "script").write_text(
        STUBBORN if contained is not Containment.PARENT_DEATH else "echo started; exec sleep 300"
    )
    code = (
        "import sys; from pathlib import Path; from uuid import UUID\n"
        "from tasks.runner import Containment, Limits, _run; from tasks.tool import Command\n"
        "_run(Command(('sh', 'script')), Limits(120, Path(sys.argv[1]), UUID(sys.argv[2])), "
        "Containment(sys.argv[3]), print)"
    )
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    environment = {**os.environ, "TMPDIR": str(temporary)}
    words = [sys.executable, "-c", code, str(tmp_path), str(mark), str(contained)]
    parent = subprocess.Popen(words, stdout=subprocess.DEVNULL, env=environment)
    try:
        wait_until_there(mark)
        until = time.monotonic() + 20
        while "started" not in (tmp_path / "stdout").read_text():
            assert time.monotonic() < until
            time.sleep(0.05)
        os.kill(parent.pid, signal.SIGKILL)
    finally:
        parent.kill()
        parent.wait()
    left = wait_until_gone(mark, 5)
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert left == set()
    assert list(temporary.iterdir()) == []


def test_the_best_containment_that_works_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    works = {Containment.UNSHARE, Containment.PARENT_DEATH}

    def trial(command: Command, limits: Limits, contained: Containment, watch: object) -> Output:
        return Output("", returncode=0 if contained in works else 1)

    monkeypatch.setattr(runner, "_run", trial)
    assert containment.__wrapped__() is Containment.UNSHARE
    works.clear()
    with pytest.raises(InstallationError, match="bubblewrap"):
        containment.__wrapped__()
