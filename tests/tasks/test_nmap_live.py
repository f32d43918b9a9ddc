"""The installed nmap, started as scans start it, against listeners on loopback."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from footprint.records import Coverage, Host, Network, Outcome, Record, Service
from tasks import nmap_discovery
from tasks.nmap import TOOL, command, degrade, powers_of, powers_probe
from tasks.nmap_answers import parse
from tasks.nmap_options import configure
from tasks.runner import Limits, run
from tasks.tool import Command, Output, Pace
from tests.estate.listeners import HTTP, RANGE_PORTS, REDIS, SILENT, SSH, Listeners, Place, Truth, test_range

PACE = Pace(4, 120, "top:100")

pytestmark = pytest.mark.skipif(shutil.which("nmap") is None, reason="nmap is not installed here")


def _hosts(*addresses: str) -> list[Record]:
    return [Host(address) for address in addresses]


def _coverage(found: list[Record | Coverage]) -> dict[str, Outcome]:
    return {entry.subject: entry.outcome for entry in found if isinstance(entry, Coverage)}


def _versions(found: list[Record | Coverage]) -> set[Truth]:
    return {Truth(at.address, at.port, at.product, at.version) for at in found if isinstance(at, Service)}


def _run(made: Command, folder: Path) -> Output:
    return run(made, Limits(120, folder))


def _may_open_raw_sockets() -> bool:
    try:
        socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP).close()
    except PermissionError:
        return False
    return True


@pytest.fixture
def estate() -> Iterator[Listeners]:
    with test_range(6, first="127.0.66.1") as listeners:
        yield listeners


def _ask(batch: list[Record], folder: Path, said: dict[str, Any] | None = None) -> list[Record | Coverage]:
    options, _ = degrade(configure(said or {}, PACE), powers_of(_run(powers_probe(), folder)))
    return list(parse(_run(command(batch, options), folder), batch))


def test_a_network_gives_hosts_hosts_give_ports_ports_give_versions(estate: Listeners, tmp_path: Path) -> None:
    networks: list[Record] = [Network("127.0.66.0/29")]
    asked = nmap_discovery.command(networks, nmap_discovery.configure({}, PACE))
    found = nmap_discovery.parse(_run(asked, tmp_path), networks)
    hosts = [record for record in found if isinstance(record, Host)]
    assert set(estate.addresses) <= {host.address for host in hosts}
    ports = [record for record in _ask([*hosts], tmp_path) if isinstance(record, Service)]
    own = [port for port in ports if port.port in RANGE_PORTS and port.address in estate.addresses]
    assert {(port.address, port.port) for port in own} == {at[:2] for at in estate.truth}
    found = _ask([*own], tmp_path)
    assert _versions(found) == estate.truth
    assert set(_coverage(found).values()) == {Outcome.ANSWERED}


def test_connecting_finds_the_same_ports(estate: Listeners, tmp_path: Path) -> None:
    found = _ask(_hosts(*estate.addresses), tmp_path, {"technique": "connect", "ports": "2001,2121,8008"})
    assert {(at.address, at.port) for at in found if isinstance(at, Service)} == {at[:2] for at in estate.truth}


def test_ipv6(tmp_path: Path) -> None:
    with Listeners([Place("::1", 0, SSH), Place("::1", 0, HTTP)]) as listeners:
        batch: list[Record] = [Service(at.address, at.port) for at in listeners.places]
        found = _ask(batch, tmp_path)
        assert _versions(found) == listeners.truth


def test_what_says_nothing_is_open_all_the_same(tmp_path: Path) -> None:
    with Listeners([Place("127.0.66.9", 6379, REDIS), Place("127.0.66.9", 0, SILENT)]) as listeners:
        batch: list[Record] = [Service(at.address, at.port) for at in listeners.places]
        found = _ask(batch, tmp_path, {"version_intensity": 0})
        assert _versions(found) == listeners.truth
    assert set(_coverage(found).values()) == {Outcome.ANSWERED}


def test_raw_sockets_are_asked_of_the_kernel(tmp_path: Path) -> None:
    assert powers_of(_run(powers_probe(), tmp_path)).raw_sockets is _may_open_raw_sockets()


def test_its_version_is_understood(tmp_path: Path) -> None:
    assert TOOL.binary
    match = TOOL.binary.version_pattern.search(_run(Command(TOOL.binary.version_argv), tmp_path).stdout)
    assert match
    assert tuple(map(int, match.group(1).split("."))) >= TOOL.binary.minimum
