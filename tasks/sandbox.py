"""Where a user's script runs: it sees /usr, its own 64 MB of /tmp, and what it is given; it reaches nothing else.

bubblewrap gives it namespaces of its own (users, processes, mounts, network, IPC, names), an empty root that is
read-only, no capability, and a seccomp filter (seccomp.py). As root it is started under an id that owns nothing. Limits
bound each of its processes and how many there are; the memory of all together is looked at 20 times a second, as
RLIMIT_AS is per process. It yields to everybody else: the processor by nice(1), and where the machine's memory runs
out, the kernel ends it first. Results leave on standard output only. Where all of this cannot be had, nothing is run.

A script that may reach its record has the machine's network, a fence around its user id (fence.py), and no /proc: that
would list the machine's connections.

Needs bubblewrap 0.8 (`--disable-userns`), util-linux, coreutils, and user namespaces for unprivileged users.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from footprint.errors import SandboxMissing
from footprint.text import clean
from tasks.fence import Fence
from tasks.runner import Confinement, Limits, run, search_path
from tasks.seccomp import client_filter_for, filter_for
from tasks.tool import Command, Output
from tasks.tree import memory_of, tree_of

NOBODYS_ID = 61000
"""Whom root becomes first: an id without an account, in a range that Debian and systemd leave free (60706-61183)."""
OUTPUT_CAP = 1024 * 1024
"""Bytes of output; RLIMIT_FSIZE, so that no file in /tmp is larger either."""
PROCESSES, FILES = 32, 64
TMP_BYTES, SHARED_BYTES = 64 * 1024 * 1024, 16 * 1024 * 1024
INODES = 20_000
"""Files in /tmp and /dev/shm: each costs the kernel a kilobyte that no process is seen to have."""
ADDRESS_SPACE_MARGIN = 512 * 1024 * 1024
"""What one process may map beyond the memory that all may use: interpreters map more than they touch."""
NICENESS, OOM_SCORE = 10, 1000
MEBIBYTE = 1024 * 1024

PLACE, TMP, SHARED = "/extension", "/tmp", "/dev/shm"  # noqa: S108 -- the sandbox's own
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_OWN_FILES = ((TMP, TMP_BYTES), (SHARED, SHARED_BYTES))
_SYSTEM_DIRECTORIES = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
_ARGUMENTS_FD, _FILTER_FD, _SCRIPT_FD = "3", "4", "5"

_REMEDY = (
    "bubblewrap 0.8 or newer, and user namespaces for unprivileged users: see user.max_user_namespaces, "
    "kernel.unprivileged_userns_clone and kernel.apparmor_restrict_unprivileged_userns of sysctl"
)


@dataclass(frozen=True, slots=True)
class Script:
    """What is run: a text and its name. `interpreter` is a program of /usr; else the first line names one."""

    name: str
    text: str
    interpreter: str | None = None


@dataclass(frozen=True, slots=True)
class Held:
    """How a script ended. `exceeded` says which of the sandbox's own limits ended it, and is empty where none did.

    `memory` is the most that it was seen to use, in bytes.
    """

    output: Output
    exceeded: str = ""
    memory: int = 0


def run_script(
    script: Script,
    given: str,
    environment: Mapping[str, str],
    limits: Limits,
    memory: int,
    fence: Fence | None = None,
) -> Held:
    """Run a script with `given` as its input, for at most the limits' seconds, in `memory` MiB for all its processes.

    `environment` is all that it finds there besides PATH, HOME and the locale. It reaches what a fence lets through
    that stands around it, and without one nothing. Raises `SandboxMissing`.
    """
    if fence and fence.uid is None:
        raise ValueError("a fence without an id holds nobody")
    guard = _Guard(memory * MEBIBYTE)
    arguments = b"".join(_word(word) for word in _arguments(script, environment, is_networked=fence is not None))
    sockets = client_filter_for() if fence else filter_for()
    data = (given.encode(errors="replace"), arguments, sockets, script.text.encode())
    launcher = _launcher(limits.seconds, memory, fence.uid if fence else None)
    confined = Confinement(launcher, data, OUTPUT_CAP, guard.is_within)
    interpreter = (script.interpreter,) if script.interpreter else ()
    # The limit on processes is set inside, where only the sandbox's own are counted (since Linux 5.14).
    words = ("prlimit", f"--nproc={PROCESSES}", "--", *interpreter, f"{PLACE}/{script.name}")
    output = run(Command(words), limits, confined=confined)
    if output.returncode and not output.stdout and output.stderr.startswith("bwrap: "):
        raise SandboxMissing(f"the sandbox for extensions could not be made: {_last(output.stderr)}", hint=_REMEDY)
    return Held(output, guard.exceeded, guard.seen)


def _word(text: str) -> bytes:
    # A NUL would end the word, and what follows would be an option of bubblewrap's.
    return text.replace("\0", "").encode(errors="replace") + b"\0"


def _last(stderr: str) -> str:
    return clean(next(iter(stderr.strip().splitlines()[-1:]), ""), 300)


def check_sandbox(home: Path, work_dir: Path) -> None:
    """Try the sandbox with a harmless script. Raises `SandboxMissing`, with the remedy, where it cannot be had."""
    if home.resolve().is_relative_to("/usr"):
        raise SandboxMissing("extensions can read /usr, and this home is in it", hint="move PULSAR_HOME elsewhere")
    _try(work_dir)


@cache
def _try(work_dir: Path) -> None:
    trial = Script("trial", '#!/bin/sh\nread -r word && test "$word" = given && test -r /proc/self/status\n')
    held = run_script(trial, "given\n", {}, Limits(10, work_dir), 64)
    if held.output.returncode != 0:
        said = _last(held.output.stderr) or "no reason was given"
        raise SandboxMissing(f"the sandbox for extensions does not work here: {said}", hint=_REMEDY)


def _launcher(seconds: float, memory: int, uid: int | None) -> tuple[str, ...]:
    whole = ("--core=0", f"--cpu={int(seconds) + 1}", f"--fsize={OUTPUT_CAP}", f"--nofile={FILES}")
    limited = (_program("prlimit"), *whole, f"--as={memory * MEBIBYTE + ADDRESS_SPACE_MARGIN}", "--")
    yielding = (_program("nice"), "-n", str(NICENESS), _program("choom"), "-n", str(OOM_SCORE), "--")
    return (*yielding, *_without_powers(uid), *limited, _program("bwrap"), "--args", _ARGUMENTS_FD, "--")


def _without_powers(uid: int | None) -> tuple[str, ...]:
    """Drops what a worker may have: root's id, or the ambient CAP_NET_RAW with which bubblewrap would not start."""
    number = str(uid or NOBODYS_ID)
    identity = ("--reuid", number, "--regid", number, "--clear-groups") if os.geteuid() == 0 else ()
    return (_program("setpriv"), *identity, "--ambient-caps=-all", "--inh-caps=-all", "--")


def _program(name: str) -> str:
    found = shutil.which(name, path=search_path())
    if found is None:
        package = {"bwrap": "bubblewrap", "nice": "coreutils"}.get(name, "util-linux")
        raise SandboxMissing(
            f"{name}, which extensions are held with, is not installed", hint=f"apt-get install {package}"
        )
    return found


def _arguments(script: Script, environment: Mapping[str, str], *, is_networked: bool) -> Iterator[str]:
    """bubblewrap's options, in the order in which it carries them out."""
    yield from ("--unshare-user", "--unshare-all", "--disable-userns", "--die-with-parent", "--new-session")
    if is_networked:
        yield "--share-net"
    yield from ("--cap-drop", "ALL", "--clearenv", "--uid", "1000", "--gid", "1000", "--hostname", "extension")
    yield from ("--seccomp", _FILTER_FD)
    yield from ("--ro-bind", "/usr", "/usr")
    for name in _SYSTEM_DIRECTORIES:
        path = Path("/", name)
        if path.is_symlink():
            yield from ("--symlink", f"usr/{name}", str(path))
        elif path.is_dir():
            yield from ("--ro-bind", str(path), str(path))
    # Debian's awk and kin are links to there; it holds nothing but links.
    yield from ("--perms", "0755", "--dir", "/etc", "--ro-bind-try", "/etc/alternatives", "/etc/alternatives")
    yield from (*(() if is_networked else ("--proc", "/proc")), "--dev", "/dev")
    yield from (*_fresh(SHARED, SHARED_BYTES), "--remount-ro", "/dev", *_fresh(TMP, TMP_BYTES))
    yield from ("--perms", "0755", "--dir", PLACE)
    yield from ("--perms", "0555", "--ro-bind-data", _SCRIPT_FD, f"{PLACE}/{script.name}")
    yield from ("--remount-ro", "/", "--chdir", TMP)
    basis = {"PATH": PATH, "HOME": TMP, "TMPDIR": TMP, "LC_ALL": "C.UTF-8"}
    for name, value in {**basis, **environment}.items():
        yield from ("--setenv", name, value)


def _fresh(place: str, size: int) -> tuple[str, ...]:
    return ("--perms", "1777", "--size", str(size), "--tmpfs", place)


@dataclass(slots=True)
class _Guard:
    """Holds a sandbox against what no limit of the kernel bounds for all of its processes together."""

    most: int
    """Bytes."""
    exceeded: str = ""
    seen: int = 0
    _look_at: float = field(default_factory=time.monotonic)

    def is_within(self, pid: int) -> bool:
        """False once the processes below `pid` have more than they may; looks at most a tenth of the time."""
        began = time.monotonic()
        if began < self._look_at:
            return True
        pids = list(tree_of(pid))
        kept, inodes = _kept_files(pids)
        used = kept + sum(memory_of(each) for each in pids)
        self.seen = max(self.seen, used)
        if used > self.most:
            self.exceeded = f"used more than {self.most // MEBIBYTE} MiB of memory"
        elif inodes > INODES:
            self.exceeded = f"made more than {INODES} files"
        self._look_at = time.monotonic() + 9 * (time.monotonic() - began)
        return not self.exceeded


def _kept_files(pids: list[int]) -> tuple[int, int]:
    """Bytes and number of the files in a sandbox's own file systems, seen through any process that is inside.

    A worker that is root without CAP_SYS_PTRACE may look through none: then only their own sizes bound them.
    """
    for pid in reversed(pids):
        seen = [_used(Path(f"/proc/{pid}/root{place}"), size) for place, size in _OWN_FILES]
        if any(seen):
            return sum(used for used, _ in filter(None, seen)), sum(files for _, files in filter(None, seen))
    return 0, 0


def _used(place: Path, size: int) -> tuple[int, int] | None:
    try:
        found = os.statvfs(place)
    except OSError:
        return None  # the process has ended, or may not be looked through
    if found.f_blocks * found.f_frsize != size:
        return None  # it is not inside yet: these are the machine's own
    return (found.f_blocks - found.f_bfree) * found.f_frsize, found.f_files - found.f_ffree
