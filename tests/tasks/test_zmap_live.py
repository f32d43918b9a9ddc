"""The installed ZMap and masscan, run as scans run them, in a namespace from which nothing leads out."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from footprint.records import Outcome
from tasks.runner import search_path
from tests.estate.namespaces import LINK, SCANNER, Namespaces

pytestmark = pytest.mark.alone

NET, ELSEWHERE = "10.87.0.0/26", "10.87.1.0/26"
OPEN = {"10.87.0.10": (22, 80), "10.87.0.11": (443,)}
SPARED = "10.87.0.12"
EXPECTED = {f"{address}:{port}/tcp" for address, ports in OPEN.items() for port in ports}
PORTS = "22,80,443"
LISTEN = """
import json, socket, sys, time
held = [socket.create_server((address, port)) for address, ports in json.loads(sys.argv[1]).items() for port in ports]
print("ready", flush=True)
sys.stdin.read()
"""
WAKE = """
import socket, time
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as waker:
    for _ in range(600):
        waker.sendto(b"", ("{to}", 9))
        time.sleep(0.1)
"""
"""masscan 1.3.2 notices that its time is up when a packet arrives, and nothing ever does in an empty namespace."""


@pytest.fixture
def estate(namespaces: Namespaces) -> Iterator[Namespaces]:
    """Hosts behind a gateway, one of which is excluded from scans."""
    namespaces.add(*OPEN, SPARED)
    listening = namespaces.estate.popen(
        [sys.executable, "-c", LISTEN, json.dumps({**OPEN, SPARED: (22, 80)})],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with listening:
        assert listening.stdout
        assert listening.stdout.readline() == "ready\n"
        yield namespaces
        listening.terminate()


def _need(program: str) -> None:
    if shutil.which(program, path=search_path()) is None:
        pytest.skip(f"{program} is not installed here")


def _sweep(made: Namespaces, home: Path, *networks: str, **asked: Any) -> dict[str, Any]:
    module, before = asked.pop("module", "zmap"), asked.pop("before", ())
    said = {"options": {}, "ports": PORTS, "seconds": 60, "exclude": [SPARED], "networks": networks, **asked}
    inside = [sys.executable, "-m", "tests.tasks.sweep_inside", str(home), module, json.dumps(said)]
    ran = made.scanner.run([*before, *inside], timeout=90)
    assert ran.returncode == 0, ran.stderr
    answer: dict[str, Any] = json.loads(ran.stdout)
    return answer


def test_what_is_open_is_found_and_what_is_excluded_sees_not_one_packet(estate: Namespaces, tmp_path: Path) -> None:
    _need("zmap")
    said = _sweep(estate, tmp_path, NET, ELSEWHERE, options={"cooldown": 1, "probes": 2})
    assert said["status"] == "done", said
    assert set(said["services"]) == EXPECTED
    assert set(said["hosts"]) == set(OPEN)
    counted = "762 packets sent and 12 received by the unit"  # (64 - 1 + 64) addresses, 3 ports, twice
    assert said["coverage"] == {
        NET: [Outcome.ANSWERED, f"2 of 64 addresses answered on 3 of 3 ports; {counted}"],
        ELSEWHERE: [Outcome.SILENT, f"0 of 64 addresses answered on 3 of 3 ports; {counted}"],
    }
    packets = estate.packets()
    assert packets[SPARED] == 0
    assert packets["10.87.0.1"] == packets["10.87.1.63"] == 6
    assert {address for address in packets if not address.startswith(("10.87.", "ff02:"))} == set()


def test_masscan_finds_the_same_and_spares_the_same(estate: Namespaces, tmp_path: Path) -> None:
    _need("masscan")
    waker = estate.estate.popen([sys.executable, "-c", WAKE.format(to=SCANNER)])
    with waker:
        said = _sweep(estate, tmp_path, NET, options={"engine": "masscan", "cooldown": 1, "probes": 2})
        waker.terminate()
    assert said["status"] == "done", said
    assert set(said["services"]) == EXPECTED
    assert said["coverage"][NET] == [Outcome.ANSWERED, "2 of 64 addresses answered on 3 of 3 ports"]
    assert estate.packets()[SPARED] == 0
    assert estate.packets()["10.87.0.1"] == 6


def test_the_rate_is_kept(estate: Namespaces, tmp_path: Path) -> None:
    _need("zmap")
    said = _sweep(estate, tmp_path, "10.87.1.0/27", options={"cooldown": 1, "probes": 1, "rate": 6})
    assert said["status"] == "done"
    assert sum(count for address, count in estate.packets().items() if address.startswith("10.87.1.")) == 96
    assert said["took"] > 96 / 6


def test_a_network_on_the_workers_own_link_is_left_to_nmap_discovery(estate: Namespaces, tmp_path: Path) -> None:
    _need("zmap")
    link = f"{LINK}.0/30"
    said = _sweep(estate, tmp_path, link, NET, options={"cooldown": 1})
    assert said["status"] == "partial"
    assert said["coverage"][link][0] == Outcome.NOT_LOOKED_AT
    assert "own link" in said["coverage"][link][1]
    assert set(said["services"]) == EXPECTED
    asked = _sweep(estate, tmp_path, link, module="nmap_discovery")
    assert asked["hosts"] == [f"{LINK}.1", f"{LINK}.2"]


def test_a_gateway_that_does_not_answer_is_said(estate: Namespaces, tmp_path: Path) -> None:
    _need("zmap")
    estate.estate.run(["ip", "link", "set", "estate0", "arp", "off"], check=True)
    estate.scanner.run(["ip", "neigh", "flush", "all"], check=True)
    said = _sweep(estate, tmp_path, NET)
    assert said["coverage"][NET] == [Outcome.NOT_LOOKED_AT, "the gateway that leads there does not answer"]


def test_what_was_found_before_the_time_ran_out_counts(estate: Namespaces, tmp_path: Path) -> None:
    _need("zmap")
    said = _sweep(estate, tmp_path, NET, seconds=8, options={"rate": 60, "probes": 1, "cooldown": 60})
    assert (said["status"], said["code"]) == ("partial", "tool_timed_out")
    assert set(said["services"]) == EXPECTED
    assert said["coverage"][NET][0] == Outcome.NOT_LOOKED_AT


def test_without_raw_sockets_the_unit_is_skipped_with_the_remedy(estate: Namespaces, tmp_path: Path) -> None:
    _need("zmap")
    lesser = ("setpriv", "--inh-caps=-net_raw", "--bounding-set=-net_raw")
    said = _sweep(estate, tmp_path, NET, before=lesser)
    assert (said["status"], said["code"], said["command"]) == ("skipped", "not_privileged", "")
    assert "CAP_NET_RAW" in said["hint"]
    assert not estate.packets()["10.87.0.1"]


def test_discovery_spares_what_is_excluded(estate: Namespaces, tmp_path: Path) -> None:
    _need("nmap")
    said = _sweep(estate, tmp_path, NET, ELSEWHERE, module="nmap_discovery")
    assert said["status"] == "done", said
    assert set(said["hosts"]) == set(OPEN)
    assert estate.packets()[SPARED] == 0
    assert estate.packets()["10.87.0.1"] > 0
