"""zmap: what it is asked, and what is made of what it and masscan leave behind."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from footprint.errors import InvalidTarget, NotPrivileged, OutputNotUnderstood, ToolCrashed, ToolMissing
from footprint.policy import PRESETS
from footprint.records import Coverage, DomainName, Host, Network, Outcome, Record, Service
from footprint.settings import Settings
from tasks import zmap
from tasks.tool import Ending, Output, Pace, Powers
from tasks.zmap import FREQUENT, MAX_PORTS, TOOL, binary_with, check, command, configure, degrade, plan_of, progress
from tasks.zmap_answers import ECHO_ADDRESSES, ECHO_KEPT, TARPIT_KEPT, TARPIT_PORTS, parse, ports_in

FIXTURES = Path(__file__).parent.parent / "fixtures" / "zmap"
PACE = Pace(3, 3600, "22,80,443")
NET = Network("192.0.2.0/26")


def _kept(ports: str, found: dict[int, str], *, swept: str | None = None, left_out: int = 0) -> dict[str, str]:
    """What zmap leaves of a sweep of `NET` in which each of these last numbers has each of these ports open."""
    line = '{{ "saddr": "192.0.2.{}", "sport": {}, "success": 1, "classification": "synack", "repeat": 0 }}\n'
    texts = {
        f"found-{port}": "".join(line.format(last, port) for last in lasts.split()) for port, lasts in found.items()
    }
    through = "".join(f"{port} {NET.cidr}\n" for port in ports.split(",")) if swept is None else swept
    return {"plan": json.dumps({"engine": "zmap", "ports": ports, "left_out": left_out}), "swept": through, **texts}


def _parse(kept: dict[str, str], **output: Any) -> list[Record | Coverage]:
    return list(parse(Output(output.pop("stdout", ""), files=kept, **output), [NET]))


def _services(found: list[Record | Coverage]) -> set[tuple[str, int]]:
    return {(entry.address, entry.port) for entry in found if isinstance(entry, Service)}


def _said(found: list[Record | Coverage]) -> tuple[Outcome, str]:
    [entry] = [entry for entry in found if isinstance(entry, Coverage)]
    return entry.outcome, entry.note


def test_a_higher_intensity_is_never_slower() -> None:
    paced = [configure({}, Pace(intensity, 3600, "all")) for intensity in range(6)]
    assert all(slower.rate < faster.rate and slower.probes >= faster.probes for slower, faster in pairwise(paced))


@pytest.mark.parametrize("name", PRESETS)
def test_the_shipped_policies_fit(name: str) -> None:
    policy = PRESETS[name]
    plan = plan_of(configure({}, Pace(policy.intensity, policy.unit_timeout, policy.ports)))
    assert 1 <= len(ports_in(plan.ports)) <= MAX_PORTS


@pytest.mark.parametrize(
    "said",
    [
        {"rate": 0},
        {"rate": 10**6},
        {"probes": 0},
        {"cooldown": 0},
        {"engine": "nmap"},
        {"ports": "0"},
        {"ports": "9-1"},
        {"ports": "80;id"},
        {"ports": "80\n"},
        {"ports": ""},
        {"interface": "eth0"},
    ],
)
def test_what_is_out_of_bounds_is_refused(said: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        configure(said, PACE)


@pytest.mark.parametrize(
    ("engine", "ports", "swept", "left_out"),
    [
        ("zmap", "22,8000-8002,22", "22,8000,8001,8002", 0),
        ("zmap", "top:3", "80,23,443", 0),
        ("zmap", "top:1000", ",".join(map(str, FREQUENT)), 1000 - len(FREQUENT)),
        ("zmap", "all", ",".join(map(str, FREQUENT)), 65535 - len(FREQUENT)),
        ("zmap", "1-100", ",".join(map(str, range(1, MAX_PORTS + 1))), 100 - MAX_PORTS),
        ("masscan", "all", "1-65535", 0),
        ("masscan", "1-100,8080", "1-100,8080", 0),
        ("masscan", "top:100", ",".join(map(str, FREQUENT)), 100 - len(FREQUENT)),
    ],
)
def test_what_cannot_be_swept_is_counted(engine: str, ports: str, swept: str, left_out: int) -> None:
    plan = plan_of(configure({"engine": engine, "ports": ports}, PACE))
    assert (plan.engine, plan.ports, plan.left_out) == (engine, swept, left_out)


def test_networks_travel_in_a_file_with_their_ends() -> None:
    made = command([NET, Network("192.0.2.128/25")], configure({"rate": 2}, PACE))
    assert made.argv == ("sh", "sweep", "zmap", "2", "3", "2", "2", "22,80,443")
    assert made.files["targets"] == ("192.0.2.0/26 192.0.2.0 192.0.2.63\n192.0.2.128/25 192.0.2.128 192.0.2.255\n")


@pytest.mark.parametrize("record", [DomainName("example.test"), Host("192.0.2.1"), Network("x/8"), Network("::/120")])
def test_what_is_no_ipv4_network_is_refused(record: Record) -> None:
    with pytest.raises(InvalidTarget):
        command([record], configure({}, PACE))


def test_ipv6_and_loopback_are_not_taken() -> None:
    assert TOOL.intake_of(NET)
    assert not TOOL.intake_of(Network("127.0.0.0/26"))
    assert not TOOL.intake_of(Network("2001:db8::/122"))


def test_a_slash_twenty_makes_one_unit() -> None:
    intake = TOOL.intake_of(NET)
    assert intake
    assert intake.batch * 64 == 4096


def test_without_raw_sockets_there_is_no_lesser_way() -> None:
    options = configure({}, PACE)
    assert degrade(options, Powers(raw_sockets=True)) == (options, None)
    with pytest.raises(NotPrivileged) as error:
        degrade(options, Powers(raw_sockets=False, reason="not permitted"))
    assert "not permitted" in error.value.detail


def test_the_engine_chooses_the_program() -> None:
    assert binary_with(configure({}, PACE)).name == "zmap"
    assert binary_with(configure({"engine": "masscan"}, PACE)).name == "masscan"


def test_what_tells_the_way_may_be_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    check(Settings(), None)
    monkeypatch.setattr(zmap, "search_path", lambda: "/nowhere")
    with pytest.raises(ToolMissing):
        check(Settings(), None)


@pytest.mark.parametrize(
    ("text", "percent"),
    [
        ("", None),
        ("2 of 8\n", 25),
        ("2 of 8\n8 of 8\n", 100),
        ("9 of 8\n", 100),
        ("1 of 0\n", 100),
        ("rate: 0.1-kpps,  1.56% done, 3 found=0 \rrate: 0.1-kpps, 48.25% done, waiting", 48.25),
        ("half of 8\n", None),
    ],
)
def test_progress(text: str, percent: float | None) -> None:
    assert progress(text) == percent


def test_only_what_was_asked_about_is_taken() -> None:
    kept = _kept("22,80", {22: "1", 80: "2 200", 443: "3"})
    assert _services(_parse(kept)) == {("192.0.2.1", 22), ("192.0.2.2", 80)}


def test_ports_that_were_left_out_are_said() -> None:
    assert _said(_parse(_kept("22,80", {22: "1"}, left_out=98)))[1] == "1 of 64 addresses answered on 2 of 100 ports"


def test_a_port_that_was_not_finished_leaves_the_network_half_seen() -> None:
    found = _parse(_kept("22,80", {22: "1", 80: "1"}, swept=f"22 {NET.cidr}\n80 192.0."), ending=Ending.TIMED_OUT)
    assert _services(found) == {("192.0.2.1", 22), ("192.0.2.1", 80)}
    assert _said(found) == (
        Outcome.NOT_LOOKED_AT,
        "zmap ended before it was through: 1 of 64 addresses answered on 1 of 2 ports",
    )


def test_a_line_that_breaks_off_leaves_those_before_it() -> None:
    kept = _kept("22", {22: "1 2"})
    for cut in range(1, len(kept["found-22"]) // 2):
        found = _parse({**kept, "found-22": kept["found-22"][:-cut]}, ending=Ending.KILLED)
        assert {("192.0.2.1", 22)} <= _services(found) <= {("192.0.2.1", 22), ("192.0.2.2", 22)}
        assert _said(found)[0] is (Outcome.ANSWERED if ("192.0.2.2", 22) in _services(found) else Outcome.NOT_LOOKED_AT)


@pytest.mark.parametrize(
    "line",
    [
        "{nonsense}",
        '{"saddr": "192.0.2.1"}',
        '{"saddr": "x", "sport": 22}',
        '{"saddr": "192.0.2.1", "sport": "22"}',
        '{"ip": "192.0.2.1", "ports": []}',
        '{"saddr": "2001:db8::1", "sport": 22}',
        '{"saddr": null, "sport": 22}',
    ],
)
def test_what_neither_program_writes_is_an_error(line: str) -> None:
    kept = _kept("22", {22: "1"})
    with pytest.raises(OutputNotUnderstood):
        _parse({**kept, "found-22": f"{line}\n{kept['found-22']}"})


@pytest.mark.parametrize("kept", [{}, {"plan": "{"}, {"plan": "[]"}, {"plan": '{"engine": "zmap"}'}])
def test_notes_that_cannot_be_read_are_an_error(kept: dict[str, str]) -> None:
    with pytest.raises(OutputNotUnderstood):
        _parse(kept)


@pytest.mark.parametrize(
    ("output", "said"),
    [
        ({"stderr": "Nov 24 20:55:03.105 [FATAL] recv: no such device"}, "it gave up: recv: no such device"),
        ({"stdout": "[-] FAIL: could not determine default interface\n"}, "FAIL"),
        ({"stderr": "sweep: 52: zmap: not found"}, "it gave up: 52: zmap: not found"),
        ({}, "it does not say why"),
    ],
)
def test_giving_up_before_anything_was_swept_is_a_crash_that_says_why(output: dict[str, Any], said: str) -> None:
    with pytest.raises(ToolCrashed) as error:
        _parse(_kept("22", {}, swept=""), **output)
    assert said.replace("FAIL", "could not determine default interface") in error.value.detail


def test_a_network_that_answers_for_every_address_is_a_sample() -> None:
    everyone, half = " ".join(map(str, range(64))), " ".join(map(str, range(20)))
    echoes = _parse(_kept("22,80,443,8080", dict.fromkeys((22, 80, 443, 8080), everyone)))
    assert len([entry for entry in echoes if isinstance(entry, Host)]) == ECHO_KEPT
    assert _said(echoes)[0] is Outcome.SAMPLED
    assert "64 addresses answer on every port" in _said(echoes)[1]
    some = _parse(_kept("22,80,443,8080", dict.fromkeys((22, 80, 443, 8080), half)))
    assert len([entry for entry in some if isinstance(entry, Host)]) == 20 > ECHO_ADDRESSES
    assert _said(some)[0] is Outcome.ANSWERED


def test_a_network_of_web_servers_is_no_echo() -> None:
    everyone = " ".join(map(str, range(64)))
    found = _parse(_kept("22,80,443,8080", {80: everyone, 443: everyone}))
    assert len([entry for entry in found if isinstance(entry, Host)]) == 64
    assert _said(found)[0] is Outcome.ANSWERED


def test_an_address_that_is_open_on_any_port_is_a_sample() -> None:
    kept = {"plan": json.dumps({"engine": "masscan", "ports": "1-65535", "left_out": 0}), "swept": f"0 {NET.cidr}\n"}
    line = '{{   "ip": "192.0.2.9",   "ports": [ {{"port": {}, "proto": "tcp", "status": "open"}} ] }}\n,\n'
    found = _parse({**kept, "found": "[\n" + "".join(line.format(port) for port in range(1, TARPIT_PORTS + 2)) + "]\n"})
    assert len(_services(found)) == TARPIT_KEPT
    assert _said(found)[0] is Outcome.SAMPLED


def test_answers_that_were_lost_are_said() -> None:
    meta = '{ "total_sent": 64, "packet_streams": 2, "success_total": 3, "failure_total": 4, "pcap_drop": 5 }\n'
    found = _parse({**_kept("22", {22: "1"}), "sent-22": meta})
    assert _said(found)[1].endswith(
        "; 128 packets sent and 7 received by the unit, 5 of them lost before they were read"
    )


def test_the_recorded_programs_name_no_machine() -> None:
    for case in FIXTURES.glob("*/case.json"):
        assert '_hostname\\": \\"vm' not in case.read_text()
