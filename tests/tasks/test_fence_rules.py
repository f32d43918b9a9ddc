"""The fence's rules as a text, and what the kernel says of them, read back."""

from __future__ import annotations

import json
from dataclasses import replace
from ipaddress import ip_network

import pytest

from tasks.fence_rules import Plan, Strays, owners_in, raising, strays_in

PLAN = Plan(61042, "7_8_9", [ip_network("10.87.0.0/29")], [ip_network("fd87::/64")], ("10.0.0.1",), ("lo", "eth0.7"))


def _listing(*entries: dict[str, object]) -> str:
    return json.dumps({"nftables": [{"metainfo": {"version": "1.0.6"}}, *entries]})


def _counter(packets: int) -> dict[str, object]:
    return {"counter": {"name": "strays", "packets": packets, "bytes": 9}}


def _seen(name: str, *elements: object) -> dict[str, object]:
    return {"set": {"name": name, **({"elem": list(elements)} if elements else {})}}


def test_both_tables_know_the_same_addresses_and_only_frames_the_gateways() -> None:
    inet, netdev = raising(PLAN).split("table netdev pulsar_61042 {")
    for text in (inet, netdev):
        assert "set four { type ipv4_addr; flags interval; auto-merge; elements = { 10.87.0.0/29 }; }" in text
        assert "set never6 { type ipv6_addr; flags interval; auto-merge; elements = { fd87::/64 }; }" in text
        assert "set six { type ipv6_addr; flags interval; auto-merge;  }" in text
        assert text.index("@never4 goto") < text.index("@four goto given")  # exclusions win
    assert 'devices = { "lo", "eth0.7" }' in netdev
    assert "arp daddr ip @ways accept" in netdev
    assert "arp" not in inet


def test_ports_and_a_rate_hold_where_they_are_asked_for() -> None:
    for text in raising(PLAN).split("table netdev pulsar_61042 {"):
        assert "chain given {\naccept\n}" in text
    inet, netdev = raising(replace(PLAN, ports=(80, 443), rate=10)).split("table netdev pulsar_61042 {")
    for text in (inet, netdev):
        assert "th dport != { 80, 443 } goto strayed" in text
        assert text.index("tcp, udp } goto strayed") < text.index("\naccept\n")
    assert "limit" not in inet  # whoever is too fast is not told
    assert "limit rate over 10/second burst 5 packets counter name slowed drop" in netdev
    assert "limit rate over 15000 bytes/second burst 65536 bytes counter name slowed drop" in netdev
    for text in raising(replace(PLAN, ports=())).split("table netdev pulsar_61042 {"):
        assert "chain given {\ngoto strayed\naccept\n}" in text


def test_what_was_too_fast_is_told_apart_from_strays() -> None:
    slow = {"counter": {"name": "slowed", "packets": 6, "bytes": 9}}
    assert strays_in(f"{_listing(_counter(3), slow)}\n{_listing(_counter(4), slow)}") == Strays(7, (), 12)


def test_what_both_tables_counted_is_added_up() -> None:
    listings = "\n".join(
        (
            _listing(_counter(3), _seen("four", "10.87.0.1"), _seen("to4", "10.0.0.9"), _seen("to6")),
            _listing(_counter(4), _seen("to4", {"elem": {"val": "10.0.0.9"}}, "10.0.0.8"), _seen("to6", "fd88::1")),
        )
    )
    assert strays_in(listings) == Strays(7, ("10.0.0.9", "10.0.0.8", "fd88::1"))


@pytest.mark.parametrize("listings", ["", _listing(_counter(0)), "no JSON"])
def test_half_an_answer_is_not_taken_for_no_strays(listings: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - also json's own
        strays_in(listings)


def test_fences_are_told_from_whatever_else_is_there() -> None:
    chains = [
        *(("inet", "pulsar_61042", "held_7_8_9"), ("netdev", "pulsar_61042", "held_7_8_9")),
        *(("inet", "pulsar_61042", "out"), ("inet", "pulsar_x", "held_1_1_1"), ("inet", "61043", "held_1_1_1")),
    ]
    listing = _listing(*({"chain": {"family": family, "table": table, "name": name}} for family, table, name in chains))
    assert list(owners_in(listing)) == [(61042, "7_8_9")]
