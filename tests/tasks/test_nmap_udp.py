"""nmap over UDP: what it is asked, what it may not claim, and what it finds in a network of the test's own."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Event
from typing import Any
from uuid import uuid4

import pytest
from pydantic import ValidationError

from footprint.errors import NotPrivileged
from footprint.policy import ScanPolicy
from footprint.records import Coverage, Host, Network, Outcome, Record, Service
from footprint.scope import Scope
from footprint.settings import Settings
from footprint.store.units import Unit
from footprint.verdict import UnitStatus
from tasks import nmap, unit
from tasks.nmap_answers import LIKELY, parse
from tasks.nmap_options import port_count
from tasks.nmap_udp import MOST_PORTS, TELLING, TOOL, command, configure, degrade
from tasks.tool import Batch, Output, Pace, Powers, Tool
from tasks.unit import Circumstances, carry_out
from tests.estate.namespaces import Namespaces

PACE = Pace(4, 3600, "top:100")
ROOT = Path(__file__).parents[2]
OPEN, CLOSED, SILENT = "10.87.0.53", "10.87.0.54", "10.87.0.55"
HOSTS: list[Record] = [Host(OPEN), Host(CLOSED), Host(SILENT)]
SERVERS = f"""
import socket, sys
from tests.estate.name_server import NameServer
ssh = socket.create_server(("{OPEN}", 22))
mute = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
mute.bind(("{OPEN}", 500))
with NameServer("www.example.test A {OPEN}", host="{OPEN}", port=53):
    print("ready", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def network(namespaces: Namespaces) -> Iterator[Namespaces]:
    """A host with a name server, one with nothing, and one that drops everything."""
    if shutil.which("nmap") is None:
        pytest.skip("nmap is not installed here")
    namespaces.add(OPEN, CLOSED, SILENT)
    namespaces.silence(SILENT)
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    servers = namespaces.estate.popen([sys.executable, "-c", SERVERS], cwd=ROOT, **pipes)
    with servers:
        assert servers.stdout.readline() == b"ready\n"
        yield namespaces


def _run(made: Namespaces, tool: Tool, folder: Path, batch: Batch, said: dict[str, Any] | None = None) -> Output:
    """What a module's program writes on the scanner's side."""
    assert tool.command
    asked = tool.command(batch, tool.configure(said or {}, PACE))
    for name, text in asked.files.items():
        (folder / name).write_text(text)
    done = made.scanner.run(asked.argv, cwd=folder, timeout=120)
    return Output(done.stdout, done.stderr, done.returncode)


def _ask(
    made: Namespaces, tool: Tool, folder: Path, batch: Batch, said: dict[str, Any] | None = None
) -> list[Record | Coverage]:
    """What a module finds from the scanner's side."""
    assert tool.parse
    return list(tool.parse(_run(made, tool, folder, batch, said), batch))


def _coverage(found: list[Record | Coverage]) -> dict[str, Coverage]:
    return {entry.subject: entry for entry in found if isinstance(entry, Coverage)}


def _services(found: list[Record | Coverage]) -> list[Service]:
    return [record for record in found if isinstance(record, Service)]


def test_what_answers_is_open_and_what_is_silent_is_not_said_to_be_closed(network: Namespaces, tmp_path: Path) -> None:
    found = _ask(network, TOOL, tmp_path, HOSTS, {"ports": "53,500,9999"})
    assert _services(found) == [Service(OPEN, 53, "udp")]
    said = _coverage(found)
    assert {address: entry.outcome for address, entry in said.items()} == {
        OPEN: Outcome.ANSWERED,
        CLOSED: Outcome.ANSWERED,
        SILENT: Outcome.SILENT,
    }
    assert said[SILENT].note == "3 without an answer (open or filtered)"
    assert said[CLOSED].note == "3 closed"
    assert "1 open" in said[OPEN].note
    assert "1 without an answer (open or filtered)" in said[OPEN].note


def test_a_name_server_is_recognised_and_a_closed_port_is_not(network: Namespaces, tmp_path: Path) -> None:
    batch = [Service(OPEN, 53, "udp"), Service(CLOSED, 53, "udp")]
    found = _ask(network, TOOL, tmp_path, batch)
    assert [(service.address, service.name) for service in _services(found)] == [(OPEN, "domain")]
    assert _coverage(found)[f"{CLOSED}:53/udp"].note == "no longer open: closed now"


def test_only_the_targets_see_packets(network: Namespaces, tmp_path: Path) -> None:
    _ask(network, TOOL, tmp_path, [Host(OPEN)], {"ports": "53"})
    assert set(+network.packets()) == {OPEN}


def test_a_host_of_the_network_is_guessed_to_be_what_it_is(network: Namespaces, tmp_path: Path) -> None:
    batch = [Service(OPEN, 22), Service(CLOSED, 22)]
    output = _run(network, nmap.TOOL, tmp_path, batch, {"version_intensity": 0, "scripts": []})
    guesses = re.findall(r'<osmatch name="([^"]+)" accuracy="(\d+)"', output.stdout)
    assert any("Linux" in name for name, _ in guesses)
    best = max(int(accuracy) for _, accuracy in guesses)
    hosts = [record for record in parse(output, batch) if isinstance(record, Host)]
    # How sure nmap is depends on the kernel that the tests run on.
    assert [host.address for host in hosts] == ([OPEN] if best >= LIKELY else [])
    assert all((host.os or "").endswith(f"({best} %)") for host in hosts)


def _argv(batch: list[Record], said: dict[str, Any] | None = None, pace: Pace = PACE) -> tuple[str, ...]:
    return command(batch, configure(said or {}, pace)).argv


def _value(argv: tuple[str, ...], flag: str) -> str | None:
    return argv[argv.index(flag) + 1] if flag in argv else None


def test_hosts_are_asked_for_the_telling_ports_and_not_for_versions() -> None:
    argv = _argv([Host("192.0.2.1")])
    assert {"-sU", "-Pn", "--privileged"} <= set(argv)
    assert _value(argv, "-p") == TELLING
    assert not {"-sS", "-sT", "-sV", "-O"} & set(argv)


def test_the_policys_ports_are_of_tcp_and_do_not_count() -> None:
    assert configure({}, Pace(3, 3600, "all")).ports == TELLING


@pytest.mark.parametrize(("ports", "flag"), [("top:20", "--top-ports"), ("53,161-162", "-p")])
def test_ports_are_as_the_module_is_told(ports: str, flag: str) -> None:
    assert _value(_argv([Host("192.0.2.1")], {"ports": ports}), flag) == ports.removeprefix("top:")


@pytest.mark.parametrize(
    "said",
    [
        {"ports": "all"},
        {"ports": f"top:{MOST_PORTS + 1}"},
        {"ports": "1-5000"},
        {"ports": "0"},
        {"ports": "U:53"},
        {"ports": "-oX"},
        {"scripts": ["vnc-info"]},
        {"scripts": ["tftp-enum"]},
        {"max_rate": 0},
        {"technique": "connect"},
    ],
)
def test_what_is_out_of_bounds_is_refused(said: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        configure(said, PACE)


@pytest.mark.parametrize("intensity", range(6))
@pytest.mark.parametrize("hosts", [1, 64])
def test_silent_hosts_are_through_in_time(intensity: int, hosts: int) -> None:
    argv = _argv([Host(f"198.18.0.{n}") for n in range(1, hosts + 1)], pace=Pace(intensity, 3600, "all"))
    group, rate = int(_value(argv, "--max-hostgroup") or 0), int(_value(argv, "--min-rate") or 0)
    timeout = int((_value(argv, "--host-timeout") or "0s").removesuffix("s"))
    assert 2 * group * port_count(TELLING) / rate < 0.9 * timeout
    assert -(-hosts // group) * timeout < 3600


def test_services_travel_by_port_so_that_no_host_is_asked_about_anothers() -> None:
    dns, ntp, other = Service("192.0.2.1", 53, "udp"), Service("192.0.2.1", 123, "udp"), Service("192.0.2.2", 53, "udp")
    intake = TOOL.intake_of(dns)
    assert intake
    assert intake.lane(dns) == intake.lane(other) != intake.lane(ntp)
    assert intake.lane(Service("2001:db8::1", 53, "udp")) not in (intake.lane(dns), intake.lane(ntp))
    assert _value(_argv([dns, other]), "-p") == "53"


def test_tcp_services_and_networks_are_for_the_other_module() -> None:
    assert TOOL.intake_of(Service("192.0.2.1", 80)) is None
    assert TOOL.intake_of(Network("192.0.2.0/26")) is None


def test_nothing_replaces_raw_sockets() -> None:
    options = configure({}, PACE)
    assert degrade(options, Powers(raw_sockets=True)) == (options, None)
    with pytest.raises(NotPrivileged) as error:
        degrade(options, Powers(raw_sockets=False, reason="not permitted"))
    assert error.value.detail == "nmap_udp: UDP ports were not looked at: not permitted"
    assert "CAP_NET_RAW" in error.value.hint


@pytest.mark.skipif(shutil.which("nmap") is None, reason="nmap is not installed here")
def test_without_raw_sockets_a_unit_is_skipped_and_says_what_was_not_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unit, "powers", lambda work_dir: Powers(raw_sockets=False, reason="not permitted"))
    scope = Scope.for_target(Network("127.0.0.0/8"), allow=("127.0.0.0/8",), max_addresses=1 << 24)
    policy = ScanPolicy(name="udp", modules={"nmap_udp": {}})
    under = Circumstances(uuid4(), policy, scope, Settings(), None, tmp_path, Event(), lambda percent: None)
    settled = carry_out(Unit("nmap_udp", 1, 0, (Host("127.0.0.1"),)), under)
    assert (settled.status, settled.error_code) == (UnitStatus.SKIPPED, "not_privileged")
    assert [entry.outcome for entry in settled.coverage] == [Outcome.NOT_LOOKED_AT]
    assert settled.records == ()


def test_no_recorded_answer_says_that_nothing_is_open() -> None:
    for case in (ROOT / "tests" / "fixtures" / "nmap_udp").glob("*/case.json"):
        for entry in json.loads(case.read_text()).get("expect", []):
            assert "closed|filtered" not in entry.get("note", "")
            if entry.get("outcome") == "silent" and "/" not in entry["coverage"]:
                assert "without an answer (open or filtered)" in entry["note"]
