"""Extensions that reach their record, run in a scanner's namespace: their record answers, and nothing else is sent to.

Every script here is a real one in the real sandbox, behind the real fence; what arrives is counted at the other side.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from footprint.extensions import Extension, add
from footprint.manifest import Manifest
from footprint.records import DomainName, Host, Record, Service
from footprint.store.packing import pack
from tests.estate.namespaces import GATEWAY, SCANNER, Namespaces
from tests.processes import marked, wait_until_gone
from tests.tasks.held import require_sandbox
from tests.tasks.test_fence_live import LISTEN, POWERLESS, TIDY

TARGET, NEIGHBOUR, ELSEWHERE, SPARED = "10.87.0.10", "10.87.0.11", "10.88.0.1", "10.87.0.12"
TARGET6, NEIGHBOUR6 = "fd87::10", "fd87::11"
EVERYBODY = (TARGET, NEIGHBOUR, ELSEWHERE, SPARED, TARGET6, NEIGHBOUR6)
HERE, OUTSIDE = "127.0.0.1", "other.test"
OPEN, CLOSED, OURS = 7001, 7002, 7003
"""Ports of the scanner's loopback: the record's, another service's, and one of Pulsar's own."""

LOCAL = f"""
import socket, sys
held = [socket.create_server(("{HERE}", port)) for port in ({OPEN}, {CLOSED}, {OURS})]
held.append(socket.create_server(("::1", {CLOSED}), family=socket.AF_INET6))
abstract = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
abstract.bind("\\0pulsar-held")
print("ready", flush=True)
sys.stdin.readline()
for one in held + [abstract]:
    one.setblocking(False)
def asked(one):
    try:
        one.accept() if one.type == socket.SOCK_STREAM else one.recv(9)
    except BlockingIOError:
        return 0
    return 1
print(*map(asked, held + [abstract]), flush=True)
"""


@pytest.fixture
def estate(namespaces: Namespaces, tmp_path: Path) -> Iterator[Namespaces]:
    """A target and its neighbours, all of whom listen; every fence is down in the end."""
    require_sandbox(tmp_path)
    namespaces.add(*EVERYBODY)
    listening = namespaces.estate.popen(
        [sys.executable, "-c", LISTEN, *EVERYBODY], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with listening:
        assert listening.stdout
        assert listening.stdout.readline() == "ready\n"
        yield namespaces
        listening.terminate()
    assert _tables(namespaces) == ""


def _tables(made: Namespaces) -> str:
    return made.scanner.run(["nft", "list", "tables"], check=True).stdout


@pytest.fixture
def local(estate: Namespaces) -> Iterator[subprocess.Popen[str]]:
    """Listeners of the scanner's own loopback, and an abstract address; a line asks which of them were reached."""
    listening = estate.scanner.popen(
        [sys.executable, "-c", LOCAL], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with listening:
        assert listening.stdout
        assert listening.stdout.readline() == "ready\n"
        yield listening
        listening.kill()


def _reached(local: subprocess.Popen[str]) -> list[int]:
    """How each listener of this machine was reached: the three ports, that of IPv6, the abstract address."""
    out, _ = local.communicate("\n", timeout=20)
    return [int(word) for word in out.split()]


def _install(home: Path, name: str, text: str, interpreter: str = "python3", **fields: Any) -> None:
    told = {"name": name, "accepts": ("host",), "script": "script", "network": "scoped", "interpreter": interpreter}
    add(home, Extension(Manifest.model_validate({**told, **fields}), text))


def _argv(home: Path, records: tuple[Record, ...], **asked: Any) -> list[str]:
    seen = [pack(each) for each in asked.pop("seen", ())]
    said = {"records": [pack(each) for each in records], "targets": ["10.87.0.0/24"], "seen": seen, **asked}
    return [sys.executable, "-m", "tests.tasks.extension_inside", str(home), json.dumps(said)]


def _unit(made: Namespaces, home: Path, *records: Record, before: tuple[str, ...] = (), **asked: Any) -> dict[str, Any]:
    ran = made.scanner.run([*before, *_argv(home, records, **asked)], timeout=90)
    assert ran.returncode == 0, ran.stderr
    answer: dict[str, Any] = json.loads(ran.stdout.splitlines()[-1])
    return answer


def _sent_to(made: Namespaces) -> set[str]:
    return {address for address, packets in made.packets().items() if packets and not address.startswith(("ff", "fe"))}


ASKS = """
import os, socket
address = os.environ["DOM_ADDRS"]
with socket.create_connection((address, 22), timeout=5) as stream:
    print("stream", *stream.getpeername()[:2])
with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
    print("datagram", datagrams.sendto(b"four", (address, 9)))
one, other = socket.socketpair()
print("pair", one.send(b"x"))
"""


@pytest.mark.parametrize("address", [TARGET, TARGET6])
def test_it_reaches_its_record(estate: Namespaces, tmp_path: Path, address: str) -> None:
    _install(tmp_path, "asks", ASKS)
    said = _unit(estate, tmp_path, Host(address), targets=[address])
    assert (said["status"], said["error"], said["stderr"]) == ("done", None, None), said
    text = said["found"]["extension/asks"]
    assert all(part in text for part in (f"stream {address} 22", "datagram 4", "pair 1"))
    assert estate.packets()[address] > 3
    assert _sent_to(estate) == {address}


def test_a_shell_script_does_too(estate: Namespaces, tmp_path: Path) -> None:
    script = 'exec 3<>"/dev/tcp/$DOM_ADDRS/22" && echo "{\\"title\\": \\"open\\", \\"evidence\\": \\"$DOM_ADDRS\\"}"\n'
    _install(tmp_path, "asks", script, "bash", accepts=("service",))
    said = _unit(estate, tmp_path, Service(TARGET, 22))
    assert said["found"] == {"extension/asks": TARGET}, said
    assert _sent_to(estate) == {TARGET}


STRAYS = f"""
import errno, os, socket, struct, sys, time

def tried(what, act):
    try:
        act()
    except OSError as error:
        print(what, errno.errorcode.get(error.errno, error), file=sys.stderr)
    else:
        print("DID", what)

def stream(address, port, **more):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM, *more.values()) as one:
        one.settimeout(2)
        one.connect((address, port))

def datagram(address, port=9):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as one:
        one.sendto(b"astray", (address, port))

def bound(kind):
    with socket.socket(socket.AF_INET, kind) as one:
        one.bind(("0.0.0.0", 0))

def listening():
    with socket.socket(socket.AF_INET) as one:
        one.listen()

def to_abstract(one):
    one.sendto(b"x", "\\0pulsar-held")

def joined():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton("239.1.2.3") + bytes(4))

for address in {(NEIGHBOUR, ELSEWHERE, SPARED, NEIGHBOUR6, GATEWAY, "169.254.169.254", "255.255.255.255")!r}:
    tried("stream " + address, lambda: stream(address, 22))
    tried("datagram " + address, lambda: datagram(address))
    tried("question " + address, lambda: datagram(address, 53))
for address, port in (({HERE!r}, {CLOSED}), ("::1", {CLOSED}), ({SCANNER!r}, {CLOSED}), ("0.0.0.0", {OPEN})):
    tried(f"local {{address}}", lambda: stream(address, port))
    tried(f"local datagram {{address}}", lambda: datagram(address, port))
tried("mapped", lambda: stream("::ffff:" + {NEIGHBOUR!r}, 22))
tried("many paths", lambda: stream({NEIGHBOUR!r}, 22, protocol=262))
tried("bind", lambda: bound(socket.SOCK_STREAM))
tried("bind datagram", lambda: bound(socket.SOCK_DGRAM))
tried("listen", listening)
tried("group", joined)
others = ((1, 1, 0), (1, 2, 0), (2, 3, 255), (2, 3, 1), (2, 2, 1), (16, 3, 0), (17, 3, 0), (10, 3, 58))
for family, kind, protocol in others:
    tried(f"socket {{family}} {{kind}} {{protocol}}", lambda: socket.socket(family, kind, protocol))
tried("pair", lambda: to_abstract(socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)[0]))
tried("pair of streams", lambda: to_abstract(socket.socketpair()[0]))
tried("connections", lambda: open("/proc/self/net/tcp"))
tried("resolver", lambda: open("/etc/resolv.conf"))
tried("name", lambda: socket.create_connection(("localhost", {CLOSED}), timeout=2))
"""

DAEMON = f"""
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.close(0), os.close(1), os.close(2)
        until = time.monotonic() + 60
        while time.monotonic() < until:
            for act in (lambda: datagram({NEIGHBOUR!r}), lambda: stream({HERE!r}, {CLOSED})):
                try:
                    act()
                except OSError:
                    pass
    os._exit(0)
os.wait()
time.sleep(0.5)
"""


def _marking(mark: UUID) -> str:
    """What has a script of Python's carry a mark, which tests see in what is started only."""
    marked = f"{{**os.environ, 'PULSAR_SCAN': '{mark}'}}"
    again = f"os.execve(sys.executable, [sys.executable, *sys.argv], {marked})"
    return f"if 'PULSAR_SCAN' not in os.environ:\n    {again}\n"


def test_whatever_else_it_tries_reaches_nobody_and_is_told_of(
    estate: Namespaces, tmp_path: Path, local: subprocess.Popen[str]
) -> None:
    mark = uuid4()
    script = f"import os, sys\n{_marking(mark)}{STRAYS}{DAEMON}stream({TARGET!r}, 22)\nprint('came through')\n"
    _install(tmp_path, "strays", script, timeout=60)
    said = _unit(estate, tmp_path, Host(TARGET), own_ports=[OURS])
    assert "came through" in said["found"].get("extension/strays", ""), said
    assert "DID" not in str(said), said
    assert (said["code"], said["status"]) == ("strayed_out_of_scope", "partial")
    assert "strays: sent" in said["error"]
    assert NEIGHBOUR in said["error"]
    assert _reached(local) == [0, 0, 0, 0, 0]
    assert _sent_to(estate) == {TARGET}
    assert wait_until_gone(mark, 5) == set()


def test_it_is_no_faster_than_its_share(estate: Namespaces, tmp_path: Path) -> None:
    flood = (
        "import os, socket, time\n"
        "one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\nuntil = time.monotonic() + 2\n"
        "while time.monotonic() < until: one.sendto(b'x', (os.environ['DOM_ADDRS'], 9))\nprint('sent')\n"
    )
    _install(tmp_path, "floods", flood)
    began = time.monotonic()
    said = _unit(estate, tmp_path, Host(TARGET), options={"max_rate": 20})
    assert said["status"] == "done", said
    assert "packets were dropped, as it sent more than 20 a second" in said["notes"][TARGET]
    assert 10 <= estate.packets()[TARGET] <= 20 * (time.monotonic() - began) + 5


def test_one_that_hangs_and_forks_ends_whole_before_its_fence_falls(estate: Namespaces, tmp_path: Path) -> None:
    mark = uuid4()
    hangs = f"""
export PULSAR_SCAN={mark}
trap '' TERM
while :; do sleep 60 & done 2>/dev/null
while :; do sleep 60; done
"""
    _install(tmp_path, "hangs", hangs, "bash", timeout=2)
    said = _unit(estate, tmp_path, Host(TARGET))
    assert (said["status"], said["code"]) == ("failed", "tool_timed_out"), said
    assert wait_until_gone(mark, 0) == set()


def test_of_a_name_it_reaches_the_addresses_that_are_in_the_scope(estate: Namespaces, tmp_path: Path) -> None:
    tries = (
        "import os, socket\nprint('given', os.environ['DOM_ADDRS'])\n"
        f"for address in {(TARGET, NEIGHBOUR, SPARED)!r}:\n"
        " try: socket.create_connection((address, 22), timeout=2); print('reached', address)\n"
        " except OSError: pass\n"
    )
    _install(tmp_path, "tries", tries, accepts=("domain",))
    seen = (
        Host(TARGET, name="www.a.test"),
        Host(SPARED, name="www.a.test"),
        Host(NEIGHBOUR, name="www.a.test", via=OUTSIDE),
    )
    names = (DomainName("www.a.test"), DomainName("bare.a.test"))
    said = _unit(estate, tmp_path, *names, targets=["a.test"], seen=seen, exclude=[SPARED])
    text = said["found"]["extension/tries"]
    assert (f"given {TARGET}" in text, text.count("reached"), f"reached {TARGET}" in text) == (True, 1, True), said
    assert "nothing of it that it may reach" in said["notes"]["bare.a.test"]
    assert _sent_to(estate) == {TARGET}


def test_where_it_cannot_be_held_it_is_not_run_and_the_others_are(estate: Namespaces, tmp_path: Path) -> None:
    _install(tmp_path, "asks", ASKS)
    alone = _unit(estate, tmp_path, Host(TARGET), before=POWERLESS)
    assert (alone["status"], alone["code"], alone["found"]) == ("skipped", "fence_missing", {}), alone
    assert "network access cannot be held to its record" in alone["error"]
    assert 'network = "none"' in alone["hint"]
    _install(tmp_path, "offline", "echo found", "sh", network="none")
    beside = _unit(estate, tmp_path, Host(TARGET), before=POWERLESS)
    assert (beside["status"], beside["error"], list(beside["found"])) == ("partial", None, ["extension/offline"])
    assert "asks: not run: network access cannot be held" in beside["notes"][TARGET]
    assert _sent_to(estate) == set()
    state = estate.scanner.run([*POWERLESS, sys.executable, "-c", INSPECT, tmp_path], timeout=60, check=True)
    module, risk, remedy = json.loads(state.stdout)
    assert (module, risk) == ("degraded", "safe")
    assert remedy.startswith("not run: asks: network access cannot be held")


INSPECT = """
import json, sys
from pathlib import Path
from footprint.settings import Settings
from tasks.inspection import inspect_modules
found = {one.name: one for one in inspect_modules(Settings(home=Path(sys.argv[1])))}["extension"]
print(json.dumps([found.state, found.risk, found.remedy]))
"""


def test_a_policy_may_give_them_no_network(estate: Namespaces, tmp_path: Path) -> None:
    _install(tmp_path, "asks", ASKS)
    said = _unit(estate, tmp_path, Host(TARGET), options={"network": "none"})
    assert (said["status"], said["found"]) == ("done", {}), said
    assert "the policy gives it no network" in said["notes"][TARGET]
    assert _sent_to(estate) == set()


LOCALLY = f"""
import socket
for port in {(OPEN, CLOSED, OURS)!r}:
    try:
        socket.create_connection(({HERE!r}, port), timeout=2)
        print("reached", port)
    except OSError:
        pass
"""


def test_on_this_machine_it_reaches_the_services_that_were_found_and_none_of_ours(
    estate: Namespaces, tmp_path: Path, local: subprocess.Popen[str]
) -> None:
    _install(tmp_path, "local", LOCALLY, accepts=("host",))
    seen = (Service(HERE, OPEN), Service(HERE, OURS))  # as a stock worker's scan would find them
    asked: dict[str, Any] = {"targets": [HERE], "seen": seen}
    unknown = _unit(estate, tmp_path, Host(HERE), **asked)
    assert (unknown["status"], unknown["code"]) == ("skipped", "fence_missing"), unknown
    assert "pulsar worker" in unknown["hint"]
    said = _unit(estate, tmp_path, Host(HERE), own_ports=[OURS], **asked)
    assert said["found"] == {"extension/local": f"reached {OPEN} "}, said
    assert _reached(local) == [1, 0, 0, 0, 0]


def test_what_a_kill_leaves_is_taken_down_by_the_next(estate: Namespaces, tmp_path: Path) -> None:
    mark = uuid4()
    script = f"export PULSAR_SCAN={mark}\nsetsid sleep 300 & exec sleep 300\n"
    _install(tmp_path, "hangs", script, "sh", timeout=300)
    with estate.scanner.popen(_argv(tmp_path, (Host(TARGET),))) as process:
        until = time.monotonic() + 30
        while not marked(mark):
            assert time.monotonic() < until
            time.sleep(0.05)
        process.kill()
    assert wait_until_gone(mark, 5) == set()
    assert "pulsar_" in _tables(estate)  # what is left of it still holds
    until = time.monotonic() + 20
    while _tables(estate) and time.monotonic() < until:  # not before the last process of its id is gone
        estate.scanner.run([sys.executable, "-c", TIDY, tmp_path / "work"], check=True)
