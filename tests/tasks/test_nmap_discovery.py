"""nmap_discovery: what it asks of networks, and what it makes of the answer."""

from __future__ import annotations

import json
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from footprint.errors import InvalidTarget, OutputNotUnderstood
from footprint.policy import PRESETS
from footprint.records import Coverage, DomainName, Host, Network, Outcome, Record
from footprint.store.packing import unpack
from tasks.nmap_discovery import TOOL, command, configure, degrade, parse, progress
from tasks.tool import Ending, Output, Pace, Powers

FIXTURES = Path(__file__).parent.parent / "fixtures"
PACE = Pace(3, 3600, "top:100")


def _recorded(name: str, module: str = "nmap_discovery") -> str:
    return (FIXTURES / module / name / "stdout").read_text()


def _parse(text: str, batch: list[Record], **output: Any) -> list[Record | Coverage]:
    return list(parse(Output(text, **output), batch))


def _notes(found: list[Record | Coverage]) -> dict[str, tuple[Outcome, str]]:
    return {entry.subject: (entry.outcome, entry.note) for entry in found if isinstance(entry, Coverage)}


def _value(argv: tuple[str, ...], flag: str) -> str:
    return argv[argv.index(flag) + 1]


def test_no_port_is_scanned() -> None:
    made = command([Network("192.0.2.0/26")], configure({}, PACE))
    assert "-sn" in made.argv
    assert not {"-Pn", "-sS", "-sT", "-p", "--top-ports", "-sV"} & set(made.argv)
    assert made.files == {"targets": "192.0.2.0/26\n"}


def test_ipv6_is_a_call_of_its_own() -> None:
    six, four = Network("2001:db8::/122"), Network("192.0.2.0/26")
    intake = TOOL.intake_of(six)
    assert intake
    assert intake.lane(six) != intake.lane(four)
    assert "-6" in command([six], configure({}, PACE)).argv
    assert "-6" not in command([four], configure({}, PACE)).argv


def test_the_rate_is_the_policys_but_on_loopback() -> None:
    options = configure({"max_rate": 50}, PACE)
    assert _value(command([Network("192.0.2.0/26")], options).argv, "--max-rate") == "50"
    assert not {"--max-rate", "--min-rate"} & set(command([Network("127.0.64.0/29")], options).argv)


def test_a_higher_intensity_is_never_slower() -> None:
    paced = [configure({}, Pace(intensity, 3600, "all")) for intensity in range(6)]
    assert all(
        slower.max_rate < faster.max_rate and slower.timing <= faster.timing for slower, faster in pairwise(paced)
    )


@pytest.mark.parametrize("said", [{"max_rate": 0}, {"timing": 6}, {"technique": "arp"}, {"ports": "22"}])
def test_what_is_out_of_bounds_is_refused(said: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        configure(said, PACE)


@pytest.mark.parametrize("record", [DomainName("example.test"), Host("192.0.2.1"), Network("x/8"), Network("-iR 9")])
def test_what_is_no_network_is_refused(record: Record) -> None:
    with pytest.raises(InvalidTarget):
        command([record], configure({}, PACE))


def test_every_preset_that_sweeps_ports_looks_for_hosts_before() -> None:
    for policy in PRESETS.values():
        modules = list(policy.modules)
        assert ("nmap" in modules) == ("nmap_discovery" in modules)
        assert "nmap" not in modules or modules.index("nmap_discovery") < modules.index("nmap")


def test_without_raw_sockets_it_connects_and_says_so() -> None:
    options = configure({}, PACE)
    lesser, degradation = degrade(options, Powers(raw_sockets=False, reason="not permitted"))
    assert "--unprivileged" in command([Network("192.0.2.0/26")], lesser).argv
    assert str(degradation) == "connecting to ports 80 and 443 instead of ICMP and ARP: not permitted"
    assert degrade(options, Powers(raw_sockets=True)) == (options, None)


def test_addresses_outside_of_the_network_are_dropped() -> None:
    found = _parse(_recorded("good"), [Network("127.0.64.84/30")])
    assert [record for record in found if isinstance(record, Host)] == [Host(f"127.0.64.8{n}") for n in range(4, 8)]
    assert _notes(found) == {"127.0.64.84/30": (Outcome.ANSWERED, "4 of 4 addresses answered")}


def test_a_network_in_which_nobody_answers_is_silent() -> None:
    text = re.sub(r"<host>.*</host>\n", "", _recorded("good"), flags=re.DOTALL)
    found = _parse(text, [Network("127.0.64.80/29")])
    assert _notes(found) == {"127.0.64.80/29": (Outcome.SILENT, "0 of 8 addresses answered")}


def test_a_network_that_nmap_did_not_take_was_not_looked_at() -> None:
    found = _parse(_recorded("no_targets", "nmap"), [Network("192.0.2.0/30")])
    assert _notes(found)["192.0.2.0/30"][0] is Outcome.NOT_LOOKED_AT


def test_a_network_that_was_cut_off_was_not_looked_at_whole() -> None:
    text = _recorded("good")
    found = _parse(text[: text.index("127.0.64.83")], [Network("127.0.64.80/29")], ending=Ending.TIMED_OUT)
    outcome, note = _notes(found)["127.0.64.80/29"]
    assert outcome is Outcome.NOT_LOOKED_AT
    assert "3 of 8 addresses answered" in note


@pytest.mark.parametrize("name", ["good", "routed", "routed_v6"])
def test_wherever_a_report_breaks_off_nothing_is_made_up(name: str) -> None:
    text = _recorded(name)
    packed = json.loads((FIXTURES / "nmap_discovery" / name / "case.json").read_text())["batch"]
    batch = [unpack(each) for each in packed]
    whole = {record for record in _parse(text, batch) if not isinstance(record, Coverage)}
    assert whole
    readable = 0
    for end in range(0, len(text.rstrip()), max(1, len(text) // 200)):
        try:
            part = _parse(text[:end], batch, ending=Ending.KILLED)
        except OutputNotUnderstood:
            assert end < text.index("<verbose")
            continue
        readable += 1
        assert {record for record in part if not isinstance(record, Coverage)} <= whole
        assert {outcome for outcome, _ in _notes(part).values()} == {Outcome.NOT_LOOKED_AT}
    assert readable > 50


def test_the_last_word_of_its_progress_counts() -> None:
    told = [value for line in _recorded("cut_off").splitlines() if (value := progress(line)) is not None]
    assert told
    assert told == sorted(told)
    assert progress(_recorded("cut_off")) == told[-1] <= 100
    assert progress('<taskprogress task="ARP Ping Scan" time="1" percent="999.9"/>') == 100
    assert progress('<taskprogress task="SYN Stealth Scan" time="1" percent="50"/>') is None
