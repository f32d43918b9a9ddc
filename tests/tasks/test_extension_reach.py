"""What extensions with a network may send to, and what an installed one makes of the module: an active one."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from footprint.area import Area
from footprint.budget import Allowance
from footprint.errors import FenceMissing
from footprint.extensions import Extension, add
from footprint.manifest import Manifest
from footprint.policy import PRESETS
from footprint.records import DomainName, Host, Record, Service
from footprint.scope import Scope
from footprint.settings import Settings
from footprint.store.surroundings import Surroundings
from footprint.target import parse_target
from tasks import extension_reach
from tasks.authorization import active_modules
from tasks.extension import TOOL
from tasks.extension_reach import Bounds, Reach, in_their_words, is_own
from tasks.pacing import load_of, paced
from tasks.tool import Pace, Risk

ADDRESS, OTHER, OUTSIDE = "10.87.0.10", "10.87.0.11", "10.88.0.1"
PACE = Pace(3, 3600, "top:100")


def _bounds(*targets: str, exclude: tuple[str, ...] = (), own: tuple[int, ...] = (4200,), **more: Any) -> Bounds:
    allow = (ip_network("10.0.0.0/8"), ip_network("127.0.0.0/8"))
    scope = Scope(tuple(map(parse_target, targets)), allow=allow, exclude=exclude)
    return Bounds(scope, own, knows_own_ports=bool(own), rate=100, **more)


def _reach(bounds: Bounds, record: Record, around: Surroundings | None = None) -> Reach:
    reach = bounds.reach_of(record, around or Surroundings())
    assert reach is not None
    return reach


def test_a_host_and_a_service_are_reached_at_their_own_address() -> None:
    bounds = _bounds("10.87.0.0/24", exclude=("10.87.0.64/26",))
    for record in (Host(ADDRESS), Service(ADDRESS, 80)):
        reach = _reach(bounds, record)
        assert (reach.addresses, reach.ports, reach.rate) == ((ADDRESS,), None, 100)
        assert reach.excluded == ("10.87.0.64/26",)
    assert bounds.reach_of(Host("10.87.0.65"), Surroundings()) is None
    assert bounds.reach_of(Service("10.87.0.65", 80), Surroundings()) is None


def test_a_name_is_reached_where_its_addresses_are_in_the_scope() -> None:
    name = "www.a.test"
    hosts = (
        Host(ADDRESS, name), Host(OTHER, name, via="cdn.other.test"), Host(OUTSIDE, name), Host("10.88.0.2", name)
    )  # fmt: skip
    around = Surroundings((name,), tuple(host.address for host in hosts), (), hosts)
    assert _reach(_bounds("a.test", exclude=("10.88.0.2",)), DomainName(name), around).addresses == (ADDRESS, OUTSIDE)
    assert _bounds("a.test").reach_of(DomainName("bare.a.test"), Surroundings(("bare.a.test",))) is None


def test_of_a_name_only_what_is_authorised_is_reached() -> None:
    name = "www.a.test"
    hosts = (Host(ADDRESS, name), Host(OTHER, name, via="web.a.test"))
    bounds = _bounds("a.test", permitted=Area.of([DomainName(name)]))
    assert _reach(bounds, DomainName(name), Surroundings(hosts=hosts)).addresses == (ADDRESS,)
    everything = replace(bounds, permitted=None)
    assert _reach(everything, DomainName(name), Surroundings(hosts=hosts)).addresses == (ADDRESS, OTHER)


def test_a_name_has_no_share_and_keeps_to_what_the_policy_allows() -> None:
    hosts = (Host(ADDRESS, "a.test"),)
    around = Surroundings(("a.test",), (ADDRESS,), (), hosts)
    bounds = _bounds("a.test", allowance=Allowance(7.5, 1))
    assert _reach(bounds, DomainName("a.test"), around).rate == 7
    assert _reach(replace(bounds, allowance=None), DomainName("a.test"), around).rate == 100


def test_of_this_machine_only_what_was_found_is_reached_and_nothing_of_ours() -> None:
    bounds = _bounds("127.0.0.0/24", own=(4200, 8000))
    found = (*(Service("127.0.0.1", port) for port in (22, 4200, 8000)), Service("127.0.0.9", 23))
    reach = _reach(bounds, Host("127.0.0.1"), Surroundings(services=found))
    assert (reach.ports, reach.rate) == ((22,), None)  # nothing is limited on loopback
    assert _reach(bounds, Service("127.0.0.1", 80)).ports == (80,)
    assert bounds.reach_of(Service("127.0.0.1", 4200), Surroundings()) is None
    assert bounds.reach_of(Host("127.0.0.1"), Surroundings()) is None


def test_of_this_machine_nothing_is_reached_where_our_own_ports_are_not_known() -> None:
    with pytest.raises(FenceMissing, match="Pulsar's own") as missing:
        _bounds("127.0.0.1", own=()).reach_of(Service("127.0.0.1", 80), Surroundings())
    assert missing.value.hint == "run scans with `pulsar worker`"


def test_an_address_of_an_interface_is_this_machines_too(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [is_own(address) for address in ("127.0.0.1", "127.9.9.9", "::1", "192.0.2.1", "2001:db8::1")] == [
        *(True, True, True),
        *(False, False),
    ]
    monkeypatch.setattr(extension_reach, "is_own", lambda address: address == ADDRESS)
    bounds, around = _bounds("10.87.0.0/24", "a.test"), (Host(ADDRESS, "a.test"), Host(OTHER, "a.test"))
    assert _reach(bounds, Service(ADDRESS, 80)).ports == (80,)
    assert _reach(bounds, DomainName("a.test"), Surroundings(hosts=around)).addresses == (OTHER,)


def test_to_do_without_the_fence_is_no_remedy() -> None:
    said = in_their_words(FenceMissing("the fence needs root", hint="run it as root, or PULSAR_FENCE=off"))
    assert "PULSAR_FENCE" not in said.hint
    assert 'network = "none"' in said.hint
    assert in_their_words(FenceMissing("no nft", hint="apt-get install nftables")).hint == "apt-get install nftables"


def _install(home: Path, name: str, network: str) -> None:
    manifest = {"name": name, "accepts": ("host",), "script": "script", "interpreter": "sh", "network": network}
    add(home, Extension(Manifest.model_validate(manifest), "true"))


@pytest.mark.parametrize(
    ("options", "risk"),
    [
        ({}, Risk.SAFE),
        ({"names": ["asks"]}, Risk.SAFE),
        ({"names": ["offline"]}, Risk.PASSIVE),
        ({"network": "none"}, Risk.PASSIVE),
    ],
)
def test_one_that_is_installed_makes_the_module_active(tmp_path: Path, options: dict[str, Any], risk: Risk) -> None:
    settings = Settings(home=tmp_path)
    _install(tmp_path, "offline", "none")
    batch, policy = (Host(ADDRESS),), PRESETS["quick"].model_copy(update={"modules": {"extension": options}})
    assert active_modules(policy, settings) == ()
    assert TOOL.here(settings).risk is Risk.PASSIVE
    _install(tmp_path, "asks", "scoped")
    here, chosen = TOOL.here(settings), TOOL.configure(options, PACE)
    assert (here.risk, here.risk_of(chosen)) == (Risk.SAFE, risk)
    assert active_modules(policy, settings) == (("extension",) if risk is Risk.SAFE else ())
    load = load_of(here, batch, chosen)
    assert (load is None) is (risk is Risk.PASSIVE)
    assert here.effort
    effort = here.effort(batch, chosen, Scope((parse_target(ADDRESS),)))
    assert (effort.sends, effort.most, effort.rate) == (
        ("packets", None, 100.0) if risk is Risk.SAFE else ("nothing", 0, None)
    )


def test_its_pace_is_its_share_and_the_policys_intensity(tmp_path: Path) -> None:
    _install(tmp_path, "asks", "scoped")
    here, batch = TOOL.here(Settings(home=tmp_path)), (Host(ADDRESS),)
    assert [TOOL.configure({}, replace(PACE, intensity=level)).max_rate for level in range(6)] == [10, 50] + [100] * 4
    held = paced(here, batch, TOOL.configure({}, PACE), Allowance(30, 16), None)
    assert held.max_rate == 30


def test_the_passive_policy_runs_none(tmp_path: Path) -> None:
    _install(tmp_path, "asks", "scoped")
    assert "extension" not in PRESETS["passive"].modules
    assert active_modules(PRESETS["passive"], Settings(home=tmp_path)) == ()
