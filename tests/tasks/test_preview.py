"""What a scan would do is told as a scan does it, and without doing any of it."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from flows.frontier import Bounds, Frontier
from footprint.policy import PRESETS, ScanPolicy
from footprint.records import Endpoint, Network, Record, Service
from footprint.scope import Scope
from footprint.seeds import seeds
from footprint.settings import Settings
from footprint.target import parse_target
from tasks.catalogue import catalogue
from tasks.effort import Sends, addresses_left
from tasks.plan import Preview, Step, When
from tasks.preview import batches_of, preview
from tests.tasks.forbidding import nothing_sent

EVERYTHING = ScanPolicy(name="everything", modules={name: {} for name in catalogue()}, ports="all")
TARGETS = ("example.com", "93.184.216.34", "2606:2800:220:1::1", "93.184.208.0/20", "2606:2800:220:1::/116")
EXCLUDED = ("93.184.216.12", "93.184.217.0/25", "93.184.217.64/26", "never.example.com")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """An installation that has its name servers, and nothing else."""
    return Settings(home=tmp_path, resolvers=("127.0.0.1:9",), scope_allow=("127.0.0.0/8",))  # type: ignore[arg-type]


def _planned(settings: Settings, text: str, policy: ScanPolicy = EVERYTHING, exclude: tuple[str, ...] = ()) -> Preview:
    target = parse_target(text)
    return preview(target, policy, Scope((target,), settings.scope_allow, exclude), settings, None)


def _policy(**said: Any) -> ScanPolicy:
    modules = {name: {} for name in said.pop("modules").split()}
    return ScanPolicy(**{"name": "mine", "modules": modules, "ports": "top:100", **said})


def _step(planned: Preview, module: str) -> Step:
    return next(step for step in planned.steps if step.module == module)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("policy", [EVERYTHING, *PRESETS.values()], ids=lambda policy: policy.name)
def test_nothing_is_sent_nothing_is_started_and_it_does_not_take_long(
    settings: Settings, policy: ScanPolicy, target: str
) -> None:
    catalogue()
    began = time.process_time()
    with nothing_sent():
        planned = _planned(settings, target, policy, EXCLUDED)
    assert time.process_time() - began < 1
    assert [step.module for step in planned.steps] == list(policy.modules)
    for step in planned.steps:
        assert bool(step.why) is (step.when is When.NEVER), step
        assert bool(step.units) is (step.when is When.AT_ONCE), step
        assert step.most is None or step.least <= step.most, step
        assert all(need.most is None or need.least <= need.most for need in step.needs), step


def test_what_is_forbidden_would_be_noticed() -> None:
    with pytest.raises(AssertionError), nothing_sent():
        socket.socket().close()
    with pytest.raises(AssertionError), nothing_sent():
        subprocess.run([sys.executable, "--version"], check=True, stdout=subprocess.DEVNULL)


@pytest.mark.parametrize("target", TARGETS)
def test_the_first_units_are_those_that_a_scan_begins_with(settings: Settings, target: str) -> None:
    wanted = parse_target(target)
    scope = Scope((wanted,), exclude=("93.184.217.0/25",))
    roots = [root for root in seeds(wanted) if scope.decide(root).touch]
    for tool in catalogue().values():
        frontier = Frontier([tool], scope, Bounds(8, 100_000))
        frontier.offer(seeds(wanted))
        given = []
        while unit := frontier.take():
            given.append(unit.records)
        assert list(batches_of(tool, roots)) == given, tool.name


def test_every_module_tells_its_effort() -> None:
    assert [name for name, tool in catalogue().items() if tool.effort is None] == []


def test_excluded_addresses_are_not_counted_and_given_to_the_tool(settings: Settings) -> None:
    planned = _planned(settings, "93.184.216.0/23", _policy(modules="zmap nmap_discovery", ports="80,443"), EXCLUDED)
    assert planned.addresses == 512 - 1 - 128
    assert planned.left_out == ("93.184.216.12: excluded", "93.184.217.0/25: excluded")
    zmap, discovery = planned.steps
    assert (zmap.units, zmap.records) == (1, 6)
    assert zmap.least == zmap.most == 383 * 2 * 2
    assert zmap.runs[0].command.endswith("80,443 -b exclude")
    assert (discovery.units, discovery.least, discovery.most) == (6, 383, 383 * 8)
    assert [run.subjects for run in discovery.runs] == [(f"93.184.216.{at}/26",) for at in (0, 64, 128)]
    assert {(file.name, file.lines) for file in discovery.runs[0].files} == {("targets", 1), ("exclude", 3)}
    assert [(amount.sends, amount.least) for amount in planned.totals] == [(Sends.PACKETS, 383 * 5)]


def test_addresses_are_excluded_once() -> None:
    network = Network("93.184.216.0/24")
    scope = Scope((parse_target(network.cidr),), exclude=("93.184.216.0/26", "93.184.216.1", "93.184.0.0/17"))
    assert addresses_left([network], scope) == 256 - 64
    assert addresses_left([network], Scope(scope.roots, exclude=("93.184.0.0/16",))) == 0


def test_what_comes_later_says_what_it_waits_for_and_who_finds_it(settings: Settings) -> None:
    planned = _planned(settings, "93.184.216.0/24", _policy(modules="nmap_discovery nmap ssh_audit http_probe"))
    hosts, services = _step(planned, "nmap").needs
    assert (hosts.kind, hosts.found_by, hosts.at_most) == ("host", ("nmap_discovery",), 256)
    assert (hosts.sends, hosts.least, hosts.most) == (Sends.PACKETS, 100, 200)
    assert (services.kind, services.found_by, services.at_most) == ("service", ("nmap",), None)
    (keys,) = _step(planned, "ssh_audit").needs
    assert (keys.kind, keys.such_as, keys.found_by) == ("service", ("ssh",), ("nmap",))
    (pages,) = _step(planned, "http_probe").needs
    assert (pages.kind, pages.such_as, pages.least, pages.most) == ("endpoint", ("http", "https"), 3, 9)


def test_hosts_that_names_lead_to_are_not_counted_beforehand(settings: Settings) -> None:
    planned = _planned(settings, "example.com", _policy(modules="dns nmap"))
    assert _step(planned, "dns").when is When.AT_ONCE
    (hosts, _) = _step(planned, "nmap").needs
    assert (hosts.found_by, hosts.at_most) == (("dns",), None)


@pytest.mark.parametrize(
    ("target", "modules", "module", "why"),
    [
        ("93.184.216.34", "ct nmap", "ct", "takes domains only, and only those that a scan is asked for"),
        ("93.184.216.0/24", "dns nmap", "dns", "takes domains only, which are outside of the scope of this target"),
        ("example.com", "dns zmap", "zmap", "takes networks only, and nothing in this policy leads to any"),
        ("example.com", "dns tls", "tls", "takes endpoints only, and nothing in this policy leads to any"),
        ("2606:2800:220:1::/120", "zmap", "zmap", "takes networks, but none such as this target"),
        ("93.184.216.0/24", "nmap", "nmap", "takes hosts and services only, and nothing in this policy leads to any"),
        ("example.com", "extension", "extension", "there is nothing here that it would be run for"),
    ],
)
def test_what_never_comes_says_why(settings: Settings, target: str, modules: str, module: str, why: str) -> None:
    step = _step(_planned(settings, target, _policy(modules=modules)), module)
    assert (step.when, step.why[: len(why)]) == (When.NEVER, why)


def test_depth_bounds_what_comes_later(settings: Settings) -> None:
    modules = "nmap_discovery nmap http_probe"
    near = _planned(settings, "93.184.216.0/24", _policy(modules=modules, depth=2))
    assert [step.when for step in near.steps] == [When.AT_ONCE, When.LATER, When.NEVER]
    assert _step(near, "http_probe").why.endswith("further from the target than the policy's depth, 2")
    far = _planned(settings, "93.184.216.0/24", _policy(modules=modules, depth=3))
    assert _step(far, "http_probe").when is When.LATER
    nearest = _planned(settings, "93.184.216.0/24", _policy(modules=modules, depth=0))
    assert [step.when for step in nearest.steps] == [When.AT_ONCE, When.NEVER, When.NEVER]


def test_a_lesser_way_is_told_of_workers_without_raw_sockets(settings: Settings) -> None:
    planned = _planned(settings, "93.184.216.0/24", _policy(modules="zmap nmap_discovery nmap dns"))
    said = {step.module: step.without_raw_sockets for step in planned.steps}
    assert said == {
        "zmap": "does not run",
        "nmap_discovery": "connecting to ports 80 and 443 instead of ICMP and ARP",
        "nmap": "connect scan and no OS guess instead of SYN scan and OS guess",
        "dns": "",
    }
    assert "commands are those of a worker that may open raw sockets" in planned.remarks


def test_what_a_module_lacks_here_is_said_with_the_remedy(settings: Settings) -> None:
    planned = _planned(settings, "example.com", _policy(modules="dns cve_match nuclei", required=("cve_match",)))
    assert _step(planned, "dns").lacking == ""
    assert _step(planned, "cve_match").lacking.endswith("(pulsar feeds update)")
    assert "PULSAR_NUCLEI_TEMPLATES" in _step(planned, "nuclei").lacking
    assert any(remark.startswith("the scan fails: cve_match is required") for remark in planned.remarks)


def test_a_risk_is_that_of_the_options(settings: Settings) -> None:
    policy = _policy(modules="dns").model_copy(update={"modules": {"dns": {}, "amass": {"mode": "active"}}})
    planned = _planned(settings, "example.com", policy)
    assert [step.risk for step in planned.steps] == ["passive", "intrusive"]
    assert [(amount.sends, amount.to_target) for amount in planned.totals] == [("queries", False), ("queries", True)]


def test_time_that_does_not_suffice_is_said(settings: Settings) -> None:
    policy = _policy(modules="zmap", intensity=0, ports="top:30", scan_timeout=1000, unit_timeout=900)
    planned = _planned(settings, "93.184.208.0/20", policy)
    assert planned.seconds > 4096 * 30 * 2 / 10
    assert len([remark for remark in planned.remarks if "timeout" in remark]) == 2


@pytest.mark.parametrize(
    ("module", "batch", "said", "least", "most"),
    [
        ("nmap", [Service("127.0.0.1", 80)], {"version_intensity": 0, "scripts": [], "os_guess": False}, 6, 20),
        ("nmap", [Service("127.0.0.1", 80)], {"scripts": ["safe"]}, 6, None),
        ("tls", [Endpoint("127.0.0.1", 443)], {"checks": "certificate"}, 1, 6),
        ("http_probe", [Endpoint("127.0.0.1", 80)], {"git": False, "favicon": False, "redirects": 0}, 1, 1),
        ("whatweb", [Endpoint("127.0.0.1", 80)] * 2, {"aggression": 3}, 2, None),
        ("service_checks", [Service("127.0.0.1", 6379, name="redis")], {}, 1, 1),
        ("dns_brute", [parse_target("example.com")], {"wordlist": "small"}, 303, 2 * (300 + 3 + 32)),
        ("zmap", [Network("93.184.216.0/28")], {"engine": "masscan", "ports": "all", "probes": 1}, 1048560, 1048560),
    ],
)
def test_efforts_follow_the_options(
    module: str, batch: list[Record], said: dict[str, Any], least: int, most: int | None
) -> None:
    tool = catalogue()[module]
    assert tool.effort
    options = tool.options.model_validate(said)
    effort = tool.effort(batch, options, Scope((parse_target("example.com"),)))
    assert (effort.least, effort.most) == (least, most)


def test_udp_and_tcp_are_told_apart(settings: Settings) -> None:
    planned = _planned(settings, "93.184.216.34", _policy(modules="nmap nmap_udp ssh_audit http_probe"))
    _, udp, keys, pages = planned.steps
    assert (udp.when, [need.found_by for need in udp.needs]) == (When.AT_ONCE, [("nmap_udp",)])
    assert [need.found_by for step in (keys, pages) for need in step.needs] == [("nmap",), ("nmap",)]
    alone = _planned(settings, "93.184.216.34", _policy(modules="nmap_udp ssh_audit http_probe"))
    assert [step.when for step in alone.steps] == [When.AT_ONCE, When.NEVER, When.NEVER]
