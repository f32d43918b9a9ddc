"""The fence, raised in a scanner's namespace: what a tool was given is reached, and all else sees not one packet."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from tasks.runner import search_path
from tests.estate.namespaces import LINK, Namespaces
from tests.processes import wait_until_gone

TARGET, NEIGHBOUR, SPARED = "10.87.0.10", "10.88.0.1", "10.87.0.12"
TARGET6, NEIGHBOUR6 = "fd87::10", "fd88::1"
TEMPLATES = Path(__file__).parent.parent / "fixtures/nuclei_templates"
LISTEN = """
import socket, sys
held = [socket.create_server((address, 22), family=socket.AF_INET6 if ":" in address else socket.AF_INET)
        for address in sys.argv[1:]]
print("ready", flush=True)
sys.stdin.read()
"""

STRAY = """
import errno, socket, struct, sys

def tried(kind, send):
    try:
        send()
    except OSError as error:
        print(kind, errno.errorcode[error.errno], file=sys.stderr)
    else:
        print(kind, "sent", file=sys.stderr)

def connect(address):
    socket.create_connection((address, 22), timeout=2).close()

def datagram(address, family=socket.AF_INET):
    with socket.socket(family, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"astray", (address, 9))

def header(address):
    return struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20, 1, 0, 64, 253, 0, bytes(4), socket.inet_aton(address))

def raw(address):
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as sender:
        sender.sendto(header(address), (address, 0))

def frame(address, past_queue=0):
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sender:
        sender.setsockopt(263, 20, past_queue)  # SOL_PACKET, PACKET_QDISC_BYPASS
        sender.bind(("scan0", 0))
        sender.send(bytes([255] * 6 + [2] + [0] * 5) + b"\\x08\\x00" + header(address) + bytes(26))
"""
"""Every way to send that a scanner has: the kernel's TCP and UDP, raw IP, and whole frames."""

EVERYWHERE = f"""{STRAY}
for address in {(NEIGHBOUR, SPARED)!r}:
    for way in (connect, datagram, raw, frame):
        tried(way.__name__, lambda: way(address))
    tried("past the queue", lambda: frame(address, 1))
tried("six", lambda: datagram({NEIGHBOUR6!r}, socket.AF_INET6))
print(22)
"""

BEHAVED = f"""{STRAY}
for way in (connect, datagram, raw, frame):
    way({TARGET!r})
datagram({TARGET6!r}, socket.AF_INET6)
print(22)
"""


@pytest.fixture
def estate(namespaces: Namespaces) -> Iterator[Namespaces]:
    """A target and its neighbours, all of whom listen."""
    everybody = (TARGET, NEIGHBOUR, SPARED, TARGET6, NEIGHBOUR6)
    namespaces.add(*everybody)
    listening = namespaces.estate.popen(
        [sys.executable, "-c", LISTEN, *everybody], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with listening:
        assert listening.stdout
        assert listening.stdout.readline() == "ready\n"
        yield namespaces
        listening.terminate()


@pytest.fixture
def page(estate: Namespaces, tmp_path: Path) -> Iterator[Path]:
    """A web server of the target's, with a page that whatweb and a template of nuclei's know."""
    root = tmp_path / "site"
    (root / "panel").mkdir(parents=True)
    (root / "index.html").write_text('<meta name="generator" content="WordPress 6.1.1">')
    (root / "panel/index.html").write_text("Welcome, administrator, build 1.2.3<br>")
    serving = estate.estate.popen(
        [sys.executable, "-u", "-m", "http.server", "80", "--bind", TARGET, "--directory", root],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    with serving:
        assert serving.stdout
        assert serving.stdout.readline().startswith(b"Serving")
        yield root
        serving.terminate()


def _argv(home: Path, targets: tuple[str, ...], **asked: Any) -> list[str]:
    said = {"module": "nmap", "targets": targets, "options": {}, "ports": "22,9", "seconds": 60, "exclude": [], **asked}
    return [sys.executable, "-m", "tests.tasks.fence_inside", str(home), json.dumps({"fence": True, **said})]


def _unit(made: Namespaces, home: Path, *targets: str, **asked: Any) -> dict[str, Any]:
    ran = made.scanner.run(_argv(home, targets, **asked), timeout=90)
    assert ran.returncode == 0, ran.stderr
    answer: dict[str, Any] = json.loads(ran.stdout.splitlines()[-1])
    return answer


def _tables(made: Namespaces) -> list[str]:
    return made.scanner.run(["nft", "list", "tables"], check=True).stdout.splitlines()


def _need(program: str) -> None:
    if shutil.which(program, path=search_path()) is None:
        pytest.skip(f"{program} is not installed here")


def test_a_tool_that_strays_reaches_nobody_and_is_told_of(estate: Namespaces, tmp_path: Path) -> None:
    said = _unit(estate, tmp_path, "10.87.0.8/29", script=EVERYWHERE, exclude=[SPARED])
    assert said["code"] == "strayed_out_of_scope", said
    assert said["status"] == "partial"  # what it found is kept
    sent = re.search(r"sent (\d+) packets to addresses that it was not given \((.*)\)", said["error"])
    assert sent, said
    # What goes past the kernel's IP is counted a frame at a time; a refused connection may have been tried again.
    assert int(sent[1]) >= 11
    assert set(sent[2].split(", ")) == {NEIGHBOUR, SPARED, NEIGHBOUR6}
    packets = estate.packets()
    assert [packets[address] for address in (NEIGHBOUR, SPARED, NEIGHBOUR6)] == [0, 0, 0]
    assert "sent" not in said["stderr"].replace("past the queue sent", ""), said["stderr"]
    assert _tables(estate) == []


def test_without_the_fence_the_same_tool_reaches_them_all(estate: Namespaces, tmp_path: Path) -> None:
    said = _unit(estate, tmp_path, "10.87.0.8/29", script=EVERYWHERE, exclude=[SPARED], fence=False)
    assert (said["status"], said["containment"]) == ("done", "bubblewrap, not fenced")
    packets = estate.packets()
    assert min(packets[NEIGHBOUR], packets[SPARED]) >= 5  # each way has arrived
    assert packets[NEIGHBOUR6] == 1


def test_what_it_was_given_is_reached_by_every_way(estate: Namespaces, tmp_path: Path) -> None:
    said = _unit(estate, tmp_path, TARGET, TARGET6, script=BEHAVED)
    assert (said["status"], said["error"]) == ("done", None), said
    assert re.fullmatch(r"bubblewrap, fenced as id 61\d\d\d", said["containment"])
    packets = estate.packets()
    assert packets[TARGET] >= 5
    assert packets[TARGET6] == 1


@pytest.mark.parametrize("technique", ["syn", "connect"])
@pytest.mark.parametrize("target", [TARGET, TARGET6])
def test_nmap_finds_behind_the_fence_what_is_open(
    estate: Namespaces, tmp_path: Path, technique: str, target: str
) -> None:
    _need("nmap")
    said = _unit(estate, tmp_path, target, options={"technique": technique})
    assert (said["status"], said["degraded"]) == ("done", None), said
    assert said["services"] == [f"[{target}]:22/tcp" if ":" in target else f"{target}:22/tcp"]


def test_datagrams_of_nmap_reach_what_they_were_given(estate: Namespaces, tmp_path: Path) -> None:
    _need("nmap")
    said = _unit(estate, tmp_path, TARGET, module="nmap_udp")
    assert (said["code"], said["degraded"]) == (None, None), said
    assert estate.packets()[TARGET] > 10
    assert {address for address in estate.packets() if "." in address} == {TARGET}


@pytest.mark.parametrize("engine", ["zmap", "masscan"])
def test_whole_frames_of_sweepers_reach_what_they_were_given(estate: Namespaces, tmp_path: Path, engine: str) -> None:
    _need(engine)
    options = {"engine": engine, "cooldown": 1, "probes": 1}
    said = _unit(estate, tmp_path, "10.87.0.8/29", module="zmap", options=options, ports="22", exclude=[SPARED])
    assert (said["status"], said["error"]) == ("done", None), said
    assert said["services"] == [f"{TARGET}:22/tcp"]
    assert estate.packets()[SPARED] == 0


def test_neighbours_on_the_link_are_found_behind_the_fence(estate: Namespaces, tmp_path: Path) -> None:
    _need("nmap")
    said = _unit(estate, tmp_path, f"{LINK}.0/30", module="nmap_discovery")
    assert (said["status"], said["error"]) == ("done", None), said
    assert said["records"] == 2  # both ends of the cable


@pytest.mark.parametrize("module", ["whatweb", "nuclei"])
def test_web_servers_are_asked_behind_the_fence(
    estate: Namespaces, tmp_path: Path, module: str, page: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _need(module)
    monkeypatch.setenv("PULSAR_NUCLEI_TEMPLATES", str(TEMPLATES))
    said = _unit(estate, tmp_path, TARGET, module=module, web="www.example.test")
    assert (said["status"], said["error"]) == ("done", None), said
    assert said["records"] >= 1
    assert {address for address in estate.packets() if "." in address} == {TARGET}


def _table_owners(made: Namespaces) -> dict[str, str]:
    """The fences' tables, and the process that each is of."""
    listed = json.loads(made.scanner.run(["nft", "--json", "list", "chains"], check=True).stdout)["nftables"]
    chains = [entry["chain"] for entry in listed if "chain" in entry]
    return {each["table"]: each["name"].split("_")[2] for each in chains if each["name"].startswith("held_")}


@contextmanager
def _in_the_middle(made: Namespaces, home: Path) -> Iterator[tuple[subprocess.Popen[str], UUID]]:
    """A unit whose tool is running, behind its fence, until it is killed."""
    mark = uuid4()
    argv = _argv(home, (TARGET,), script=f"open('up', 'w').close()\n{FOREVER}", mark=str(mark))
    with made.scanner.popen(argv, stdout=subprocess.PIPE, text=True) as process:
        try:
            until = time.monotonic() + 20
            while not list(home.glob("work/unit-*/up")):
                assert time.monotonic() < until
                time.sleep(0.05)
            yield process, mark
        finally:
            process.kill()


POWERLESS = ("setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin")
FOREVER = "import time\nwhile True: time.sleep(1)\n"


def test_what_a_killed_process_left_is_taken_down_by_the_next_and_nothing_else_is(
    estate: Namespaces, tmp_path: Path
) -> None:
    theirs = "table inet theirs"
    estate.scanner.run(["nft", "add", *theirs.split()], check=True)
    with _in_the_middle(estate, tmp_path / "living") as (living, _):
        with _in_the_middle(estate, tmp_path / "killed") as (killed, mark):
            assert set(_table_owners(estate).values()) == {str(living.pid), str(killed.pid)}
            assert len(_table_owners(estate)) == 2  # an id each
            killed.kill()
            killed.wait()
            assert wait_until_gone(mark, 5) == set()
        assert str(killed.pid) in _table_owners(estate).values()  # what is left of it still holds
        assert _unit(estate, tmp_path, TARGET, script="print(22)")["status"] == "done"
        assert set(_table_owners(estate).values()) == {str(living.pid)}
        assert theirs in _tables(estate)
    estate.scanner.run([sys.executable, "-c", TIDY, tmp_path / "work"], check=True)
    assert _tables(estate) == [theirs]


TIDY = """
import sys
from pathlib import Path
from deployments.worker import _take_down_fences
from footprint.settings import Settings
_take_down_fences(Settings(home=Path(sys.argv[1])))
"""


def test_a_tool_at_its_deadline_dies_whole_before_its_fence_falls(estate: Namespaces, tmp_path: Path) -> None:
    script = f"""{STRAY}
import os, signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.fork() == 0:
    os.setsid()
while True:
    tried("late", lambda: datagram({NEIGHBOUR!r}))
"""
    mark = uuid4()
    said = _unit(estate, tmp_path, TARGET, script=script, seconds=2, mark=str(mark))
    assert said["code"] == "strayed_out_of_scope"
    assert "nmap: ended by a signal" in said["error"]  # both are told
    assert wait_until_gone(mark, 0) == set()
    assert estate.packets()[NEIGHBOUR] == 0
    assert _tables(estate) == []


def test_where_the_kernel_takes_no_rules_nothing_is_sent_and_the_unit_says_why(
    estate: Namespaces, tmp_path: Path
) -> None:
    ran = estate.scanner.run([*POWERLESS, *_argv(tmp_path, (TARGET,), script=BEHAVED)], timeout=90)
    said = json.loads(ran.stdout.splitlines()[-1])
    assert (said["status"], said["code"]) == ("skipped", "fence_missing")
    assert "Operation not permitted" in said["error"]
    assert "PULSAR_FENCE=off" in said["hint"]
    assert estate.packets()[TARGET] == 0


def test_a_program_that_the_id_may_not_read_is_told_as_such(
    estate: Namespaces, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "own"
    own.mkdir(mode=0o700)
    shutil.copy("/bin/true", own / "hidden")
    monkeypatch.setenv("PULSAR_TOOLS_PATH", str(own))
    said = _unit(estate, tmp_path, TARGET, script="exec hidden", program="sh")
    assert (said["status"], said["code"]) == ("skipped", "fence_missing")
    assert "hidden: Permission denied" in said["error"]
    assert _unit(estate, tmp_path, TARGET, script="exec hidden", program="sh", fence=False)["status"] == "done"


def test_modules_tell_whether_they_are_fenced_here(estate: Namespaces, tmp_path: Path) -> None:
    def told(*before: str) -> dict[str, Any]:
        ran = estate.scanner.run([*before, sys.executable, "-c", INSPECT, tmp_path], timeout=60, check=True)
        found: dict[str, Any] = json.loads(ran.stdout)
        return found

    there, refused = told(), told(*POWERLESS)
    assert there["nmap"] == ["ready", "on", ""]
    assert refused["nmap"][:2] == ["missing", "on"]
    assert "the kernel takes no fence here" in refused["nmap"][2]
    for found in (there, refused):
        assert found["dns"] == ["ready", None, ""]  # its own questions are asked in-process
    assert _tables(estate) == []


INSPECT = """
import json, sys
from pathlib import Path
from footprint.settings import Settings
from tasks.inspection import inspect_modules
found = inspect_modules(Settings(home=Path(sys.argv[1]), fence=True))
print(json.dumps({state.name: (state.state, state.fence, state.remedy) for state in found}))
"""
