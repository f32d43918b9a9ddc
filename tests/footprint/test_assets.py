"""Assets in the store: whose a target is, what their scans may touch, who allowed it, what was left out."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from uuid import UUID, uuid4

import pytest
from sqlalchemy.orm import Session

from footprint.admission import admit
from footprint.asset_scope import AssetScope
from footprint.errors import Conflict, NotFound, TargetRefused
from footprint.records import Coverage, Host, Outcome
from footprint.settings import Settings
from footprint.store import Store
from footprint.store import left_out as lists
from footprint.store.assets import (
    add_asset,
    asset_of,
    assets_around,
    change_asset,
    exclusions_over,
    roots_of,
    scope_for,
    scope_of_asset,
    set_scope,
)
from footprint.store.authorizations import (
    Authorization,
    add_authorization,
    authorizations_page,
    delete_authorization,
    permitted,
)
from footprint.store.left_out import LeftOutView, keep_left_out, left_out_page
from footprint.store.scans import Begun, begin, insert_scan
from footprint.store.tables import Asset, Scan
from footprint.store.units import Settlement, Unit, begin_unit, plan_unit, settle_unit
from footprint.target import parse_target
from footprint.verdict import UnitStatus

MADE = AssetScope(("example.com", "9.9.0.0/16"), ("example.net", "8.8.8.0/24"), ("pay.example.com", "9.9.9.9"))
NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
GIVEN = Authorization(None, NOON, NOON + HOUR, "Jo Doe")


@pytest.fixture
def corp(store: Store) -> UUID:
    with store.write() as session:
        return add_asset(session, "Example Corp", MADE)


def _begun(session: Session, target: str) -> Begun:
    asked = admit(
        Settings(), target=target, policy="quick", comment="", origin="api", scoped=partial(scope_for, session)
    )
    return begin(session, insert_scan(session, asked)[0].id, uuid4())


@pytest.mark.parametrize(
    ("target", "is_its"),
    [
        ("example.com", True),
        ("www.example.com", True),
        ("notexample.com", False),
        ("com.example", False),
        ("9.9.0.0/16", True),
        ("9.9.9.0/24", True),
        ("9.9.1.1", True),
        ("9.0.0.0/8", False),
        ("9.10.0.1", False),
        ("example.net", False),
        ("2600::9.9.1.1", False),
    ],
)
def test_a_target_belongs_to_the_asset_whose_root_it_is_or_is_below(
    store: Store, corp: UUID, target: str, is_its: bool
) -> None:
    with store.write() as session:
        wanted = parse_target(target)
        assert assets_around(session, wanted) == ([corp] if is_its else [])
        assert (asset_of(session, wanted) == corp) is is_its
        assert asset_of(session, wanted) == asset_of(session, wanted)


def test_of_several_the_nearest_root_decides_and_what_all_say_holds(store: Store, corp: UUID) -> None:
    with store.write() as session:
        near = add_asset(session, "Branch", AssetScope(("9.9.7.0/24", "2600::/64"), ("branch.example",), ("9.9.7.7",)))
        target = parse_target("9.9.7.1")
        assert assets_around(session, target) == [near, corp]
        assert asset_of(session, target) == near
        said = scope_for(session, target)
    assert said.include == ("example.net", "8.8.8.0/24", "branch.example")
    assert set(said.exclude) == {"pay.example.com", "9.9.9.9", "9.9.7.7"}


def test_a_scan_of_a_root_may_touch_the_other_roots_and_one_below_it_may_not(store: Store, corp: UUID) -> None:
    with store.read() as session:
        assert scope_for(session, parse_target("example.com")).roots == MADE.roots
        below = scope_for(session, parse_target("www.example.com"))
        assert (below.roots, below.include) == ((), MADE.include)
        assert scope_for(session, parse_target("example.org")) == AssetScope()


@pytest.mark.parametrize("wider", ["9.0.0.0/8", "8.0.0.0/7"])
def test_a_wider_target_does_not_get_round_an_exclusion(store: Store, corp: UUID, wider: str) -> None:
    with store.read() as session:
        assert "9.9.9.9" in scope_for(session, parse_target(wider)).exclude
        assert exclusions_over(session, [parse_target("7.0.0.0/8"), parse_target("com.example")]) == ()
        assert "pay.example.com" in exclusions_over(session, [parse_target("a.b.example.com")])


def test_what_one_asset_includes_of_another_is_subject_to_the_others_exclusions(store: Store, corp: UUID) -> None:
    with store.write() as session:
        add_asset(session, "Partner", AssetScope(("partner.example",), ("9.9.9.0/24",)))
        assert "9.9.9.9" in scope_for(session, parse_target("partner.example")).exclude


def test_a_scan_keeps_the_scope_that_it_was_asked_for_with(store: Store, corp: UUID) -> None:
    with store.write() as session:
        scan = _begun(session, "example.com")
        set_scope(session, corp, AssetScope(include=("other.example",)))
        row = session.get_one(Scan, scan.id)
        again = begin(session, scan.id, row.task_id or uuid4())
    assert (scan.scope, row.asset_id) == (replace(MADE), corp)
    assert again.scope == scan.scope


def test_what_an_asset_excludes_is_refused_at_the_request(store: Store, corp: UUID) -> None:
    for target in ("a.pay.example.com", "9.9.9.9"):
        with store.write() as session, pytest.raises(TargetRefused, match="of its asset"):
            _begun(session, target)


def test_a_scope_is_replaced_whole(store: Store, corp: UUID) -> None:
    with store.write() as session:
        assert scope_of_asset(session, corp) == replace(MADE, roots=())
        set_scope(session, corp, AssetScope(include=("a.example", "a.example")))
        assert scope_of_asset(session, corp) == AssetScope(include=("a.example",))
        with pytest.raises(NotFound):
            set_scope(session, uuid4(), AssetScope())
        with pytest.raises(NotFound):
            scope_of_asset(session, uuid4())


def test_names_and_roots_are_one_assets_each(store: Store, corp: UUID) -> None:
    for name, roots, said in [
        ("Example Corp", ("example.org",), "of this name"),
        ("Other", ("example.org", "example.com"), r"root no\. 2 "),
        ("example.org", ("example.edu",), "is called like"),
    ]:
        with pytest.raises(Conflict, match=said), store.write() as session:
            add_asset(session, name, AssetScope(roots))
    with store.write() as session:
        other = add_asset(session, "example.org", AssetScope(("example.org",)))
    for changed in [("Example Corp", None), (None, ("9.9.0.0/16",)), (None, ("example.edu",)), ("example.edu", None)]:
        with pytest.raises(Conflict), store.write() as session:
            change_asset(session, other, *changed)
    with pytest.raises(NotFound), store.write() as session:
        change_asset(session, uuid4(), "Nobody", None)


def test_a_name_and_roots_are_changed_each_by_itself(store: Store, corp: UUID) -> None:
    with store.write() as session:
        change_asset(session, corp, "Example AG", None)
        assert roots_of(session, [corp]) == MADE.roots
        change_asset(session, corp, None, ("2600::/64", "example.com"))
        assert (session.get_one(Asset, corp).name, roots_of(session, [corp])) == (
            "Example AG",
            ("example.com", "2600::/64"),
        )
        assert assets_around(session, parse_target("9.9.1.1")) == []
        assert assets_around(session, parse_target("2600::7")) == [corp]


@pytest.mark.parametrize(
    ("covers", "target", "is_covered"),
    [
        (None, "example.com", True),
        (None, "9.9.1.0/24", True),
        ("www.example.com", "www.example.com", True),
        ("www.example.com", "example.com", False),
        ("9.9.1.0/24", "9.9.1.7", True),
        ("9.9.1.0/24", "9.9.0.0/16", False),
        ("example.com", "9.9.1.7", False),
    ],
)
def test_an_authorisation_covers_all_of_its_asset_or_the_part_that_it_names(
    store: Store, corp: UUID, covers: str | None, target: str, is_covered: bool
) -> None:
    with store.write() as session:
        add_authorization(session, corp, replace(GIVEN, covers=covers))
        assert permitted(session, parse_target(target), NOON).holds(parse_target(target)) is is_covered


def test_an_authorisation_holds_from_its_beginning_until_its_end(store: Store, corp: UUID) -> None:
    target = parse_target("example.com")
    moments = [NOON - timedelta(seconds=1), NOON, NOON + HOUR - timedelta(seconds=1), NOON + HOUR]
    with store.write() as session:
        made = add_authorization(session, corp, GIVEN)
        assert [permitted(session, target, at).holds(target) for at in moments] == [False, True, True, False]
        delete_authorization(session, corp, made.id)
        assert not permitted(session, target, NOON).holds(target)


def test_where_no_moment_is_given_the_present_counts(store: Store, corp: UUID) -> None:
    target, present = parse_target("example.com"), datetime.now(UTC)
    with store.write() as session:
        add_authorization(session, corp, replace(GIVEN, valid_from=present - 2 * HOUR, valid_until=present - HOUR))
        assert not permitted(session, target).holds(target)
        add_authorization(session, corp, replace(GIVEN, valid_from=present - HOUR, valid_until=present + HOUR))
        assert permitted(session, target).holds(target)


def test_all_of_an_asset_is_its_inclusions_too_and_nobody_elses(store: Store, corp: UUID) -> None:
    with store.write() as session:
        other = add_asset(session, "Other", AssetScope(("example.org",)))
        add_authorization(session, other, GIVEN)
        assert not permitted(session, parse_target("example.com"), NOON).holds(parse_target("example.com"))
        add_authorization(session, corp, GIVEN)
        area = permitted(session, parse_target("example.com"), NOON)
    held = [area.holds(parse_target(text)) for text in ("example.net", "8.8.8.8", "9.9.1.1", "example.org")]
    assert held == [True, True, True, False]


def test_two_authorisations_may_cover_a_network_together(store: Store, corp: UUID) -> None:
    target = parse_target("9.9.0.0/16")
    with store.write() as session:
        add_authorization(session, corp, replace(GIVEN, covers="9.9.0.0/17"))
        assert not permitted(session, target, NOON).holds(target)
        add_authorization(session, corp, replace(GIVEN, covers="9.9.128.0/17"))
        assert permitted(session, target, NOON).holds(target)


def test_authorisations_are_listed_and_taken_back_by_their_own_asset(store: Store, corp: UUID) -> None:
    with store.write() as session:
        made = [add_authorization(session, corp, replace(GIVEN, reference=str(number))) for number in range(3)]
        page, count = authorizations_page(session, corp, 0, 2)
        assert ([one.said.reference for one in page], count) == (["2", "1"], 3)
        assert page[0].said == replace(GIVEN, reference="2")
        other = add_asset(session, "Other", AssetScope(("example.org",)))
        for asset, number in ((other, made[0].id), (corp, 4711)):
            with pytest.raises(NotFound):
                delete_authorization(session, asset, number)
        with pytest.raises(NotFound):
            add_authorization(session, uuid4(), GIVEN)
        with pytest.raises(NotFound):
            authorizations_page(session, uuid4(), 0, 10)


def test_what_was_left_out_is_listed_with_its_rule_and_module(store: Store, corp: UUID) -> None:
    with store.write() as session:
        scan = _begun(session, "example.com")
        unit = plan_unit(session, scan.id, scan.attempt, Unit("nmap", 1, 0, (Host("9.9.1.1"), Host("9.9.1.2"))))
        begin_unit(session, scan.id, scan.attempt, "nmap", 1)
        coverage = (Coverage("9.9.1.1", Outcome.REFUSED, "excluded"), Coverage("9.9.1.2", Outcome.ANSWERED))
        settle_unit(session, scan.id, scan.attempt, unit, Settlement(UnitStatus.DONE, coverage=coverage))
        keep_left_out(session, scan.id, {"b.example": "outside", "a.example": "x" * 1000})
        found, count = left_out_page(session, scan.id, 0, 10)
        assert (count, session.get_one(Scan, scan.id).not_listed) == (3, 0)
        assert found == [
            LeftOutView("9.9.1.1", "excluded", "nmap"),
            LeftOutView("a.example", "x" * 400, None),
            LeftOutView("b.example", "outside", None),
        ]
        assert left_out_page(session, scan.id, 1, 1)[0] == found[1:2]
        with pytest.raises(NotFound):
            left_out_page(session, uuid4(), 0, 10)


def test_what_was_left_out_is_bounded_counted_and_written_anew(
    store: Store, corp: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lists, "MOST_LISTED", 5)
    with store.write() as session:
        scan = _begun(session, "example.com")
        for _ in range(2):
            keep_left_out(session, scan.id, {f"{number}.example": "outside" for number in range(8)}, besides=4)
        session.expire_all()
        assert left_out_page(session, scan.id, 0, 100)[1] == 5
        assert session.get_one(Scan, scan.id).not_listed == 7
        keep_left_out(session, scan.id, {})
        assert left_out_page(session, scan.id, 0, 100)[1] == 0
