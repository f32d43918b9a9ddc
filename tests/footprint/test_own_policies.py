"""Policies of one's own in the store, on SQLite and on PostgreSQL; and what in a policy contradicts itself."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import pytest

from footprint.admission import admit, digest_of
from footprint.errors import Conflict, InvalidPolicy, NotFound, sentence_of
from footprint.faults import Fault
from footprint.policy import PRESETS, ScanPolicy, contradictions
from footprint.records import Host
from footprint.settings import Settings
from footprint.store import Store
from footprint.store.policies import (
    add_policy,
    delete_policy,
    find_policy,
    own_policy,
    policies_page,
    policy_by_name,
    replace_policy,
)
from footprint.store.scans import begin, insert_scan
from footprint.store.views import scan_by_id

MINE = ScanPolicy(name="mine", modules={"dns": {}, "nmap": {"timing": 3}}, ports="top:10", required=("nmap",))


def _named(name: str, **said: Any) -> ScanPolicy:
    return MINE.model_copy(update={"name": name, **said})


def test_a_policy_is_kept_with_all_that_it_says(store: Store) -> None:
    with store.write() as session:
        made = add_policy(session, MINE)
    with store.read() as session:
        known = policy_by_name(session, "mine")
    assert known == made
    assert known.policy == MINE
    assert known.created_at is not None
    assert known.created_at == known.updated_at
    assert not known.is_shipped


def test_shipped_policies_come_first_then_ones_own_by_name(store: Store) -> None:
    with store.write() as session:
        for name in ("zebra", "ant", "mine"):
            add_policy(session, _named(name))
    names = [*PRESETS, "ant", "mine", "zebra"]
    with store.read() as session:
        for size in (1, 2, len(PRESETS), 100):
            pages = [policies_page(session, offset, size) for offset in range(0, len(names), size)]
            assert [known.policy.name for page, _ in pages for known in page] == names
            assert {count for _, count in pages} == {len(names)}
        shipped = [known.is_shipped for known in policies_page(session, 0, 100)[0]]
    assert shipped == [name in PRESETS for name in names]


def test_a_policy_whose_name_is_shipped_later_gives_way(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    with store.write() as session:
        add_policy(session, MINE)
    monkeypatch.setitem(PRESETS, "mine", _named("mine", ports="all"))
    with store.read() as session:
        page, count = policies_page(session, 0, 100)
        assert ([known.policy.name for known in page], count) == (list(PRESETS), len(PRESETS))
        assert policy_by_name(session, "mine").policy.ports == "all"


def test_a_policy_that_is_replaced_says_only_the_new(store: Store) -> None:
    with store.write() as session:
        made = add_policy(session, MINE)
    with store.write() as session:
        changed = replace_policy(session, ScanPolicy(name="mine", modules={"dns": {}}))
    with store.read() as session:
        known = policy_by_name(session, "mine")
    assert known == changed
    assert known.policy == ScanPolicy(name="mine", modules={"dns": {}})
    assert known.created_at == made.created_at
    assert known.updated_at is not None
    assert made.updated_at is not None
    assert known.updated_at > made.updated_at


def test_what_is_not_there_is_not_found(store: Store) -> None:
    with store.write() as session:
        assert find_policy(session, "mine") is None
        for change in (policy_by_name, own_policy, delete_policy):
            with pytest.raises(NotFound):
                change(session, "mine")
        with pytest.raises(NotFound):
            replace_policy(session, MINE)


def test_a_shipped_policy_stays_as_it_is(store: Store) -> None:
    with store.write() as session:
        for change in (own_policy, delete_policy):
            with pytest.raises(Conflict, match="shipped"):
                change(session, "quick")
        for write in (add_policy, replace_policy):
            with pytest.raises(Conflict, match="shipped"):
                write(session, _named("quick"))
        assert policy_by_name(session, "quick").policy == PRESETS["quick"]


def test_a_name_is_taken_once(store: Store) -> None:
    with store.write() as session:
        add_policy(session, MINE)
        with pytest.raises(Conflict, match="already"):
            add_policy(session, _named("mine", ports="all"))
        # The transaction goes on: what was written before stands.
        add_policy(session, _named("other"))
    with store.read() as session:
        assert policy_by_name(session, "mine").policy == MINE
        assert find_policy(session, "other")


def test_of_two_who_take_a_name_at_once_one_gets_it(store: Store) -> None:
    def take(ports: str) -> str:
        try:
            with store.write() as session:
                add_policy(session, _named("mine", ports=ports))
        except Conflict:
            return "taken"
        return ports

    with ThreadPoolExecutor(8) as threads:
        outcomes = list(threads.map(take, [str(port) for port in range(1, 9)]))
    got = [outcome for outcome in outcomes if outcome != "taken"]
    assert len(got) == 1
    with store.read() as session:
        assert policy_by_name(session, "mine").policy.ports == got[0]


def test_the_name_of_those_that_come_with_a_scan_is_not_to_be_had(store: Store) -> None:
    with store.write() as session, pytest.raises(InvalidPolicy, match="name: is kept"):
        add_policy(session, _named("inline"))


def test_a_scan_keeps_what_its_policy_said(store: Store) -> None:
    settings = Settings(scope_allow=("127.0.0.0/8",))  # type: ignore[arg-type]

    def asked() -> Any:
        with store.write() as session:
            new = admit(
                settings,
                target="127.0.0.1",
                policy="mine",
                comment="",
                origin="api",
                find=lambda name: policy_by_name(session, name).policy,
            )
            return insert_scan(session, new)[0].id

    with store.write() as session:
        add_policy(session, MINE)
    first = asked()
    with store.write() as session:
        replace_policy(session, _named("mine", ports="all", concurrency=1))
    second = asked()
    with store.write() as session:
        delete_policy(session, "mine")
    with store.write() as session:
        assert begin(session, first, uuid4()).policy == MINE
        assert begin(session, second, uuid4()).policy == _named("mine", ports="all", concurrency=1)
        assert scan_by_id(session, first).policy_name == "mine"


def test_a_policy_that_comes_with_a_request_belongs_to_its_digest() -> None:
    target = Host("127.0.0.1")
    digests = {
        digest_of(target, policy, comment)
        for policy in ("mine", MINE, _named("mine", ports="all"), _named("other"))
        for comment in ("", "x")
    }
    assert len(digests) == 8
    assert digest_of(target, MINE, "") == digest_of(target, ScanPolicy.model_validate(MINE.model_dump()), "")


@pytest.mark.parametrize(
    ("said", "fault"),
    [
        ({"required": ("dns", "amass")}, Fault("required.1", "is not among the modules that are on")),
        ({"modules": {}, "required": ()}, Fault("modules", "at least one module is on")),
        ({"unit_timeout": 101, "scan_timeout": 100}, Fault("unit_timeout", "at most 100, the scan_timeout")),
    ],
)
def test_what_contradicts_itself_is_told_of_the_field_that_gives_way(said: dict[str, Any], fault: Fault) -> None:
    assert contradictions(MINE) == ()
    assert contradictions(MINE.model_copy(update=said)) == (fault,)


def test_a_sentence_names_a_few_faults_and_counts_the_others() -> None:
    faults = [Fault(f"f{number}", "at most 5") for number in range(7)]
    assert sentence_of(faults[:2]) == "f0: at most 5; f1: at most 5"
    assert sentence_of(faults).endswith("f4: at most 5; and 2 more")
