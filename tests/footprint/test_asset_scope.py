"""The scope of a scan with what assets say of it: inclusions widen it, exclusions always win."""

from __future__ import annotations

import pytest

from footprint.admission import scope_of
from footprint.asset_scope import AssetScope, canonical_exclusion, canonical_target
from footprint.errors import InvalidTarget, TargetRefused
from footprint.policy import PRESETS
from footprint.records import DomainName, Host, Network, Record, Service
from footprint.scope import EXCLUDED, EXCLUDED_HERE, OUTSIDE, Scope
from footprint.settings import Settings
from footprint.target import parse_target

SETTINGS = Settings(scope_exclude=("never.example.com", "9.9.9.9"))


def scope(target: str = "example.com", **said: tuple[str, ...]) -> Scope:
    return scope_of(SETTINGS, parse_target(target), PRESETS["quick"], AssetScope(**said))


@pytest.mark.parametrize(
    ("record", "rule"),
    [
        (DomainName("www.example.com"), ""),
        (DomainName("www.example.net"), ""),
        (DomainName("example.org"), ""),
        (DomainName("notexample.net"), OUTSIDE),
        (DomainName("pay.example.com"), EXCLUDED_HERE),
        (DomainName("a.pay.example.com"), EXCLUDED_HERE),
        (DomainName("prepay.example.com"), ""),
        (DomainName("never.example.com"), EXCLUDED),
        (DomainName("x.secret.example.net"), EXCLUDED_HERE),
        (Host("8.8.8.1"), ""),
        (Host("8.8.8.8"), EXCLUDED_HERE),
        (Host("8.8.8.70"), EXCLUDED_HERE),
        (Host("8.8.9.1"), OUTSIDE),
        (Host("2600::1"), ""),
        (Host("2600::dead:1"), EXCLUDED_HERE),
        (Host("2600:0:0:1::1"), OUTSIDE),
        (Host("9.9.9.9", name="www.example.com"), EXCLUDED),
        (Host("1.1.1.1", name="www.example.com", via="edge.example.net"), ""),
        (Host("1.1.1.1", name="www.example.com", via="edge.cdn.net"), f"behind an alias {OUTSIDE}"),
        (Host("1.1.1.1", name="pay.example.com"), f"reached by a name {EXCLUDED_HERE}"),
        (Host("8.8.8.1", name="pay.example.com"), f"reached by a name {EXCLUDED_HERE}"),
        (Network("8.8.8.0/25"), ""),
        (Network("8.8.8.64/27"), EXCLUDED_HERE),
        (Network("2600::dead:0/112"), EXCLUDED_HERE),
        (Network("8.8.8.0/23"), OUTSIDE),
        (Service("8.8.8.8", 80), EXCLUDED_HERE),
        (Service("2600::dead:1", 80), EXCLUDED_HERE),
    ],
)
def test_inclusions_widen_the_scope_and_exclusions_win(record: Record, rule: str) -> None:
    made = scope(
        roots=("example.org",),
        include=("example.net", "8.8.8.0/24", "2600::/64"),
        exclude=("pay.example.com", "secret.example.net", "8.8.8.8", "8.8.8.64/26", "2600::dead:0/112"),
    )
    assert made.decide(record).rule == rule


def test_what_is_included_and_excluded_alike_is_excluded() -> None:
    made = scope(include=("8.8.8.0/24", "example.net"), exclude=("8.8.0.0/16", "example.net"))
    assert {made.decide(record).rule for record in (Host("8.8.8.1"), DomainName("example.net"))} == {EXCLUDED_HERE}


def test_what_both_lists_make_up_together_is_excluded() -> None:
    made = scope("9.9.9.8/31", exclude=("9.9.9.8",))
    assert made.decide(Network("9.9.9.8/31")).rule == EXCLUDED_HERE


def test_a_request_for_what_an_asset_excludes_is_refused_with_the_place_to_look() -> None:
    with pytest.raises(TargetRefused, match=r"exclusion list of its asset.*scope/"):
        scope(exclude=("example.com",)).admit(DomainName("www.example.com"))


def test_tools_get_the_exclusions_of_the_installation_and_of_assets() -> None:
    made = scope(exclude=("8.8.8.8", "pay.example.com", "2600::/64", "9.9.9.9"))
    assert made.excluded_networks() == ("9.9.9.9/32", "8.8.8.8/32", "2600::/64")


def test_what_is_excluded_of_a_network_is_told_by_entry() -> None:
    made = scope("9.9.9.0/24", exclude=("9.9.9.64/26", "9.9.8.0/23", "2600::1", "pay.example.com"))
    assert made.holes_in(Network("9.9.9.0/24")) == {"9.9.9.9": EXCLUDED, "9.9.9.64/26": EXCLUDED_HERE}
    assert made.holes_in(DomainName("example.com")) == {}


def test_an_included_network_is_swept_only_where_a_scan_might_ask_for_it() -> None:
    made = scope(include=("11.0.0.0/8", "2600::/32"))
    assert made.decide(Host("11.1.2.3")).touch
    assert made.decide(Network("11.0.0.0/20")).touch
    for wide in ("11.0.0.0/8", "2600::/32"):
        assert made.decide(Network(wide)).rule == "more than 4096 addresses"


def test_an_inclusion_lifts_no_ban_on_special_purpose_addresses() -> None:
    assert "special-purpose" in scope(include=("10.0.0.0/8",)).decide(Host("10.0.0.1")).rule


def test_what_is_said_comes_back_from_json_as_it_was() -> None:
    said = AssetScope(("example.org",), ("9.9.9.0/24",), ("pay.example.com",))
    assert AssetScope.unpack(said.pack()) == said
    assert AssetScope.unpack({}) == AssetScope()
    assert said.excluding(("x.example", "pay.example.com")).exclude == ("pay.example.com", "x.example")


def test_entries_are_kept_in_one_spelling() -> None:
    assert canonical_target("EXAMPLE.com.") == "example.com"
    assert canonical_target("9.9.9.9/32") == "9.9.9.9"
    assert canonical_target("2600:0:0::1") == "2600::1"
    assert canonical_exclusion("internal") == "internal"
    for wrong in ("internal", "0177.0.0.1", "9.9.9.9/24", "-x.example"):
        with pytest.raises(InvalidTarget):
            canonical_target(wrong)
