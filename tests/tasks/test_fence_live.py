"""The fence, raised in a scanner's namespace: what a tool was given is reached, and all else sees not one packet."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tasks.runner import search_path
from tests.estate.namespaces import Namespaces
from tests.processes import wait_until_gone, wait_until_there

TARGET, NEIGHBOUR, SPARED = "10.87.0.10", "10.88.0.1", "10.87.0.12"
TARGET6, NEIGHBOUR6 = "fd87::10", "fd88::1"
PORT = 22
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
