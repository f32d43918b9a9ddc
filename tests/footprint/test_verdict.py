"""How a scan's end is judged."""

from __future__ import annotations

from footprint.records import Outcome
from footprint.states import Status
from footprint.verdict import UnitReport, UnitStatus, conclude

DONE = UnitReport("nmap", 1, UnitStatus.DONE, {Outcome.ANSWERED: 1})
FAILED = UnitReport("nmap", 2, UnitStatus.FAILED, error="nmap: ended by a signal (code 137)")


def test_all_units_answered_is_success_without_a_word() -> None:
    assert conclude([DONE], ["nmap"]) == conclude([DONE, DONE], [])
    assert conclude([DONE], ["nmap"]).warnings == ()


def test_a_failed_unit_among_others_is_a_warning_and_never_disappears() -> None:
    verdict = conclude([DONE, FAILED], ["nmap"])
    assert (verdict.status, verdict.warnings) == (Status.SUCCESS, ("nmap: ended by a signal (code 137)",))


def test_many_units_with_one_error_are_one_line() -> None:
    assert conclude([DONE, FAILED, FAILED], []).warnings == ("nmap: ended by a signal (code 137) (2 units)",)


def test_a_required_module_that_failed_everywhere_is_a_failure() -> None:
    names = UnitReport("dns", 1, UnitStatus.DONE, {Outcome.ANSWERED: 1})
    verdict = conclude([names, FAILED], ["nmap"])
    assert (verdict.status, verdict.error) == (Status.FAILURE, "nmap: ended by a signal (code 137)")
    assert conclude([names, FAILED], ["dns"]).status is Status.SUCCESS


def test_a_required_module_that_had_nothing_to_look_at_is_a_failure_that_says_why() -> None:
    names = UnitReport("dns", 1, UnitStatus.DONE, {Outcome.ANSWERED: 1})
    refused = conclude([names], ["nmap"], left_out=["10.1.2.3: not touched: private use"])
    assert refused.error == "nmap had nothing to look at: 10.1.2.3: not touched: private use"
    assert conclude([names], ["nmap"]).error == "nmap had nothing to look at: no address was found"
    assert conclude([names], ["dns"]).status is Status.SUCCESS


def test_everything_failed_is_a_failure_whatever_is_required() -> None:
    assert conclude([FAILED], []).status is Status.FAILURE


def test_a_name_that_does_not_exist_is_a_failure_that_says_so() -> None:
    nothing = UnitReport("dns", 1, UnitStatus.DONE, {Outcome.SILENT: 1}, silent=("no.example.test: does not exist",))
    verdict = conclude([nothing], ["nmap"])
    assert verdict.status is Status.FAILURE
    assert verdict.error == "nmap had nothing to look at: no.example.test: does not exist"


def test_a_host_that_is_down_is_a_success_with_a_warning() -> None:
    silent = UnitReport("nmap", 1, UnitStatus.DONE, {Outcome.SILENT: 1}, silent=("192.0.2.1: no port answered",))
    assert conclude([silent], ["nmap"]).warnings == ("nmap: 192.0.2.1: no port answered",)


def test_no_unit_at_all_is_a_failure() -> None:
    assert conclude([], []).status is Status.FAILURE


def test_what_was_left_out_or_cut_short_is_said() -> None:
    verdict = conclude([DONE], [], cut_short="out of time", left_out=[f"192.0.2.{n}: not touched" for n in range(7)])
    assert verdict.warnings[0] == "192.0.2.0: not touched"
    assert verdict.warnings[-2:] == ("and 2 more records were left out", "out of time")


def test_a_lesser_way_is_said_once() -> None:
    lesser = UnitReport("nmap", 1, UnitStatus.DONE, degraded="connect scan instead of SYN scan: no raw sockets")
    assert conclude([lesser, lesser], []).warnings == ("nmap: connect scan instead of SYN scan: no raw sockets",)


def test_a_unit_that_never_ended_is_no_success() -> None:
    left = UnitReport("nmap", 2, UnitStatus.RUNNING)
    assert conclude([left], ["nmap"]).status is Status.FAILURE
    verdict = conclude([DONE, left], ["nmap"])
    assert (verdict.status, verdict.warnings) == (Status.SUCCESS, ("nmap: a unit did not end",))


def test_an_empty_network_is_looked_at_by_what_looks_ahead() -> None:
    empty = UnitReport("nmap_discovery", 1, UnitStatus.DONE, {Outcome.SILENT: 1}, silent=("10.0.0.0/26: 0 answered",))
    assert conclude([empty], ["nmap"]).status is Status.FAILURE
    verdict = conclude([empty], ["nmap"], counts_for={"nmap_discovery": "nmap"})
    assert (verdict.status, verdict.warnings) == (Status.SUCCESS, ("nmap_discovery: 10.0.0.0/26: 0 answered",))
    lost = UnitReport("nmap_discovery", 1, UnitStatus.FAILED, error="nmap_discovery: killed")
    names = UnitReport("dns", 1, UnitStatus.DONE, {Outcome.ANSWERED: 1})
    assert conclude([names, lost], ["nmap"], counts_for={"nmap_discovery": "nmap"}).error == "nmap_discovery: killed"


def test_that_nothing_came_back_is_no_warning_but_of_what_the_scan_is_for() -> None:
    silent = UnitReport("ct", 1, UnitStatus.DONE, {Outcome.SILENT: 1}, silent=("example.test: no certificate",))
    assert conclude([DONE, silent], ["nmap"]).warnings == ()
    assert conclude([DONE, silent], ["ct"]).warnings == ("ct: example.test: no certificate",)
