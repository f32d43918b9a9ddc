"""The fields of older manuals mean what they meant, as far as they are taken; the rest is refused by its place."""

from __future__ import annotations

from typing import Any

import pytest

from footprint.faults import Fault
from footprint.older_flags import FLAGS, MOST_FLAGS, read_flags
from footprint.older_policy import Translation, older_fields, translated

HERE = ("amass", "dns", "nmap", "zmap")


def _translated(said: dict[str, Any], onto: dict[str, Any] | None = None) -> dict[str, Any]:
    new = translated(said, HERE, onto)
    assert new.faults == []
    return new.body


def _faults(said: dict[str, Any], here: tuple[str, ...] = HERE) -> list[Fault]:
    return translated(said, here).faults


def test_a_policy_in_todays_words_stays_as_it_is() -> None:
    said = {"name": "mine", "modules": {"nmap": {"timing": 3}}, "intensity": 2, "unknown": True}
    assert _translated(said) == said


def test_switches_say_which_modules_are_on_and_names_are_resolved_besides() -> None:
    said = {"name": "mine", "amass_enabled": True, "nmap_enabled": True, "zmap_enabled": False}
    assert _translated(said) == {"name": "mine", "modules": {"dns": {}, "amass": {}, "nmap": {}}}


def test_every_module_has_a_switch() -> None:
    assert _translated({"dns_enabled": False, "nmap_enabled": True}) == {"modules": {"nmap": {}}}
    assert "tls_enabled" in older_fields(("tls",))
    assert "tls_enabled" not in older_fields(("nmap",))


def test_a_switch_of_a_module_that_is_not_here_may_be_off_but_not_on() -> None:
    assert _faults({"zmap_enabled": False}, ("dns", "nmap")) == []
    assert _faults({"zmap_enabled": True}, ("dns", "nmap")) == [Fault("zmap_enabled", "there is no such module here")]


@pytest.mark.parametrize("value", ["yes", 1, None, [], "true"])
def test_a_switch_is_true_or_false(value: object) -> None:
    assert _faults({"nmap_enabled": value}) == [Fault("nmap_enabled", "true or false")]


@pytest.mark.parametrize(
    ("level", "intensity"), [(0, 0), (5, 5), ("LOW", 1), ("low", 1), ("Medium", 3), ("HIGH", 4), (9, 9), (None, None)]
)
def test_a_level_is_an_intensity(level: object, intensity: object) -> None:
    assert _translated({"intensity_level": level}) == {"intensity": intensity}


def test_a_level_in_other_words_is_refused() -> None:
    assert _faults({"intensity_level": "EXTREME"}) == [Fault("intensity_level", "0 to 5, or one of LOW, MEDIUM, HIGH")]


def test_what_is_wrong_with_a_translated_field_is_told_of_the_older_one() -> None:
    new = translated({"nmap_enabled": True, "intensity_level": 9, "optimization_flags": "-sS --max-rate 0"}, HERE)
    assert new.blamed(Fault("intensity", "at most 5")) == Fault("intensity_level", "at most 5")
    assert new.blamed(Fault("modules.nmap.max_rate", "at least 1")) == Fault("optimization_flags.1", "at least 1")
    assert new.blamed(Fault("depth", "at most 16")) == Fault("depth", "at most 16")


@pytest.mark.parametrize(
    ("flags", "options"),
    [
        ("-T2", {"timing": 2}),
        ("-T 4", {"timing": 4}),
        ("-Taggressive", {"timing": 4}),
        ("-T0", {"timing": 2, "max_rate": 1}),
        ("-T1", {"timing": 2, "max_rate": 1}),
        ("--max-rate 250", {"max_rate": 250}),
        ("--max-rate=250", {"max_rate": 250}),
        ("--max-retries 1", {"max_retries": 1}),
        ("--version-intensity 3", {"version_intensity": 3}),
        ("--host-timeout 90", {"host_timeout": 90}),
        ("--host-timeout 1500ms", {"host_timeout": 2}),
        ("--host-timeout 30m", {"host_timeout": 1800}),
        ("--host-timeout=2h", {"host_timeout": 7200}),
        ("-sS", {"technique": "syn"}),
        ("-sT -T3", {"technique": "connect", "timing": 3}),
    ],
)
@pytest.mark.parametrize("as_list", [False, True])
def test_flags_of_nmap_become_options(flags: str, options: dict[str, Any], as_list: bool) -> None:
    said = {"nmap_enabled": True, "optimization_flags": flags.split() if as_list else flags}
    assert _translated(said)["modules"]["nmap"] == options


@pytest.mark.parametrize(
    ("flags", "ports"),
    [("-p 22,80", "22,80"), ("-p1-1024", "1-1024"), ("-p-", "all"), ("--top-ports 100", "top:100"), ("-p x", "x")],
)
def test_flags_for_ports_are_the_policys_ports(flags: str, ports: str) -> None:
    assert _translated({"optimization_flags": [flags]}) == {"ports": ports}


@pytest.mark.parametrize("flags", ["-r 100", "-r100", "--rate 100", "--rate=100"])
def test_flags_of_zmap_become_its_rate(flags: str) -> None:
    assert _translated({"zmap_enabled": True, "optimization_flags": flags})["modules"]["zmap"] == {"rate": 100}


@pytest.mark.parametrize(
    ("flags", "place"),
    [
        ("--script=vuln", 0),
        ("-sS --script vuln", 1),
        ("-T4 -iL /etc/passwd", 1),
        (["-T4", "-oN/tmp/x"], 1),
        (["-T4", "; id"], 1),
        ("-T4 $(id)", 1),
        ("-T", 0),
        ("-T6", 0),
        ("-T\u0663", 0),
        ("--max-rate", 0),
        ("--max-rate=", 0),
        ("--max-rate -5", 0),
        ("--max-rate 1e3", 0),
        ("--max-rate 9999999999", 0),
        ("--max-rate \u0661\u0660", 0),
        ("--host-timeout soon", 0),
        ("--host-timeout -1", 0),
        ("-sS=1", 0),
        ("--RATE 5", 0),
        ("-", 0),
        ("--", 0),
        ("10.0.0.1", 0),
        ("-T4 -T4", 1),
        ("-sS -sT", 1),
        ("-T0 --max-rate 9", 1),
        ("-p 80 --top-ports 10", 2),
    ],
)
def test_any_other_flag_is_refused_by_its_place(flags: object, place: int) -> None:
    faults = _faults({"nmap_enabled": True, "optimization_flags": flags})
    assert faults
    assert faults[0].field == f"optimization_flags.{place}"
    assert not any(
        word in fault.problem for fault in faults for word in ("script=", "passwd", "(id)", "soon", "10.0.0.1")
    )


@pytest.mark.parametrize("said", [5, None, {"nmap": "-T4"}, ["-T4", 5], [["-T4"]], True])
def test_flags_are_text_or_a_list_of_it(said: object) -> None:
    assert _faults({"optimization_flags": said}) == [Fault("optimization_flags", "text, or a list of text")]


def test_flags_are_counted() -> None:
    assert read_flags("-sS " * (MOST_FLAGS + 1))[1] == [Fault("optimization_flags", f"at most {MOST_FLAGS} words")]


def test_a_flag_of_a_module_that_is_off_is_refused() -> None:
    assert _faults({"amass_enabled": True, "optimization_flags": "-T3"}) == [
        Fault("optimization_flags.0", "nmap is not on")
    ]
    assert _faults({"optimization_flags": "--rate 5", "modules": "all"})[0].problem == "zmap is not on"


@pytest.mark.parametrize(
    ("said", "field"),
    [
        ({"intensity": 2, "intensity_level": 2}, "intensity_level"),
        ({"modules": {"nmap": {}}, "nmap_enabled": True}, "nmap_enabled"),
        ({"modules": {"nmap": {"timing": 3}}, "optimization_flags": "-T3"}, "optimization_flags.0"),
        ({"ports": "all", "optimization_flags": "-p-"}, "optimization_flags.0"),
    ],
)
def test_the_same_thing_in_an_old_and_a_new_field_is_refused(said: dict[str, Any], field: str) -> None:
    assert [fault.field for fault in _faults(said)] == [field]


def test_older_fields_change_a_policy_that_is_there() -> None:
    onto = {
        "name": "mine",
        "modules": {"dns": {}, "nmap": {"timing": 4, "max_rate": 9}},
        "intensity": 3,
        "ports": "all",
    }
    said = {"amass_enabled": True, "intensity_level": "LOW", "optimization_flags": "-T2 -p 22"}
    assert _translated(said, onto) == {
        "name": "mine",
        "modules": {"dns": {}, "nmap": {"timing": 2, "max_rate": 9}, "amass": {}},
        "intensity": 1,
        "ports": "22",
    }
    assert onto["modules"] == {"dns": {}, "nmap": {"timing": 4, "max_rate": 9}}


def test_no_flag_reaches_a_tool_as_text() -> None:
    for name, flag in FLAGS.items():
        if not flag.takes_value:
            assert all(not str(value).startswith("-") for value in flag.read("").values())
        else:
            refused: list[Fault] = read_flags([name, "--evil"])[1]
            taken: Translation = translated({"optimization_flags": [name, "--evil"]}, HERE)
            assert refused or taken.body == {"ports": "--evil"}  # which a policy's ports refuse
