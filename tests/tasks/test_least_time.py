"""How long units take at least: by themselves, and by what they share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from footprint.budget import Allowance, Load
from footprint.policy import ScanPolicy
from footprint.scope import Scope
from footprint.settings import Settings
from footprint.target import parse_target
from tasks.catalogue import catalogue
from tasks.effort import Effort, Sends
from tasks.least_time import Bound, Planned, Shared, least_of_one, least_time
from tasks.plan import Preview, Step
from tasks.preview import preview
from tests.tasks.forbidding import nothing_sent

NET, OTHER = "198.51.100.0/24", "203.0.113.0/24"
SHARED = Shared(8, {"amass": 1}, Allowance(50, 4))


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """An installation that may look at networks of nobody, which no packet is sent to."""
    return Settings(home=tmp_path, scope_allow=("127.0.0.0/8", NET, OTHER, "2001:db8::/32"))  # type: ignore[arg-type]


def _planned(settings: Settings, text: str, modules: str, **said: Any) -> Preview:
    options = said.pop("options", {})
    chosen = {name: options.get(name, {}) for name in modules.split()}
    policy = ScanPolicy(**{"name": "mine", "modules": chosen, "ports": "80,443", "intensity": 1, **said})
    target = parse_target(text)
    catalogue()  # a library that is imported with it starts a program
    with nothing_sent():
        return preview(target, policy, Scope((target,), settings.scope_allow, ()), settings, None)


def _step(planned: Preview, module: str) -> Step:
    return next(step for step in planned.steps if step.module == module)


def _unit(packets: int, rate: float | None, *networks: str, module: str = "nmap", **load: Any) -> Planned:
    wants = Load(packets, 1.0, **load) if networks else None
    return Planned(module, Effort(Sends.PACKETS, packets, packets, rate), wants, dict.fromkeys(networks, packets))


def test_units_side_by_side_take_as_long_as_the_longest_or_as_their_share() -> None:
    units = [_unit(100, 10)] * 4
    seconds = [least_time(units, Shared(at_once, {}, Allowance(50, 4))).seconds for at_once in (1, 2, 64)]
    assert seconds == [40, 20, 10]
    waits = Planned("zmap", Effort(Sends.PACKETS, 100, None, waits=3), None, {})
    assert least_time([waits], SHARED) == Bound(3)
    assert least_time([], SHARED).seconds == 0


def test_units_of_one_destination_share_its_packets() -> None:
    many = [_unit(50, 50, NET)] * 6
    assert least_time(many, SHARED) == Bound(6, f"the budget of {NET}, 50 packets a second")
    apart = [_unit(50, 50, NET)] * 3 + [_unit(50, 50, OTHER)] * 3
    assert least_time(apart, SHARED).seconds == 3


def test_sweeps_of_one_destination_follow_one_another() -> None:
    sweeps = [_unit(100, 42, NET, is_sweep=True)] * 4
    said = least_time(sweeps, SHARED)
    assert said.seconds == pytest.approx(400 / 42)
    assert said.why == f"sweeps of {NET}, which follow one another"
    assert least_time(sweeps[:1], SHARED) == Bound(100 / 42)


def test_units_of_one_destination_share_its_connections() -> None:
    wide = [_unit(10, 1, NET, connections=4, fewest=4)] * 3
    assert least_time(wide, SHARED) == Bound(30, f"4 connections at once to {NET}")
    modest = [_unit(10, 1, NET, connections=4)] * 3
    assert least_time(modest, SHARED) == Bound(10), "each does with one where there is no more"


def test_units_of_one_tool_share_its_places() -> None:
    assert least_time([_unit(10, 1, module="amass")] * 3, SHARED) == Bound(30, "PULSAR_TOOL_LIMITS, amass:1")


def test_a_burst_has_its_part_of_the_budget_for_a_second() -> None:
    burst = Planned("nmap", Effort(Sends.PACKETS, 6, None), Load(30, 30), {NET: 6})
    assert least_of_one(burst, SHARED.allowance) == 0.6
    assert least_of_one(_unit(10, 5, NET), SHARED.allowance) == 2


@pytest.mark.parametrize("target", [NET, "2001:db8::/120"])
def test_where_the_budget_of_a_destination_is_less_than_what_tools_and_concurrency_allow_it_counts(
    settings: Settings, target: str
) -> None:
    alone = _planned(settings, target, "nmap_discovery nmap", concurrency=1)
    beside = _planned(settings, target, "nmap_discovery nmap", concurrency=64)
    assert alone.seconds == beside.seconds == pytest.approx(256 / 42)
    assert _step(beside, "nmap_discovery").seconds == beside.seconds
    assert any("which follow one another" in remark for remark in beside.remarks)


def test_the_modules_of_a_scan_share_the_budget_of_a_destination(settings: Settings) -> None:
    both = _planned(settings, NET, "nmap_discovery zmap nmap")
    each = [_step(both, module).seconds for module in ("nmap_discovery", "zmap")]
    assert both.seconds == pytest.approx(sum(each))
    assert both.seconds > max(each)
    wide = _planned(settings, NET, "nmap_discovery zmap nmap", intensity=3, options={"zmap": {"cooldown": 1}})
    assert wide.seconds == _step(wide, "zmap").seconds < each[0], "what the tool takes by itself"
    assert not any("the time is set by" in remark for remark in wide.remarks)


def test_what_one_destination_may_be_sent_on_this_installation_counts(settings: Settings) -> None:
    held = settings.model_copy(update={"destination_rate": 10})
    asked = {"modules": "nmap_discovery nmap", "intensity": 3}
    assert _planned(held, NET, **asked).seconds >= 256 / 10 > 10 * _planned(settings, NET, **asked).seconds


def test_a_network_of_many_destinations_has_the_budget_of_each(settings: Settings) -> None:
    allowed = settings.model_copy(update={"scope_allow": ("198.18.0.0/15",)})
    small, large = (
        _planned(allowed, target, "nmap_discovery nmap", concurrency=64)
        for target in ("198.18.0.0/24", "198.18.0.0/22")
    )
    assert (small.seconds, _step(large, "nmap_discovery").units) == (large.seconds, 16)


def test_what_comes_later_is_held_to_the_budget_as_well(settings: Settings) -> None:
    planned = _planned(settings, NET, "nmap_discovery nmap tls", options={"tls": {"checks": "certificate"}})
    hosts, services = _step(planned, "nmap").needs
    (endpoints,) = _step(planned, "tls").needs
    assert hosts.seconds == pytest.approx(2 / 42), "two ports, at the rate of a sweep"
    assert services.seconds == (40 + 7 * 30) / 8 / 50, "in a unit of eight"
    assert endpoints.seconds == 42 / 50


def test_on_loopback_there_is_no_budget(settings: Settings) -> None:
    planned = _planned(settings, "127.0.9.0/24", "nmap_discovery nmap tls", intensity=0)
    assert planned.seconds == 0
    assert [need.seconds for step in planned.steps for need in step.needs] == [0, 0, 0]
    assert [step.lacking for step in planned.steps] == ["", "", ""]
    elsewhere = _planned(settings, NET, "nmap_discovery nmap tls", intensity=0)
    assert "cannot go slower" in _step(elsewhere, "tls").lacking
