"""A program under an id of its own: without root's powers, and held by all that holds the others."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from uuid import uuid4

import pytest

from tasks.own_user import PLACE
from tasks.runner import OUTPUT_CAP, Limits, run
from tasks.tool import Command, Ending
from tests.processes import wait_until_gone
from tests.tasks.test_runner import STUBBORN

UID = 60990
"""No account's, no fence's, and not the sandbox's."""

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another")


def _script(text: str, *keeps: str) -> Command:
    return Command(("sh", "script"), {"script": text}, keeps=keeps)


@pytest.fixture
def limits(tmp_path: Path) -> Limits:
    """For a program below a directory that nobody but root may enter."""
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    return Limits(20, home / "work", uuid4(), uid=UID)


def test_it_has_raw_sockets_and_no_other_power(limits: Limits) -> None:
    output = run(_script("id -u; id -G; grep -E '^(Cap|NoNewPrivs)' /proc/self/status"), limits)
    ids, words = output.stdout.split("\n", 2)[:2], dict(line.split(":\t") for line in output.stdout.splitlines()[2:])
    assert ids == [str(UID), str(UID)]
    assert words.pop("NoNewPrivs") == "1"
    assert set(words.values()) == {f"{1 << 13:016x}"}  # CAP_NET_RAW


def test_it_reads_and_writes_its_directory_and_nothing_of_ours(limits: Limits, tmp_path: Path) -> None:
    (tmp_path / "home" / "secret").write_text("secret")
    command = _script(
        f"cat script >copy; pwd; echo $HOME; ls -A /dev/shm; cat {tmp_path}/home/secret; cat /etc/shadow", "copy"
    )
    output = run(command, limits)
    assert output.stdout.split() == [PLACE, PLACE, "unit"]
    assert output.stderr.count("Permission denied") == 2
    assert output.files == {"copy": command.files["script"]}
    assert list(limits.work_dir.iterdir()) == []


def test_programs_below_a_closed_directory_are_shown_and_nothing_else_that_is_there(
    limits: Limits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = tmp_path / "closed"
    program, secret = closed / "deep" / "er" / "bin" / "hello", closed / "deep" / "secret"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\necho hello\n")
    program.chmod(0o755)
    secret.write_text("secret")
    (closed / "link").symlink_to(program.parent)
    closed.chmod(0o700)
    assert "Permission denied" in run(_script(f"{program}"), limits).stderr
    monkeypatch.setenv("PULSAR_TOOLS_PATH", f"{closed / 'link'},{tmp_path / 'nowhere'}")
    output = run(_script(f"{program}; {closed}/link/hello; cat {secret}; touch {program.parent}/x {closed}/x"), limits)
    assert output.stdout == "hello\nhello\n"
    assert output.stderr.count("No such file") == output.stderr.count("Permission denied") == 1, output.stderr
    assert output.stderr.count("Read-only file system") == 1, output.stderr
    assert sorted(path.name for path in closed.iterdir()) == ["deep", "link"]


def test_a_program_whose_own_directory_is_closed_stays_so(
    limits: Limits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (own := tmp_path / "own").mkdir()
    (own / "hello").write_text("")
    own.chmod(0o700)
    monkeypatch.setenv("PULSAR_TOOLS_PATH", str(own))
    assert "Permission denied" in run(_script(f"cat {own}/hello"), limits).stderr


def test_the_environment_holds_nothing_of_ours(limits: Limits, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_API_AUTH_STRING", "secret")
    names = {line.partition("=")[0] for line in run(Command(("env",)), limits).stdout.splitlines()}
    assert names - {"PWD"} == {"PATH", "LC_ALL", "HOME", "TMPDIR", "PULSAR_SCAN"}


@pytest.mark.parametrize("trick", ["ln -s /etc/shadow", "mkfifo", "mkdir"])
def test_what_it_puts_in_the_place_of_a_file_is_not_followed(limits: Limits, trick: str) -> None:
    output = run(_script(f"rm stdout; {trick} stdout; {trick} kept", "kept"), limits)
    assert (output.stdout, output.files) == ("", {})


def test_a_flood_is_cut_at_the_cap(limits: Limits) -> None:
    output = run(Command(("yes",)), limits)
    assert output.ending is Ending.CAPPED
    assert len(output.stdout) == OUTPUT_CAP


def test_it_cannot_end_what_watches_it(limits: Limits) -> None:
    output = run(_script("kill -KILL $PPID; kill -KILL 1; echo here"), limits)
    assert (output.stdout, output.ending) == ("here\n", Ending.EXITED)
    assert output.stderr.count("not permitted") == 2


def test_it_is_asked_to_end_with_the_signal_it_understands(limits: Limits) -> None:
    script = "trap 'echo saved >result; exit 0' INT; trap '' TERM; while :; do sleep 0.1; done"
    command = Command(("sh", "script"), {"script": script}, keeps=("result",), stop_signal=signal.SIGINT)
    assert run(command, Limits(1, limits.work_dir, limits.mark, uid=UID)).files == {"result": "saved\n"}


def test_the_stop_flag_ends_the_whole_tree(limits: Limits) -> None:
    assert limits.mark is not None
    timer = threading.Timer(1.0, limits.stopped.set)
    timer.start()
    output = run(_script(STUBBORN), limits)
    timer.join()
    assert (output.stdout, output.ending) == ("started\n", Ending.STOPPED)
    assert output.seconds < 8
    assert wait_until_gone(limits.mark, 2) == set()


def test_a_stubborn_program_ends_at_its_deadline(limits: Limits) -> None:
    assert limits.mark is not None
    output = run(_script(STUBBORN), Limits(1, limits.work_dir, limits.mark, uid=UID))
    assert output.ending in (Ending.TIMED_OUT, Ending.KILLED)
    assert output.seconds < 10
    assert wait_until_gone(limits.mark, 2) == set()
