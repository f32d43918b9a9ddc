"""The one place where foreign programs are started, watched and ended.

A program gets an argument list, files in a directory of its own, an environment of a few variables, /dev/null as its
input, separate files for its output and errors, a limit on what it may write and on how long it may take. It runs in
a process namespace of its own that dies with it, and with us: nothing of it outlives its unit, also not after a
kill -9 of the flow.

The start itself is prefect-shell's, with one line of shell in which every word is quoted and none is a user's: targets
travel in files. The line is no file: one would be left wherever its process is killed.
"""

from __future__ import annotations

import abc
import logging
import os
import shlex
import signal
import stat
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cache
from pathlib import Path
from threading import Event
from uuid import UUID

from prefect_shell import ShellOperation

from footprint.errors import InstallationError
from footprint.failpoints import failpoint
from footprint.held_directories import held_directory
from footprint.settings import Settings
from footprint.text import clean
from tasks.own_user import PLACE, become, contained_in, give
from tasks.tool import Command, Ending, Output

SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
CHECKOUT_TOOLS = Path(__file__).resolve().parent.parent / ".tools" / "bin"
"""Where `make tools` puts what the system's packages do not have."""
OUTPUT_CAP = 16 * 1024 * 1024
"""Bytes a program may write to one file; what is read of it afterwards is never more."""
STDERR_KEPT = 4096
GRACE_SECONDS = 2
"""Between SIGTERM and SIGKILL."""
LOOK_SECONDS = 1.0
"""How often a running program's output is looked at for its progress."""
GUARD_SECONDS = 0.05
"""How often a confined program is held against its limits."""
DATA = "data"
"""What the files of a confined program are named after, with a number."""

Watcher = Callable[[str], None]


@cache
def search_path() -> str:
    """Where programs are looked for: `PULSAR_TOOLS_PATH`, `make tools`, the system's, last those of our own Python.

    The last are tools that are Python packages; a program of the system's of the same name comes first.
    """
    own = str(Path(sys.executable).parent)
    return ":".join((*Settings().tools_path, str(CHECKOUT_TOOLS), SYSTEM_PATH, own))


def _program_places() -> tuple[Path, ...]:
    """Where programs are that are not the system's, with what they need: their Python's library, their templates."""
    settings = Settings()
    own = (*map(Path, settings.tools_path), CHECKOUT_TOOLS, Path(sys.prefix), Path(sys.base_prefix))
    return (*own, settings.nuclei_templates) if settings.nuclei_templates else own


class _OfPrefectShell(logging.Filter):
    """Drops what prefect-shell says of each start and end of a process: the unit says it in the field's words."""

    def filter(self, record: logging.LogRecord) -> bool:
        return "prefect_shell" not in record.pathname


class _Line(ShellOperation, abc.ABC):  # type: ignore[misc] # without types; with ABC it is in no registry of Prefect's
    """One line, given to the shell as an argument: prefect-shell would write it into a file first.

    It builds on an inner seam of prefect-shell 0.3, which is why the version is pinned.
    """

    @contextmanager
    def _prep_trigger_command(self) -> Iterator[list[str]]:
        yield ["sh", "-c", *self.commands]


for _name in ("prefect.task_runs", "prefect.ShellOperation", f"prefect.{_Line.__name__}"):
    logging.getLogger(_name).addFilter(_OfPrefectShell())


class Containment(StrEnum):
    """What makes sure that no child of a program outlives it, best first."""

    BUBBLEWRAP = "bubblewrap"
    UNSHARE = "unshare"
    PARENT_DEATH = "parent-death signal"
    """Follows the program itself only: a child of it that detaches is not found."""


_DIES_WITH_PARENT = ("setpriv", "--pdeathsig", "KILL", "--")
_CONTAIN: dict[Containment, tuple[str, ...]] = {
    Containment.BUBBLEWRAP: (
        *("bwrap", "--dev-bind", "/", "/", "--proc", "/proc"),
        *("--unshare-pid", "--die-with-parent", "--"),
    ),
    Containment.UNSHARE: (*_DIES_WITH_PARENT, "unshare", "--pid", "--fork", "--mount-proc", "--kill-child=KILL", "--"),
    Containment.PARENT_DEATH: _DIES_WITH_PARENT,
}


@dataclass(frozen=True, slots=True)
class Confinement:
    """How a program is started that none of us wrote: in a stricter launcher than tools, with an empty environment.

    `launcher` is an argument list that goes before the program's. `data` is what is open for it: its input, and then
    the descriptors 3, 4, … that the launcher reads. `cap` is in bytes, of its output and of its errors each; the
    launcher sees to it. `is_within` is asked several times a second whether the process of this id and its
    children are within their limits: it is ended where they are not.
    """

    launcher: tuple[str, ...]
    data: tuple[bytes, ...]
    cap: int
    is_within: Callable[[int], bool]


@dataclass(frozen=True, slots=True)
class Limits:
    """What one program is granted. `mark` is the scan it works for, to be seen in its environment.

    `uid` is the id that it runs under, where that is not the worker's own: needs root and bubblewrap (own_user.py).
    `may_write` is how many bytes a file of it may have, None for a program of our own choice that writes much.
    """

    seconds: float
    work_dir: Path
    mark: UUID | None = None
    stopped: Event = field(default_factory=Event)
    uid: int | None = None
    may_write: int | None = OUTPUT_CAP


@cache
def containment() -> Containment:
    """The best containment that works here, tried once a process. Raises `InstallationError` where none does."""
    trial = Command(("true",))
    for candidate in Containment:
        with tempfile.TemporaryDirectory(prefix="pulsar-") as directory:
            output = _run(trial, Limits(10, Path(directory)), candidate, lambda text: None)
        if output.returncode == 0:
            return candidate
    raise InstallationError(
        "no program can be started safely on this worker", hint="apt-get install bubblewrap util-linux"
    )


def run(
    command: Command, limits: Limits, watch: Watcher = lambda text: None, confined: Confinement | None = None
) -> Output:
    """Run a program to its end, its deadline, its output cap or the stop flag, whichever comes first.

    `watch` is given each new piece of its output about once a second. Returns what it wrote: at most `OUTPUT_CAP`
    bytes of output (or what it is confined to), undecodable bytes replaced, and the last `STDERR_KEPT` of its errors.
    """
    with held_directory(limits.work_dir, "unit-") as directory:
        for name, text in command.files.items():
            (directory / name).write_text(text)
        for number, data in enumerate(confined.data if confined else ()):
            (directory / f"{DATA}{number}").write_bytes(data)
        if limits.uid is not None:
            give(directory, limits.uid)
        return _run(command, replace(limits, work_dir=directory), confined or containment(), watch)


def _line(command: Command, limits: Limits, contained: Containment | Confinement) -> str:
    asked = command.stop_signal.name.removeprefix("SIG")
    timed = ("timeout", "--signal", asked, "--kill-after", str(GRACE_SECONDS), str(limits.seconds))
    if isinstance(contained, Confinement):
        words: tuple[str, ...] = ("env", "-i", *contained.launcher, *timed, *command.argv)
        opened = "".join(f" {number + 2}<{DATA}{number}" for number in range(1, len(contained.data)))
        return f"exec {shlex.join(words)} >stdout 2>stderr <{DATA}0{opened}"
    place = limits.work_dir if limits.uid is None else PLACE
    environment = ["env", "-i", f"PATH={search_path()}", "LC_ALL=C", f"HOME={place}", f"TMPDIR={place}"]
    if limits.mark:
        environment.append(f"PULSAR_SCAN={limits.mark}")
    size = "unlimited" if limits.may_write is None else limits.may_write
    capped = ("prlimit", "--core=0", f"--fsize={size}", "--")
    outer, inner = _around(limits, contained)
    words = (*environment, *capped, *outer, *timed, *inner, *command.argv)
    return f"exec {shlex.join(words)} >stdout 2>stderr </dev/null"


def _around(limits: Limits, contained: Containment) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What goes before `timeout`, and what between it and the program."""
    if limits.uid is not None:
        return contained_in(limits.work_dir, _program_places()), become(limits.uid)
    # The program is a child of `timeout`, so without a namespace it needs a signal of its own to die with it.
    inner = _DIES_WITH_PARENT if contained is Containment.PARENT_DEATH else ()
    return _CONTAIN[contained], inner


def _run(command: Command, limits: Limits, contained: Containment | Confinement, watch: Watcher) -> Output:
    confined = contained if isinstance(contained, Confinement) else None
    started = time.monotonic()
    line = _line(command, limits, contained)
    operation = _Line(commands=[line], stream_output=False, working_dir=limits.work_dir)
    with operation:
        process = operation.trigger()
        if limits.mark:
            failpoint("after-spawn")
        ending = _watch(process.pid, command.stop_signal, limits, watch, confined)
    seconds = time.monotonic() - started
    cap = confined.cap if confined else OUTPUT_CAP
    return _collect(command, limits.work_dir, process.return_code, ending, seconds, cap)


def _watch(
    pid: int, stop_signal: signal.Signals, limits: Limits, watch: Watcher, confined: Confinement | None
) -> Ending:
    """Wait for a process without reaping it; end it at its deadline or when the scan is stopped."""
    # `timeout` inside asks the program to end first; this deadline is for a launcher that hangs itself.
    deadline = time.monotonic() + limits.seconds + 2 * GRACE_SECONDS
    seen, look_at, pause = 0, time.monotonic() + LOOK_SECONDS, 0.01
    while os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        if limits.stopped.wait(pause):
            _end(pid, stop_signal)
            return Ending.STOPPED
        if time.monotonic() > deadline:
            _end(pid, stop_signal)
            return Ending.TIMED_OUT
        if confined and not confined.is_within(pid):
            _end(pid, stop_signal)
            return Ending.KILLED
        if time.monotonic() > look_at:
            seen = _look(limits.work_dir / "stdout", seen, watch)
            look_at = time.monotonic() + LOOK_SECONDS
        pause = min(pause * 1.5, GUARD_SECONDS if confined else 0.2)
    return Ending.EXITED


def _look(path: Path, seen: int, watch: Watcher) -> int:
    piece = _bytes_of(path, OUTPUT_CAP, seen)
    if piece:
        watch(piece.decode(errors="replace"))
    return seen + len(piece)


def _end(pid: int, first: signal.Signals) -> None:
    """End a process group of ours: asked first, a grace, SIGKILL. It is not reaped yet, so the pid is still its own."""
    for sign in (first, signal.SIGKILL):
        os.killpg(pid, sign)
        until = time.monotonic() + GRACE_SECONDS
        while time.monotonic() < until:
            if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
                return
            time.sleep(0.02)


def _collect(
    command: Command, directory: Path, returncode: int | None, ending: Ending, seconds: float, cap: int
) -> Output:
    stdout, size = _read(directory / "stdout", cap)
    stderr, errors = _read(directory / "stderr", cap)
    if ending is Ending.EXITED:
        ending = _ending_of(returncode, is_full=max(size, errors) >= cap)
    last = "\n".join(clean(line) for line in stderr[-STDERR_KEPT:].splitlines())
    files = {name: _read(directory / name, OUTPUT_CAP)[0] for name in command.keeps if _is_plain(directory / name)}
    return Output(stdout, last, returncode, ending, seconds, files)


def _ending_of(returncode: int | None, *, is_full: bool) -> Ending:
    """Read the ending off the code that `timeout` leaves (coreutils manual) and the size of what was written."""
    if is_full:
        return Ending.CAPPED
    if returncode == 124:
        return Ending.TIMED_OUT
    if returncode is not None and (returncode < 0 or returncode > 128):
        return Ending.KILLED
    return Ending.EXITED


def _is_plain(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


def _read(path: Path, cap: int) -> tuple[str, int]:
    data = _bytes_of(path, cap)
    return data.decode(errors="replace"), len(data)


def _bytes_of(path: Path, cap: int, start: int = 0) -> bytes:
    """A plain file's bytes; none of what is something else: a program may have put a link to a file of ours there."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return b""
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        return b""
    with os.fdopen(descriptor, "rb") as file:
        file.seek(start)
        return file.read(cap)
