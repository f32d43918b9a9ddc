"""The sandbox for extensions, tried with scripts that want out of it: each is held, and nothing of it is left."""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from footprint.errors import SandboxMissing
from tasks import sandbox, seccomp
from tasks.runner import Limits
from tasks.sandbox import NOBODYS_ID, Held, Script, check_sandbox, run_script
from tasks.tree import tree_of
from tests.tasks.held import Hold, said

SECRET = "the-secret-of-the-worker"
ANYTHING = b"\x06\x00\x00\x00\x00\x00\xff\x7f"
"""A seccomp filter that allows every call."""


@pytest.fixture(params=["with the filter", "without the filter"])
def filtered(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The namespaces alone must hold, too: a kernel may get a call that the filter does not know."""
    if request.param == "without the filter":
        monkeypatch.setattr(sandbox, "filter_for", lambda: ANYTHING)


def test_it_is_given_its_input_its_environment_and_nothing_else(hold: Hold, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_API_AUTH_STRING", SECRET)
    told, *names = said(hold("cat; echo; env | cut -d= -f1 | sort", STDIN="told", DOM_FQDN="a.example"))
    assert told == "told"
    ours = {"PATH", "HOME", "TMPDIR", "LC_ALL", "PULSAR_SCAN", "STDIN", "DOM_FQDN"}
    assert set(names) - {"PWD", "_", "OLDPWD", "SHLVL"} == ours


def test_a_first_line_names_the_interpreter_where_none_is_given(hold: Hold) -> None:
    assert said(hold("#!/usr/bin/perl\nprint 6 * 7;\n", None)) == ["42"]


def test_a_nul_in_a_value_does_not_become_an_option(hold: Hold) -> None:
    assert said(hold('echo "$A"; test -e /root || echo no', A="x\0--bind\0/\0/")) == ["x--bind//", "no"]


WRITES = """
for place in / /usr /usr/bin /usr/local /etc /etc/alternatives /extension /dev /proc /proc/sys/kernel /bin /lib; do
  (echo x > "$place/written") 2>/dev/null && echo "wrote into $place"
  mkdir "$place/made" 2>/dev/null && echo "made a directory in $place"
done
for file in /extension/script /usr/bin/env /proc/sys/kernel/hostname /proc/1/oom_score_adj /proc/1/mem; do
  (echo x >> "$file") 2>/dev/null && echo "wrote $file"
done
chmod 777 / 2>/dev/null && echo "changed /"
chmod u+w /extension/script 2>/dev/null && echo "changed itself"
rm -f /extension/script 2>/dev/null && echo "removed itself"
mv /extension/script /tmp/script 2>/dev/null && echo "moved itself"
echo x > /tmp/mine && echo x > /dev/shm/mine && echo "wrote into its own"
"""


def test_it_writes_into_its_own_places_only(hold: Hold) -> None:
    assert said(hold(WRITES)) == ["wrote into its own"]


READS = """
cat /etc/passwd /etc/shadow /etc/hostname /etc/resolv.conf "$TOKEN_FILE" 2>/dev/null
ls /root /home /var /opt /srv /run /sys /mnt /boot 2>/dev/null
for process in /proc/[0-9]*; do
  tr '\\0' '\\n' < $process/environ
  tr '\\0' '\\n' < $process/cmdline
  for link in root cwd; do
    cat $process/$link/etc/passwd $process/$link"$TOKEN_FILE"
    ls -d $process/$link/root && echo root:x
  done
done 2>/dev/null | grep -e 'the[-]secret' -e 'root[:]x' -e 'pyt[h]on'
dd if=/dev/mem of=/tmp/x count=1 2>/dev/null && echo "read the memory"
ls -d /proc/[0-9]* | wc -l
ls -A /
"""


def test_it_sees_nothing_of_the_machine_but_usr(
    hold: Hold, tmp_path: Path, filtered: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_API_AUTH_STRING", SECRET)
    (tmp_path / "token").write_text(SECRET)
    count, *seen = said(hold(READS, TOKEN_FILE=str(tmp_path / "token")))
    assert int(count) <= 6
    system = {name for name in sandbox._SYSTEM_DIRECTORIES if Path("/", name).exists()}
    assert set(seen) == {"dev", "etc", "extension", "proc", "tmp", "usr"} | system


def test_it_is_nobody_with_no_capability(hold: Hold) -> None:
    lines = said(hold("grep -E '^(Uid|Cap...|NoNewPrivs|Seccomp):' /proc/self/status; cat /proc/self/uid_map"))
    states = {name: value.split() for name, _, value in (line.partition(":") for line in lines[:-1])}
    assert all(set(states[f"Cap{kind}"][0]) == {"0"} for kind in ("Inh", "Prm", "Eff", "Bnd", "Amb"))
    assert (states["NoNewPrivs"], states["Seccomp"], states["Uid"][0]) == (["1"], ["2"], "1000")
    assert lines[-1].split()[0] == "1000"


@pytest.fixture
def listeners() -> Iterator[tuple[list[socket.socket], str]]:
    """Listeners of this machine on both loopbacks and on an abstract address, and that address."""
    name = f"pulsar-test-{uuid4()}"
    opened = [socket.socket(), socket.socket(socket.AF_INET6), socket.socket(socket.AF_UNIX)]
    for listener, address in zip(opened, (("127.0.0.1", 0), ("::1", 0), f"\0{name}"), strict=True):
        listener.bind(address)
        listener.listen()
        listener.settimeout(0)
    yield opened, name
    for listener in opened:
        listener.close()


CONNECTS = """
import os, socket
def attempt(what, act):
    try:
        act()
    except OSError:
        return
    print("reached", what)
for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        def send():
            one = socket.socket(family, kind)
            one.settimeout(2)
            one.connect((address, int(os.environ[address.replace(".", "_").replace(":", "_")])))
            if kind == socket.SOCK_STREAM:
                one.sendall(b"x")
        if kind == socket.SOCK_STREAM:
            attempt((address, kind), send)
attempt("abstract", lambda: socket.socket(socket.AF_UNIX).connect("\\0" + os.environ["ABSTRACT"]))
attempt("raw", lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1))
attempt("packet", lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0))
print(open("/proc/net/dev").read().count(":"), len(open("/proc/net/tcp").readlines()))
"""


@pytest.mark.usefixtures("filtered")
def test_it_reaches_no_listener_of_this_machine(hold: Hold, listeners: tuple[list[socket.socket], str]) -> None:
    opened, name = listeners
    ports = {"127_0_0_1": str(opened[0].getsockname()[1]), "__1": str(opened[1].getsockname()[1])}
    # It sees one interface (its own loopback) and a table of connections with nothing below its title.
    assert said(hold(CONNECTS, "python3", ABSTRACT=name, **ports)) == ["1 1"]
    for listener in opened:
        with pytest.raises(BlockingIOError):
            listener.accept()


ESCALATES = """
for words in "unshare --user true" "unshare --mount true" "unshare --net true" "mount -t tmpfs tmpfs /tmp" \
    "mount --bind /usr /tmp" "umount /usr" "mount -o remount,rw /usr" "nsenter -t 1 -m true" "chroot / true" \
    "setpriv --reuid 0 true" "su -c true" "bwrap --dev-bind / / true" "nice -n -5 true" "prlimit --nproc=999 true"; do
  $words 2>/dev/null >/dev/null && test "$words" != "nice -n -5 true" && echo "did $words"
done
mknod /tmp/disk b 8 0 2>/dev/null && echo "made a device"
test "$(nice -n -5 nice)" -ge 10 && echo "stayed nice"
"""


def test_it_gets_no_namespace_no_mount_and_no_power(hold: Hold, filtered: None) -> None:
    assert said(hold(ESCALATES)) == ["stayed nice"]


def test_as_root_it_runs_under_an_id_that_owns_nothing(hold: Hold, monkeypatch: pytest.MonkeyPatch) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    seen: set[int] = set()

    def look(guard: sandbox._Guard, pid: int) -> bool:
        seen.update(
            Path(f"/proc/{one}").stat().st_uid for one in list(tree_of(pid))[1:] if Path(f"/proc/{one}").exists()
        )
        return True

    monkeypatch.setattr(sandbox._Guard, "is_within", look)
    said(hold("sleep 0.5"))
    assert seen == {NOBODYS_ID}


@pytest.fixture
def programs(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory that nobody in particular may read, where the launcher's programs are found, and no bubblewrap."""
    with tempfile.TemporaryDirectory(prefix="pulsar-programs-") as name:
        directory = Path(name)
        directory.chmod(0o755)
        for program in ("prlimit", "setpriv", "nice", "choom"):
            (directory / program).symlink_to(f"/usr/bin/{program}")
        monkeypatch.setattr(sandbox, "search_path", lambda: name)
        yield directory


def _run_in(directory: Path) -> Held:
    return run_script(Script("script", "echo ran", "sh"), "", {}, Limits(5, directory), 64)


def test_without_bubblewrap_nothing_is_run(tmp_path: Path, programs: Path) -> None:
    with pytest.raises(SandboxMissing, match="bwrap") as missing:
        check_sandbox(tmp_path / "home", tmp_path / "work")
    assert missing.value.hint == "apt-get install bubblewrap"
    with pytest.raises(SandboxMissing):
        _run_in(tmp_path)


def test_a_bubblewrap_that_is_not_let_is_no_sandbox(tmp_path: Path, programs: Path) -> None:
    refused = programs / "bwrap"
    refused.write_text("#!/bin/sh\necho 'bwrap: No permissions to create a new namespace' >&2; exit 1\n")
    refused.chmod(0o755)
    with pytest.raises(SandboxMissing, match="No permissions") as missing:
        check_sandbox(tmp_path / "home", tmp_path / "work")
    assert "unprivileged_userns_clone" in missing.value.hint
    with pytest.raises(SandboxMissing, match="No permissions"):
        _run_in(tmp_path)


def test_a_home_that_scripts_could_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SandboxMissing, match="in it"):
        check_sandbox(Path("/usr/local/pulsar"), tmp_path)


def test_a_processor_without_a_filter_is_refused() -> None:
    with pytest.raises(SandboxMissing, match="riscv64"):
        seccomp.filter_for("riscv64")
