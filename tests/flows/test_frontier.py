"""Which unit comes next, without Prefect, store or network."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import replace
from ipaddress import ip_address
from typing import Any

from pydantic import BaseModel

from flows.frontier import Bounds, Frontier
from footprint.records import DomainName, Host, Network, Record, Service
from footprint.scope import Scope
from footprint.seeds import seeds
from footprint.settings import Settings
from footprint.store.units import Unit
from tasks.tool import Intake, Risk, Tool

WIDE = Bounds(depth=4, records=1000)


def _tool(name: str, *intakes: Intake) -> Tool:
    return Tool(name, "a stand-in", Risk.SAFE, intakes, (), BaseModel, lambda options, pace: None)


def _intake(record: type, batch: int, key: Callable[[Any], Hashable] = lambda record: record) -> Intake:
    return Intake(record, batch, key, lane=lambda record: str(ip_address(record.address).version))


NAMES = _tool("names", Intake(DomainName, 2, key=lambda record: record.name))
PORTS = _tool("ports", _intake(Host, 3), _intake(Service, 2, key=lambda record: record.address))


def _scope(target: DomainName | Host | Network, exclude: tuple[str, ...] = ()) -> Scope:
    return Scope.for_target(target, allow=(), exclude=exclude, max_addresses=4096)


def _frontier(*tools: Tool, bounds: Bounds = WIDE, exclude: tuple[str, ...] = ()) -> Frontier:
    return Frontier(tools or (NAMES, PORTS), _scope(Network("93.184.216.0/24"), exclude), bounds)


def _all(frontier: Frontier) -> list[Unit]:
    units = []
    while unit := frontier.take():
        units.append(unit)
    return units


def _hosts(*last: int) -> list[Record]:
    return [Host(f"93.184.216.{number}") for number in last]


def test_records_go_to_the_modules_that_accept_them_in_batches_of_their_size() -> None:
    frontier = _frontier()
    frontier.offer(_hosts(1, 2, 3, 4))
    assert frontier.waiting() == {"ports": 2}
    assert [(unit.module, unit.batch, len(unit.records)) for unit in _all(frontier)] == [
        ("ports", 1, 3),
        ("ports", 2, 1),
    ]
    assert frontier.take() is None


def test_a_record_is_given_to_a_module_once_however_often_it_is_found() -> None:
    frontier = _frontier()
    for _ in range(3):
        frontier.offer(_hosts(1))
        frontier.offer([Host("93.184.216.1", name="found.again.example")])
    assert len(_all(frontier)) == 1
    frontier.offer(_hosts(1))
    assert frontier.take() is None


def test_what_a_unit_finds_goes_on_at_once_without_waiting_for_the_rest() -> None:
    frontier = _frontier()
    frontier.offer(_hosts(1, 2, 3, 4))
    first = frontier.take()
    assert first is not None
    frontier.offer([Service("93.184.216.1", 22)], depth=first.depth + 1)
    kinds = [{record.kind for record in unit.records} for unit in _all(frontier)]
    assert kinds == [{"host"}, {"service"}]


def test_records_of_one_key_travel_together_and_count_as_one() -> None:
    frontier = _frontier()
    frontier.offer([Service(f"93.184.216.{host}", port) for port in (22, 80, 443) for host in (1, 2, 3)])
    sizes = [{record.address for record in unit.records if isinstance(record, Service)} for unit in _all(frontier)]
    assert sizes == [{"93.184.216.1", "93.184.216.2"}, {"93.184.216.3"}]


def test_records_of_different_lanes_never_share_a_unit() -> None:
    frontier = Frontier([PORTS], _scope(DomainName("example.com")), WIDE)
    frontier.offer(
        [Host("93.184.216.1", name="example.com"), Host("2606:2800:220:1::1", name="example.com")],
    )
    assert [len(unit.records) for unit in _all(frontier)] == [1, 1]


def test_what_scope_forbids_is_said_and_not_given() -> None:
    frontier = _frontier(exclude=("93.184.216.7",))
    frontier.offer([*_hosts(7, 8), Host("127.0.0.1")])
    assert [unit.records for unit in _all(frontier)] == [tuple(_hosts(8))]
    assert set(frontier.left_out) == {"93.184.216.7", "127.0.0.1"}


def test_a_host_first_seen_through_a_foreign_alias_is_taken_when_an_own_name_leads_to_it() -> None:
    frontier = Frontier([PORTS], _scope(DomainName("example.com")), WIDE)
    frontier.offer([Host("93.184.216.1", name="cdn.example.com", via="edge.foreign.net")])
    assert frontier.take() is None
    assert "93.184.216.1" in frontier.left_out
    frontier.offer([Host("93.184.216.1", name="www.example.com")])
    assert frontier.take() is not None
    assert frontier.left_out == {}


def test_a_scan_goes_no_deeper_than_its_policy() -> None:
    frontier = _frontier(bounds=Bounds(depth=1, records=1000))
    frontier.offer(_hosts(1), depth=1)
    frontier.offer(_hosts(2), depth=2)
    assert [unit.records for unit in _all(frontier)] == [tuple(_hosts(1))]
    assert frontier.too_deep == 1
    frontier.offer(_hosts(2), depth=1)
    assert [unit.records for unit in _all(frontier)] == [tuple(_hosts(2))]
    assert frontier.too_deep == 0


def test_records_over_the_limit_are_counted_and_not_followed() -> None:
    frontier = _frontier(bounds=Bounds(depth=4, records=2))
    frontier.offer(_hosts(1, 2, 3, 4))
    frontier.offer(_hosts(1))
    assert sum(len(unit.records) for unit in _all(frontier)) == 2
    assert frontier.over_limit == 2


def test_the_order_is_the_policys_and_the_same_every_time() -> None:
    def order() -> list[Unit]:
        frontier = Frontier([NAMES, PORTS], _scope(DomainName("example.com")), WIDE)
        for number in range(1, 6):
            frontier.offer([Host(f"93.184.216.{number}", name="example.com"), DomainName(f"n{number}.example.com")])
        return _all(frontier)

    assert order() == order()
    assert [unit.module for unit in order()] == ["names", "names", "names", "ports", "ports"]


def test_a_network_is_begun_in_pieces() -> None:
    assert seeds(Network("93.184.216.0/24")) == [Network(f"93.184.216.{start}/26") for start in (0, 64, 128, 192)]
    assert seeds(Network("93.184.216.0/30")) == [Network("93.184.216.0/30")]
    assert len(seeds(Network("2606:2800:220:1::/116"))) == 64
    assert seeds(DomainName("example.com")) == [DomainName("example.com")]


def test_a_module_that_comes_last_waits_until_nothing_else_waits_or_runs() -> None:
    closing = replace(_tool("closing", _intake(Host, 9)), comes_last=True)
    frontier = _frontier(closing, NAMES, PORTS)
    frontier.offer(_hosts(1))
    assert frontier.waiting() == {"closing": 1, "ports": 1}
    unit = frontier.take()
    assert unit is not None
    assert unit.module == "ports"
    assert frontier.take(running=["ports"]) is None
    frontier.offer(_hosts(2), depth=1)
    assert [found.module for found in _all(frontier)] == ["ports", "closing"]
    frontier.offer(_hosts(3))
    assert frontier.take(running=["closing"]) is not None
    assert frontier.take(running=["closing"]) is not None


def test_a_module_takes_what_it_takes_on_this_installation() -> None:
    intake = Intake(Host, 1, key=lambda record: record)
    local = replace(PORTS, fitted=lambda tool, settings: replace(tool, accepts=(intake,) * settings.api_port))
    assert [len(local.here(Settings(api_port=number)).accepts) for number in (1, 2)] == [1, 2]
    assert PORTS.here(Settings()) is PORTS


class Weighing:
    """A door that bears so many records, and lets those pass that are not held."""

    def __init__(self, most: int = 99, held: frozenset[str] = frozenset()) -> None:
        self.most = most
        self.held = held

    def is_bearable(self, unit: Unit) -> bool:
        """True where there are few enough."""
        return len(unit.records) <= self.most

    def admit(self, unit: Unit) -> bool:
        """True where none of them is held."""
        return not any(record.address in self.held for record in unit.records)  # type: ignore[union-attr]


def test_a_unit_that_may_not_begin_keeps_its_place_and_its_number() -> None:
    frontier = _frontier()
    frontier.offer(_hosts(1, 2))
    held = Weighing(held=frozenset({"93.184.216.1"}))
    assert frontier.take((), held) is None
    assert frontier.waiting() == {"ports": 1}
    unit = frontier.take((), Weighing())
    assert unit == Unit("ports", 1, 0, tuple(_hosts(1, 2)))


def test_records_of_another_destination_pass_by_those_that_may_not_begin() -> None:
    frontier = Frontier([PORTS], _scope(Network("93.184.216.0/23")), WIDE)
    frontier.offer([Host("93.184.216.1"), Host("93.184.217.1"), Host("93.184.217.2")])
    held = Weighing(held=frozenset({"93.184.216.1"}))
    assert frontier.take((), held) == Unit("ports", 1, 0, (Host("93.184.217.1"), Host("93.184.217.2")))
    assert frontier.take((), held) is None
    assert frontier.take((), Weighing()) == Unit("ports", 2, 0, (Host("93.184.216.1"),))


def test_in_order_nothing_passes_by() -> None:
    frontier = Frontier([PORTS], _scope(Network("93.184.216.0/23")), WIDE)
    frontier.offer([Host("93.184.216.1"), Host("93.184.217.1")])
    assert frontier.take((), Weighing(held=frozenset({"93.184.216.1"})), in_order=True) is None


def test_a_unit_too_heavy_for_its_destination_is_made_smaller() -> None:
    frontier = _frontier()
    frontier.offer(_hosts(1, 2, 3))
    assert frontier.take((), Weighing(most=1)) == Unit("ports", 1, 0, tuple(_hosts(1)))
    assert frontier.take((), Weighing()) == Unit("ports", 2, 0, tuple(_hosts(2, 3)))


def test_a_unit_of_which_no_part_can_be_borne_is_refused_whole() -> None:
    frontier = _frontier()
    frontier.offer(_hosts(1, 2, 3))
    assert frontier.take((), Weighing(most=0)) == Unit("ports", 1, 0, tuple(_hosts(1, 2, 3)))


def test_records_of_one_key_part_only_where_they_are_too_heavy_together() -> None:
    frontier = _frontier()
    frontier.offer([Service("93.184.216.1", port) for port in (22, 80, 443)])
    taken = [frontier.take((), Weighing(most=1)) for _ in range(3)]
    assert [unit and [record.port for record in unit.records] for unit in taken] == [[22], [80], [443]]  # type: ignore[union-attr]
    assert frontier.take((), Weighing(most=1)) is None
