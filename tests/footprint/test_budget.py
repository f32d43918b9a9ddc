"""What one destination is sent: pure decisions, without a store."""

from __future__ import annotations

from uuid import uuid4

import pytest
from pydantic import ValidationError

from footprint.admission import scope_of
from footprint.budget import (
    INTENSITIES,
    Allowance,
    Claim,
    Held,
    Load,
    Request,
    Share,
    addresses_in,
    allowance_of,
    decide,
    destinations,
    paced_load,
)
from footprint.errors import TargetRefused
from footprint.policy import ScanPolicy
from footprint.records import DnsRecord, DomainName, Endpoint, Host, Network, Record, Service
from footprint.settings import Settings

NET = "10.87.0.0/24"
BUDGET = Allowance(1000, 10)


def _claim(packets: float, connections: int = 1, key: str = f"net:{NET}", *, is_sweep: bool = False) -> Claim:
    return Claim(key, Share(packets, connections), is_sweep, uuid4(), "nmap", 1)


def _asked(load: Load, *networks: str, places: int | None = None) -> Request:
    return Request("nmap", networks or (NET,), load, BUDGET, places)


@pytest.mark.parametrize(
    ("record", "networks"),
    [
        (Host("198.51.100.77"), ("198.51.100.0/24",)),
        (Service("2001:db8:0:1::7", 22), ("2001:db8:0:1::/64",)),
        (Endpoint("198.51.100.77", 443, "www.example.com"), ("198.51.100.0/24",)),
        (Network("198.51.100.64/26"), ("198.51.100.0/24",)),
        (Network("198.51.100.0/23"), ("198.51.100.0/24", "198.51.101.0/24")),
        (DomainName("example.com"), ()),
        (DnsRecord("example.com", "TXT", "198.51.100.77"), ()),
        (Host("127.0.0.1"), ()),
        (Host("::1"), ()),
        (Host("0177.0.0.1"), ()),
    ],
)
def test_a_destination_is_the_network_around_an_address(record: Record, networks: tuple[str, ...]) -> None:
    assert destinations([record]) == networks


def test_a_higher_intensity_is_allowed_more() -> None:
    assert [one.packets for one in INTENSITIES] == sorted({one.packets for one in INTENSITIES})
    assert [one.connections for one in INTENSITIES] == sorted({one.connections for one in INTENSITIES})


def test_a_budget_is_the_intensitys_unless_the_policy_gives_one() -> None:
    usual = ScanPolicy(name="own", modules={}, intensity=2)
    own = usual.model_copy(update={"budget": 77, "connections": 3})
    assert allowance_of(usual, Settings()) == INTENSITIES[2]
    assert allowance_of(own, Settings()) == (77, 3)


def test_no_policy_allows_more_than_the_installation() -> None:
    wild = ScanPolicy(name="own", modules={}, intensity=5, budget=100_000)
    assert allowance_of(wild, Settings(destination_rate=200)).packets == 200
    assert allowance_of(wild.model_copy(update={"budget": 50}), Settings(destination_rate=200)).packets == 50


def test_a_unit_gets_what_it_wants_where_there_is_room() -> None:
    assert decide(_asked(Load(400, 1, 3)), [_claim(600, 7)]) == Share(400, 3)


def test_a_unit_goes_more_slowly_where_at_least_a_quarter_is_left() -> None:
    assert decide(_asked(Load(400, 1)), [_claim(900)]) == Share(100, 1)
    assert isinstance(decide(_asked(Load(400, 1)), [_claim(901)]), Held)


def test_a_unit_that_cannot_go_more_slowly_waits() -> None:
    assert isinstance(decide(_asked(Load(400, 400)), [_claim(700)]), Held)
    assert decide(_asked(Load(400, 400)), [_claim(600)]) == Share(400, 1)


def test_connections_are_shared_too() -> None:
    assert decide(_asked(Load(1, 1, 8)), [_claim(1, 6)]) == Share(1, 4)
    assert isinstance(decide(_asked(Load(1, 1, 8)), [_claim(1, 9)]), Held)
    assert isinstance(decide(_asked(Load(1, 1, 8, 8)), [_claim(1, 6)]), Held)


def test_a_sweep_leaves_a_reserve_that_light_questions_take() -> None:
    sweep = decide(_asked(Load(5000, 1, is_sweep=True)), [])
    assert sweep == Share(850, 1)
    assert decide(_asked(Load(150, 150)), [_claim(850, is_sweep=True)]) == Share(150, 1)


def test_light_questions_that_are_there_already_are_in_the_reserve() -> None:
    assert decide(_asked(Load(5000, 1, is_sweep=True)), [_claim(100)]) == Share(850, 1)
    assert decide(_asked(Load(5000, 1, is_sweep=True)), [_claim(300)]) == Share(700, 1)


def test_a_sweep_that_would_crawl_for_long_waits_for_those_in_its_way() -> None:
    assert isinstance(decide(_asked(Load(5000, 1, is_sweep=True)), [_claim(400)]), Held)
    assert decide(_asked(Load(600, 1)), [_claim(400)]) == Share(600, 1)


def test_of_two_sweeps_of_one_destination_one_waits() -> None:
    other = _claim(1, is_sweep=True)
    held = decide(_asked(Load(300, 1, is_sweep=True)), [other])
    assert held == Held(f"net:{NET}", (other,))
    assert isinstance(held, Held)
    assert held.what == NET
    assert decide(_asked(Load(300, 1, is_sweep=True), "10.88.0.0/24"), [other]) == Share(300, 1)


def test_a_unit_of_several_destinations_gets_what_the_fullest_has_left() -> None:
    claims = [_claim(500), _claim(700, key="net:10.88.0.0/24")]
    assert decide(_asked(Load(400, 1), NET, "10.88.0.0/24"), claims) == Share(300, 1)


def test_a_tool_has_no_more_places_than_the_installation_gives_it() -> None:
    places = [_claim(0, 0, "tool:nmap"), _claim(0, 0, "tool:other")]
    assert decide(_asked(Load(1), places=2), places) == Share(1, 1)
    held = decide(_asked(Load(1), places=1), places)
    assert isinstance(held, Held)
    assert (held.what, held.holders) == ("a place of nmap", (places[0],))


def test_what_lasts_longer_than_a_second_is_a_sweep() -> None:
    assert paced_load(100, 400) == Load(100, 1)
    assert paced_load(500, 400) == Load(400, 1, is_sweep=True)


def test_addresses_are_counted_where_anything_is_sent() -> None:
    records: list[Record] = [Network("198.51.100.0/26"), Host("198.51.100.7"), Host("127.0.0.1"), Host("nonsense")]
    assert addresses_in(records) == 65


def test_no_policy_covers_a_larger_network_than_the_installation() -> None:
    wide = ScanPolicy(name="own", modules={}, max_addresses=65536)
    scope = scope_of(Settings(max_addresses=16), Network("93.184.216.0/24"), wide)
    with pytest.raises(TargetRefused):
        scope.admit(Network("93.184.216.0/24"))
    scope_of(Settings(), Network("93.184.216.0/24"), wide).admit(Network("93.184.216.0/24"))


def test_limits_of_tools_are_read_from_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Settings().tool_limits == {"amass": 1}
    monkeypatch.setenv("PULSAR_TOOL_LIMITS", "amass=2, nuclei=3")
    assert Settings().tool_limits == {"amass": 2, "nuclei": 3}
    for bad in ("amass", "amass=0", "amass=many"):
        monkeypatch.setenv("PULSAR_TOOL_LIMITS", bad)
        with pytest.raises(ValidationError):
            Settings()


@pytest.mark.parametrize("wanted", [0.5, 1.0, 5.0, 9.0, 10.0, 300.0])
@pytest.mark.parametrize("least", [0.0, 1.0, 10.0])
@pytest.mark.parametrize("is_sweep", [False, True])
def test_what_is_not_too_heavy_never_waits_for_nobody(wanted: float, least: float, is_sweep: bool) -> None:
    asked = _asked(Load(wanted, least, is_sweep=is_sweep), NET)
    assert isinstance(decide(asked, []), Share)
