"""What an area holds, meets and covers: label by label, and as numbers."""

from __future__ import annotations

import pytest

from footprint.area import Area, domains_above, networks_above
from footprint.records import DomainName, Endpoint, Host, Network, Record, Service
from footprint.target import parse_target


def area(*texts: str) -> Area:
    return Area.of(map(parse_target, texts))


@pytest.mark.parametrize(
    ("texts", "target", "holds", "meets"),
    [
        (["example.com"], "example.com", True, True),
        (["example.com"], "a.b.example.com", True, True),
        (["example.com"], "notexample.com", False, False),
        (["example.com"], "example.com.evil.net", False, False),
        (["www.example.com"], "example.com", False, True),
        (["www.example.com"], "com.example", False, False),
        (["9.9.9.0/24"], "9.9.9.0/25", True, True),
        (["9.9.9.0/24"], "9.9.9.255", True, True),
        (["9.9.9.0/24"], "9.9.10.0", False, False),
        (["9.9.9.0/25", "9.9.9.128/25"], "9.9.9.0/24", True, True),
        (["9.9.9.9"], "9.9.9.0/24", False, True),
        (["2600::/64"], "2600::5", True, True),
        (["2600::/64"], "2600:0:0:1::5", False, False),
        (["2600::9:9:9:9"], "9.9.9.9", False, False),
        (["0.0.0.0/0"], "2600::1", False, False),
        (["0.0.0.0/0"], "example.com", False, False),
        ([], "9.9.9.9", False, False),
    ],
)
def test_holding_all_of_a_target_and_meeting_a_part_of_it(
    texts: list[str], target: str, holds: bool, meets: bool
) -> None:
    made = area(*texts)
    assert (made.holds(parse_target(target)), made.meets(parse_target(target))) == (holds, meets)


def test_meeting_is_mutual() -> None:
    texts = ["example.com", "www.example.com", "9.9.9.0/24", "9.9.9.9", "2600::/64", "2600::9"]
    for one in texts:
        for other in texts:
            assert area(one).meets(parse_target(other)) == area(other).meets(parse_target(one)), (one, other)


@pytest.mark.parametrize(
    ("record", "covered"),
    [
        (DomainName("www.example.com"), True),
        (DomainName("www.example.net"), False),
        (Network("9.9.9.0/26"), True),
        (Network("9.9.8.0/23"), False),
        (Host("9.9.9.9"), True),
        (Host("8.8.8.8"), False),
        (Host("8.8.8.8", name="www.example.com"), True),
        (Host("8.8.8.8", name="www.example.com", via="edge.cdn.net"), False),
        (Host("8.8.8.8", name="www.example.com", via="edge.example.com"), True),
        (Host("9.9.9.9", name="www.example.com", via="edge.cdn.net"), True),
        (Endpoint("8.8.8.8", 443, "www.example.com"), True),
        (Endpoint("8.8.8.8", 443, "www.example.net"), False),
        (Endpoint("9.9.9.9", 443, "www.example.net"), True),
        (Service("8.8.8.8", 443), True),
    ],
)
def test_records_are_covered_by_address_or_by_the_name_that_led_there(record: Record, covered: bool) -> None:
    assert area("example.com", "9.9.9.0/24").covers(record) is covered


def test_without_domains_a_service_is_covered_by_its_address_alone() -> None:
    made = area("9.9.9.0/24")
    assert [made.covers(Service(address, 80)) for address in ("9.9.9.1", "9.9.8.1")] == [True, False]
    assert [made.covers(Endpoint(address, 80)) for address in ("9.9.9.1", "9.9.8.1")] == [True, False]
    assert not Area().covers(Service("9.9.9.1", 80))


def test_what_is_above_a_target_begins_with_itself() -> None:
    assert domains_above("www.example.com") == ("www.example.com", "example.com", "com")
    assert networks_above(Host("9.9.9.9"))[:3] == ("9.9.9.9", "9.9.9.8/31", "9.9.9.8/30")
    assert networks_above(Network("9.0.0.0/8"))[:2] == ("9.0.0.0/8", "8.0.0.0/7")
    assert (networks_above(Host("2600::1"))[-1], len(networks_above(Host("2600::1")))) == ("::/0", 129)
