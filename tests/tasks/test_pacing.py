"""How heavy units are, and how they are held to their share of a destination."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from threading import Event
from uuid import uuid4

import pytest

from footprint.budget import INTENSITIES, Allowance, Share, allowance_of
from footprint.errors import TooHeavy
from footprint.policy import ScanPolicy
from footprint.records import DomainName, Endpoint, Host, Network, Record, Service
from footprint.scope import Scope
from footprint.settings import Settings
from footprint.store.units import Unit
from footprint.verdict import UnitStatus
from tasks.catalogue import catalogue, tool_named
from tasks.http_probe import HttpProbeOptions
from tasks.nmap import NmapOptions, command
from tasks.pacing import load_of, paced
from tasks.ssh_audit import SshAuditOptions
from tasks.tls_options import TlsOptions
from tasks.tool import Pace, Risk, Tool
from tasks.unit import Circumstances, carry_out

ADDRESS = "198.51.100.7"
WIDE = Allowance(100_000, 1000)
ONE_OF_EACH: dict[type, Record] = {
    DomainName: DomainName("example.com"),
    Host: Host(ADDRESS),
    Network: Network("198.51.100.0/26"),
    Service: Service(ADDRESS, 22, name="ssh"),
    Endpoint: Endpoint(ADDRESS, 443, None, "https"),
}
ACTIVE = [tool for tool in catalogue().values() if tool.risk is not Risk.PASSIVE]


def _words(argv: tuple[str, ...], flag: str) -> str:
    return argv[argv.index(flag) + 1]


def test_the_share_of_a_sweep_is_nmaps_own_rate() -> None:
    batch = [Host(ADDRESS), Host("198.51.100.8")]
    options = paced(tool_named("nmap"), batch, NmapOptions(ports="all", max_rate=4000), WIDE, Share(1234.5, 1))
    argv = command(batch, options).argv
    assert (_words(argv, "--max-rate"), _words(argv, "--min-rate")) == ("1234", "1172")


def test_an_option_of_the_policy_that_asks_for_less_is_kept() -> None:
    batch = [Host(ADDRESS)]
    load = load_of(tool_named("nmap"), batch, NmapOptions(ports="all", max_rate=77))
    assert load is not None
    assert (load.packets, load.is_sweep) == (77, True)


def test_requests_are_held_by_their_rate_and_their_connections() -> None:
    endpoint = [ONE_OF_EACH[Endpoint]]
    options = paced(tool_named("http_probe"), endpoint, HttpProbeOptions(rate=300, parallel=32), WIDE, Share(50, 3))
    assert (options.rate, options.parallel) == (5, 3)


def test_on_loopback_nothing_is_held() -> None:
    options = HttpProbeOptions(rate=300, parallel=32)
    batch = [Endpoint("127.0.0.1", 80, None, "http")]
    assert load_of(tool_named("http_probe"), batch, options) is None
    assert paced(tool_named("http_probe"), batch, options, Allowance(1, 1), None) is options


@pytest.mark.parametrize("intensity", range(6))
@pytest.mark.parametrize("tool", ACTIVE, ids=[tool.name for tool in ACTIVE])
def test_no_module_sends_more_than_its_policy_allows(tool: Tool, intensity: int) -> None:
    policy = ScanPolicy(name="own", modules={tool.name: {}}, intensity=intensity)
    allowance = allowance_of(policy, Settings())
    options = tool.configure({}, Pace(intensity, 3600, "top:1000"))
    for intake in tool.accepts:
        batch = [ONE_OF_EACH[intake.record]]
        try:
            held = load_of(tool, batch, paced(tool, batch, options, allowance, None))
        except TooHeavy as why:
            assert f"{allowance.packets:,.0f} are allowed" in str(why) or "connections" in str(why)  # noqa: PT017
            continue
        assert held is None or held.packets <= allowance.packets
        assert held is None or held.connections <= allowance.connections


def test_a_module_that_says_nothing_of_its_load_is_taken_to_be_heavy() -> None:
    batch = [ONE_OF_EACH[Service]]
    undeclared = replace(tool_named("tls"), load=None)
    guessed = load_of(undeclared, batch, TlsOptions())
    assert guessed is not None
    assert guessed.least == guessed.packets == 300
    parallel = load_of(undeclared, batch, SshAuditOptions(parallel=8))
    assert parallel is not None
    assert (parallel.least, parallel.fewest) == (480, 8)


def test_what_is_passive_is_no_load() -> None:
    for tool in catalogue().values():
        if tool.risk is Risk.PASSIVE:
            assert load_of(tool, list(ONE_OF_EACH.values()), tool.configure({}, Pace(3, 3600, "all"))) is None


def test_a_module_that_cannot_go_slowly_enough_is_skipped_and_says_so(tmp_path: Path) -> None:
    policy = ScanPolicy(name="own", modules={"tls": {"checks": "all"}}, intensity=1)
    scope = Scope.for_target(Network("198.51.100.0/24"), allow=("198.51.100.0/24",))  # type: ignore[arg-type]
    under = Circumstances(uuid4(), policy, scope, Settings(), None, tmp_path, Event(), lambda percent: None)
    settled = carry_out(Unit("tls", 1, 0, (ONE_OF_EACH[Endpoint],)), under)
    assert (settled.status, settled.error_code) == (UnitStatus.SKIPPED, "too_heavy")
    said = "tls: cannot go slower than 2,850 packets a second; 50 are allowed for one destination"
    assert settled.error == said
    assert settled.command == ""


def test_a_port_is_no_sweep_and_all_ports_are() -> None:
    loads = [load_of(tool_named("nmap"), [Host(ADDRESS)], NmapOptions(ports=ports)) for ports in ("22", "all")]
    assert [load and load.is_sweep for load in loads] == [False, True]
    assert INTENSITIES[2].packets == NmapOptions().max_rate
