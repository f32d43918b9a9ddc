"""What the frontier derives from hosts and services, and which records it hands on to whom."""

from __future__ import annotations

from pydantic import BaseModel

from flows.frontier import Bounds, Frontier
from footprint.records import DomainName, Endpoint, Finding, Host, Network, Record, Service, Technology
from footprint.scope import Scope
from footprint.target import Target
from tasks.tool import Intake, Risk, Tool

ADDRESS, OTHER = "93.184.216.1", "93.184.216.2"
DOMAIN, NETWORK = DomainName("example.com"), Network("93.184.216.0/24")


def _tool(name: str, *intakes: Intake) -> Tool:
    return Tool(name, "a stand-in", Risk.SAFE, intakes, (), BaseModel, lambda options, pace: None)


WEB = _tool("web", Intake(Endpoint, 10, key=lambda record: record, where=lambda record: record.is_web))
ROOTS = _tool("roots", Intake(DomainName, 10, key=lambda record: record.name, roots_only=True))
SSH = _tool("ssh", Intake(Service, 10, key=lambda record: record, where=lambda record: record.name == "ssh"))
VERSIONS = _tool("versions", Intake(Technology, 10, key=lambda record: record))


def _frontier(target: Target, *tools: Tool, exclude: tuple[str, ...] = ()) -> Frontier:
    return Frontier(tools, Scope.for_target(target, exclude=exclude), Bounds(depth=4, records=1000))


def _taken(frontier: Frontier) -> list[Record]:
    records: list[Record] = []
    while unit := frontier.take():
        records += unit.records
    return records


def _names(frontier: Frontier) -> list[tuple[str, int, str | None]]:
    return [(one.address, one.port, one.name) for one in _taken(frontier) if isinstance(one, Endpoint)]


def _http(address: str = ADDRESS, port: int = 80) -> Service:
    return Service(address, port, name="http", tunnel="ssl" if port == 443 else None, product="nginx")


def test_an_identified_service_is_reached_by_each_name_of_its_host_and_by_none() -> None:
    frontier = _frontier(DOMAIN, WEB)
    frontier.offer([DOMAIN, Host(ADDRESS, "www.example.com"), Host(ADDRESS, "example.com"), _http()])
    assert _names(frontier) == [(ADDRESS, 80, None), (ADDRESS, 80, "example.com"), (ADDRESS, 80, "www.example.com")]


def test_a_name_found_later_reaches_the_services_known_before() -> None:
    frontier = _frontier(DOMAIN, WEB)
    frontier.offer([Host(ADDRESS, "www.example.com"), _http(), _http(port=443)])
    assert len(_names(frontier)) == 4
    frontier.offer([Host(ADDRESS, "late.example.com")])
    assert _names(frontier) == [(ADDRESS, 80, "late.example.com"), (ADDRESS, 443, "late.example.com")]
    frontier.offer([Host(ADDRESS, "late.example.com"), _http()])
    assert _names(frontier) == []


def test_an_endpoint_knows_what_its_service_is() -> None:
    frontier = _frontier(DOMAIN, WEB)
    frontier.offer([Host(ADDRESS, "www.example.com"), _http(port=443)])
    named = [one for one in _taken(frontier) if isinstance(one, Endpoint) and one.name]
    assert [(one.is_tls, one.is_web, one.product, one.url) for one in named] == [
        (True, True, "nginx", "https://www.example.com/")
    ]


def test_a_port_that_was_only_seen_open_is_not_yet_an_endpoint() -> None:
    frontier = _frontier(NETWORK, WEB)
    frontier.offer([Host(ADDRESS), Service(ADDRESS, 80)])
    assert _taken(frontier) == []
    frontier.offer([_http()])
    assert _names(frontier) == [(ADDRESS, 80, None)]


def test_a_record_that_is_known_better_later_is_taken_then_and_once() -> None:
    frontier = _frontier(NETWORK, SSH)
    frontier.offer([Service(ADDRESS, 22)])
    assert _taken(frontier) == []
    for _ in range(2):
        frontier.offer([Service(ADDRESS, 22, name="ssh")])
    assert _taken(frontier) == [Service(ADDRESS, 22)]


def test_modules_for_roots_get_what_was_asked_for_and_nothing_found_on_the_way() -> None:
    frontier = _frontier(DOMAIN, ROOTS)
    frontier.offer([DOMAIN])
    frontier.offer([DomainName("www.example.com"), DOMAIN], depth=1)
    assert _taken(frontier) == [DOMAIN]


def test_a_service_of_a_host_that_no_name_of_the_scope_led_to_is_left_out() -> None:
    frontier = _frontier(DOMAIN, WEB, SSH)
    frontier.offer([Host(ADDRESS, "www.example.com"), Service(OTHER, 22, name="ssh"), _http(OTHER)])
    assert _taken(frontier) == []
    assert set(frontier.left_out) == {f"{OTHER}:22/tcp", f"{OTHER}:80/tcp"}


def test_a_service_found_in_the_targets_own_network_needs_no_host_before_it() -> None:
    frontier = _frontier(NETWORK, SSH)
    frontier.offer([Service(OTHER, 22, name="ssh")])
    assert _taken(frontier) == [Service(OTHER, 22)]


def test_an_address_behind_a_foreign_alias_gives_no_endpoint_by_that_name() -> None:
    frontier = _frontier(DOMAIN, WEB)
    frontier.offer([Host(ADDRESS, "www.example.com"), _http()])
    frontier.offer(
        [
            Host(ADDRESS, "cdn.example.com", via="edge.example.net"),
            Host(OTHER, "cdn.example.com", via="edge.example.net"),
        ]
    )
    assert {name for _, _, name in _names(frontier)} == {None, "www.example.com"}


def test_an_excluded_name_gives_no_endpoint() -> None:
    frontier = _frontier(DOMAIN, WEB, exclude=("secret.example.com",))
    frontier.offer([Host(ADDRESS, "www.example.com"), Host(ADDRESS, "secret.example.com"), _http()])
    assert {name for _, _, name in _names(frontier)} == {None, "www.example.com"}


def test_findings_are_results_and_details_are_handed_on() -> None:
    frontier = _frontier(NETWORK, VERSIONS)
    made = Technology(f"{ADDRESS}:80/tcp", "nginx", version="1.18.0")
    frontier.offer([Finding("x/y", ADDRESS), made])
    assert _taken(frontier) == [made]
    assert frontier.left_out == {}
