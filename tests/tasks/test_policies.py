"""Policies as callers write them, held against the modules that are here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from footprint.errors import InvalidPolicy
from footprint.faults import Fault
from footprint.policy import PRESETS, ScanPolicy
from footprint.store import Store, migrate, open_store
from footprint.store.policies import add_policy
from tasks.catalogue import catalogue
from tasks.policies import policy_of, refuse_borrowed_name, usable_policy
from tasks.unit import pace_of

MINE = {"name": "mine", "modules": {"dns": {}, "nmap": {}}}


def _faults(said: object, **given: Any) -> tuple[Fault, ...]:
    with pytest.raises(InvalidPolicy) as refused:
        policy_of(said, **given)
    return refused.value.faults


@pytest.mark.parametrize("name", PRESETS)
def test_every_shipped_policy_can_be_copied_under_another_name(name: str) -> None:
    said = PRESETS[name].model_dump(mode="json")
    assert policy_of({**said, "name": "mine"}) == PRESETS[name].model_copy(update={"name": "mine"})


@pytest.mark.parametrize("name", catalogue())
def test_every_module_takes_the_options_that_it_would_choose_itself(name: str) -> None:
    tool = catalogue()[name]
    policy = ScanPolicy(name="mine", modules={name: {}})
    chosen = tool.configure({}, pace_of(policy)).model_dump(mode="json")
    assert policy_of({"name": "mine", "modules": {name: chosen}}).modules == {name: chosen}


def test_what_an_api_shows_beside_a_policy_may_come_back() -> None:
    shown = {**MINE, "shipped": False, "created_at": "2026-01-05T02:00:00Z", "updated_at": None}
    assert policy_of(shown) == policy_of(MINE)


def test_several_faults_are_all_named() -> None:
    faults = _faults({
        "name": "Mine",
        "modules": {"dns": {"rate": 0}, "nmap": {"timing": 9, "evil": 1}, "evil": {}},
        "intensity": 6,
        "evil": 1,
    })  # fmt: skip
    assert {fault.field for fault in faults} == {
        "policy", "name", "modules", "modules.dns.rate", "modules.nmap", "modules.nmap.timing", "intensity",
    }  # fmt: skip
    assert "at most 5" in {fault.problem for fault in faults}
    assert not any("evil" in str(fault) for fault in faults)


def test_a_units_time_that_is_not_given_is_at_most_the_scans() -> None:
    assert policy_of({**MINE, "scan_timeout": 600}).unit_timeout == 600
    assert policy_of({**MINE, "scan_timeout": 86400}).unit_timeout == 3600
    assert _faults({**MINE, "scan_timeout": 600, "unit_timeout": 601})[0].field == "unit_timeout"


def test_an_option_that_the_policys_own_time_cuts_short_is_refused_with_the_bound() -> None:
    said = {"name": "mine", "modules": {"nmap": {"host_timeout": 600}}, "unit_timeout": 100}
    assert _faults(said) == (Fault("modules.nmap.host_timeout", "at most 85 within this unit_timeout"),)


def test_what_the_worker_sets_is_not_for_a_policy_to_say() -> None:
    assert _faults({"name": "mine", "modules": {"nmap": {"own_ports": [22]}}}) == (
        Fault("modules.nmap.own_ports", "is not for a policy to say"),
    )


@pytest.mark.parametrize(
    ("module", "option", "value"),
    [("amass", "version", 5), ("amass", "resolvers", ["192.0.2.1"]), ("nuclei", "templates", "/elsewhere")],
)
def test_what_the_installation_sets_is_not_for_a_policy_to_say(module: str, option: str, value: object) -> None:
    assert _faults({"name": "mine", "modules": {module: {option: value}}}) == (
        Fault(f"modules.{module}.{option}", "is not for a policy to say"),
    )


@pytest.mark.parametrize("days", ["FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30", "FREQ=MONTHLY;BYMONTH=99"])
def test_a_window_on_days_that_never_come_is_refused(days: str) -> None:
    windows = [{"from": "22:00", "until": "06:00", "rrule": rule} for rule in ("FREQ=DAILY", days)]
    assert _faults({**MINE, "windows": windows}) == (Fault("windows.1.rrule", "a rule names days that come"),)
    rare = {"from": "22:00", "until": "06:00", "rrule": "FREQ=MONTHLY;BYMONTH=2;BYDAY=5FR"}
    assert policy_of({**MINE, "windows": [rare]}).windows, "the 29th of February is a Friday in 2036"


def test_older_fields_are_read_and_blamed() -> None:
    policy = policy_of({"name": "old", "nmap_enabled": True, "intensity_level": "LOW", "optimization_flags": "-T2 -p-"})
    assert policy == ScanPolicy(name="old", modules={"dns": {}, "nmap": {"timing": 2}}, intensity=1, ports="all")
    said = {"name": "old", "nmap_enabled": True, "intensity_level": 7, "optimization_flags": ["--max-rate 0", "-p 0"]}
    assert _faults(said) == (
        Fault("intensity_level", "at most 5"),
        Fault("optimization_flags.1", "a port is 1 to 65535, and a range goes upwards"),
        Fault("optimization_flags.0", "at least 1"),
    )


def test_a_policy_is_changed_field_by_field() -> None:
    onto = policy_of({**MINE, "intensity": 1, "description": "Ours."})
    changed = policy_of({"ports": "all", "modules": {"dns": {}}}, name="mine", onto=onto)
    assert changed == onto.model_copy(update={"ports": "all", "modules": {"dns": {}}})
    assert _faults({"scan_timeout": 60}, onto=onto) == (Fault("unit_timeout", "at most 60, the scan_timeout"),)


def test_a_policy_within_a_request_is_blamed_by_its_place() -> None:
    assert _faults({"modules": {"dns": {}}, "depth": 99}, name="inline", where="policy") == (
        Fault("policy.depth", "at most 16"),
    )
    assert _faults({"modules": {}, "evil": 1}, name="inline", where="policy")[0].field == "policy"


@pytest.mark.parametrize("depth", [100, 400, 900])
def test_a_policy_nested_too_deeply_is_refused(depth: int) -> None:
    nested: Any = {}
    for _ in range(depth):
        nested = {"a": nested}
    assert _faults({**MINE, "description": nested})
    assert _faults({"name": "mine", "modules": {"nmap": {"ports": nested}}})[0].field.startswith("modules.nmap")


@pytest.fixture
def kept(tmp_path: Path) -> Store:
    """A store that holds a policy `mine`, and `outdated`, whose module is no longer here."""
    url = f"sqlite:///{tmp_path / 'pulsar.db'}"
    migrate(url)
    store = open_store(url)
    with store.write() as session:
        add_policy(session, policy_of(MINE))
        add_policy(session, ScanPolicy(name="outdated", modules={"abandoned": {}}))
    store.close()
    return store


def test_a_policy_is_found_by_name_if_it_can_be_carried_out(kept: Store) -> None:
    with kept.read() as session:
        assert usable_policy(session, "quick") == PRESETS["quick"]
        assert usable_policy(session, "mine") == policy_of(MINE)
        with pytest.raises(InvalidPolicy, match="no policy of that name"):
            usable_policy(session, "other")
        with pytest.raises(InvalidPolicy, match=r"policy\.modules: no\. 1 is no module"):
            usable_policy(session, "outdated")


def test_a_policy_that_comes_with_a_scan_does_not_go_by_the_name_of_another(kept: Store) -> None:
    with kept.read() as session:
        refuse_borrowed_name(session, policy_of(MINE))
        refuse_borrowed_name(session, policy_of({**MINE, "name": "fresh"}))
        for name in ("mine", "quick"):
            with pytest.raises(InvalidPolicy, match=r"policy\.name"):
                refuse_borrowed_name(session, policy_of({**MINE, "name": name, "depth": 1}))
