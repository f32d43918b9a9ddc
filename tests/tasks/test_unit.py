"""One unit from its records to its settlement: whatever goes wrong is said in it, and nothing is raised."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from threading import Event
from uuid import uuid4

import pytest

from footprint.errors import FeedMissing
from footprint.policy import PRESETS
from footprint.records import Coverage, DomainName, Finding, Host, Network, Outcome, Record, Service
from footprint.scope import Scope
from footprint.settings import Settings
from footprint.store.units import Settlement, Unit
from footprint.verdict import UnitStatus
from tasks import catalogue, inspection, unit
from tasks.catalogue import tool_named
from tasks.inspection import powers, version_of
from tasks.run_scan import _tell
from tasks.tool import Asking, Batch, Binary, Command, Degradation, Output, Powers, Risk
from tasks.unit import Circumstances, carry_out

HERE = Host("127.0.0.1")
LOOPBACK = Scope.for_target(Network("127.0.0.0/8"), allow=("127.0.0.0/8",), max_addresses=1 << 24)  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def _fresh_inspection() -> Iterator[None]:
    for cached in (version_of, powers):
        cached.cache_clear()
    yield
    for cached in (version_of, powers):
        cached.cache_clear()


@pytest.fixture
def under(tmp_path: Path) -> Circumstances:
    return Circumstances(
        uuid4(), PRESETS["network_sweep"], LOOPBACK, Settings(), None, tmp_path, Event(), lambda percent: None
    )


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Put a changed module in the place of nmap's."""
    real = tool_named("nmap")

    def put(**changes: object) -> None:
        monkeypatch.setattr(unit, "tool_named", lambda name: replace(real, **changes))

    return put


def _outcomes(settled: Settlement) -> dict[str, Outcome]:
    return {entry.subject: entry.outcome for entry in settled.coverage}


def _parse(output: Output, batch: Batch) -> Iterator[Record | Coverage]:
    for line in output.stdout.split():
        yield Service("127.0.0.1", int(line))
    if output.is_complete:
        yield Coverage("127.0.0.1", Outcome.ANSWERED)


def _script(text: str) -> Callable[[Batch, object], Command]:
    return lambda batch, options: Command(("sh", "script"), {"script": text})


def test_a_tool_that_is_missing_is_named_with_its_remedy(
    under: Circumstances, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(inspection, "search_path", lambda: str(tmp_path))
    settled = carry_out(Unit("nmap", 1, 0, (HERE,)), under)
    assert (settled.status, settled.error_code) == (UnitStatus.SKIPPED, "tool_missing")
    assert settled.error == "nmap: not installed on this worker"
    assert settled.hint == "apt-get install nmap"
    assert _outcomes(settled) == {"127.0.0.1": Outcome.NOT_LOOKED_AT}


@pytest.mark.parametrize(
    ("said", "code"), [("Nmap version 6.40", "tool_too_old"), ("some other program, 9.99", "tool_missing")]
)
def test_a_program_is_known_by_what_it_says_and_not_by_its_name(
    under: Circumstances, stand_in: Callable[..., None], said: str, code: str
) -> None:
    real = tool_named("nmap").binary
    assert real is not None
    stand_in(binary=Binary("echo", ("echo", said), real.version_pattern, real.minimum, real.install))
    settled = carry_out(Unit("nmap", 1, 0, (HERE,)), under)
    assert (settled.status, settled.error_code) == (UnitStatus.SKIPPED, code)


def test_what_scope_forbids_meanwhile_is_not_touched(under: Circumstances) -> None:
    settled = carry_out(Unit("nmap", 1, 0, (Host("10.1.2.3"), Host("192.0.2.1"))), under)
    assert settled.status is UnitStatus.SKIPPED
    assert set(_outcomes(settled).values()) == {Outcome.REFUSED}
    assert settled.command == ""


def test_exclusions_travel_in_a_file_of_the_tools_own(under: Circumstances, stand_in: Callable[..., None]) -> None:
    shown = "cat exclude; echo 22"
    seen: list[Output] = []

    def parse(output: Output, batch: Batch) -> Iterator[Record | Coverage]:
        seen.append(output)
        return iter((Coverage("127.0.0.0/30", Outcome.SILENT),))

    stand_in(command=_script(shown), parse=parse)
    scope = replace(LOOPBACK, exclude=("127.0.0.2", "127.0.1.0/24", "2001:db8::/64", "never.example"))
    settled = carry_out(Unit("nmap", 1, 0, (Network("127.0.0.0/30"),)), replace(under, scope=scope))
    assert settled.command.endswith("--excludefile exclude")
    assert seen[0].stdout.split() == ["127.0.0.2/32", "127.0.1.0/24", "22"]


def test_without_raw_sockets_the_lesser_way_is_taken_and_said(
    under: Circumstances, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unit, "powers", lambda work_dir: Powers(raw_sockets=False, reason="not root"))
    settled = carry_out(Unit("nmap", 1, 0, (HERE,)), under)
    assert settled.status is UnitStatus.DONE
    assert settled.degraded == str(Degradation("SYN scan and OS guess", "connect scan and no OS guess", "not root"))
    assert "-sT" in settled.command.split()


@pytest.mark.parametrize(
    ("script", "status", "code", "ports"),
    [
        ("echo 22 80", UnitStatus.DONE, None, {22, 80}),
        ("echo 22; kill -9 $$", UnitStatus.PARTIAL, "tool_killed", {22}),
        ("kill -9 $$", UnitStatus.FAILED, "tool_killed", set()),
        ("echo 22; yes '' | head -c 17000000", UnitStatus.PARTIAL, "output_too_large", {22}),
        ("echo not a port", UnitStatus.FAILED, "tool_crashed", set()),
    ],
)
def test_how_a_tool_ended_decides_what_is_said_of_it(
    under: Circumstances,
    stand_in: Callable[..., None],
    script: str,
    status: UnitStatus,
    code: str | None,
    ports: set[int],
) -> None:
    stand_in(command=_script(script), parse=_parse)
    settled = carry_out(Unit("nmap", 1, 0, (HERE,)), under)
    assert (settled.status, settled.error_code) == (status, code)
    assert {record.port for record in settled.records if isinstance(record, Service)} == ports


def test_a_tool_that_hangs_ends_at_the_units_time_and_keeps_what_it_found(
    under: Circumstances, stand_in: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in(command=_script("echo 22; trap '' TERM; while :; do sleep 60; done"), parse=_parse)
    run = unit.run
    monkeypatch.setattr(unit, "run", lambda command, limits, watch: run(command, replace(limits, seconds=1), watch))
    settled = carry_out(Unit("nmap", 1, 0, (HERE,)), under)
    assert settled.status is UnitStatus.PARTIAL
    assert settled.error_code in ("tool_timed_out", "tool_killed")
    assert [record for record in settled.records if isinstance(record, Service)] == [Service("127.0.0.1", 22)]
    assert _outcomes(settled) == {"127.0.0.1": Outcome.NOT_LOOKED_AT}


def test_a_scan_that_is_stopped_stops_its_unit(under: Circumstances, stand_in: Callable[..., None]) -> None:
    stand_in(command=_script("sleep 60"), parse=_parse)
    under.stopped.set()
    began = time.monotonic()
    settled = carry_out(Unit("nmap", 1, 0, (HERE,)), under)
    assert time.monotonic() - began < 20
    assert (settled.status, settled.error_code) == (UnitStatus.FAILED, "scan_stopped")


def test_a_defect_of_ours_becomes_an_outcome_with_its_traceback(
    under: Circumstances, stand_in: Callable[..., None]
) -> None:
    def broken(batch: Batch, options: object) -> Command:
        raise ZeroDivisionError("oops")

    stand_in(command=broken)
    settled = carry_out(Unit("nmap", 1, 0, (HERE,)), under)
    assert settled.status is UnitStatus.FAILED
    assert settled.error == "nmap: a defect in Pulsar: ZeroDivisionError"
    assert "test_unit.py" in (settled.stderr or "")


def test_an_in_process_module_is_asked_with_its_deadline_and_keeps_what_came_before_an_error(
    under: Circumstances, monkeypatch: pytest.MonkeyPatch
) -> None:
    def probe(batch: Batch, options: object, asking: Asking) -> Iterator[Record | Coverage]:
        assert asking.deadline > time.monotonic()
        yield Service("127.0.0.1", 53)
        raise ValueError("half way")

    real = tool_named("nmap")
    inside = replace(real, probe=probe, command=None, parse=None, binary=None)
    monkeypatch.setattr(unit, "tool_named", lambda name: inside)
    settled = carry_out(Unit("nmap", 1, 0, (HERE,)), under)
    assert settled.records == (Service("127.0.0.1", 53),)
    assert settled.status is UnitStatus.FAILED


def test_every_preset_names_modules_that_exist_with_options_that_they_take() -> None:
    for policy in PRESETS.values():
        for name, options in policy.modules.items():
            tool = catalogue.tool_named(name)
            assert isinstance(tool.configure(options, unit.pace_of(policy)), tool.options)
        assert set(policy.required) <= set(policy.modules)


def test_this_machines_modules_are_told_as_they_are(tmp_path: Path) -> None:
    states = {state.name: state for state in inspection.inspect_modules(Settings(home=tmp_path))}
    assert states["dns"].state == "ready"
    assert states["nmap"].installed
    assert states["nmap"].version
    assert (states["nmap"].fence, states["dns"].fence, states["amass"].fence) == ("off", None, None)


def test_a_tool_that_is_given_names_says_that_nothing_fences_it(
    under: Circumstances, stand_in: Callable[..., None]
) -> None:
    root = DomainName("example.test")
    within = replace(under, settings=Settings(fence=True), scope=Scope.for_target(root))
    for risk, said in ((Risk.INTRUSIVE, "not fenced: it is given names"), (Risk.PASSIVE, "")):
        stand_in(command=_script("echo 22"), parse=_parse, degrade=None, risk=risk, risk_with=None)
        settled = carry_out(Unit("nmap", 1, 0, (root,)), within)
        assert settled.containment is not None
        assert settled.containment.endswith(", not fenced")
        assert (settled.degraded or "").startswith(said)
        assert bool(settled.degraded) is bool(said)


def test_a_fence_that_is_asked_for_and_not_to_be_had_refuses_the_unit(
    under: Circumstances, stand_in: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in(command=_script("echo 22"), parse=_parse, degrade=None)
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    settled = carry_out(Unit("nmap", 1, 0, (HERE,)), replace(under, settings=Settings(fence=True)))
    assert (settled.status, settled.error_code) == (UnitStatus.SKIPPED, "fence_missing")
    assert settled.error == "the fence needs root"
    assert settled.records == ()


@pytest.mark.parametrize(("code", "level"), [("strayed_out_of_scope", "ERROR"), ("tool_killed", "WARNING")])
def test_somebody_is_called_where_a_tool_strayed(caplog: pytest.LogCaptureFixture, code: str, level: str) -> None:
    settled = Settlement(UnitStatus.PARTIAL, containment="bubblewrap, fenced as id 61001", error_code=code, error="!")
    with caplog.at_level("INFO"):
        _tell(logging.getLogger("unit"), Unit("nmap", 1, 0, (HERE,)), settled, 3)
    told = [(record.levelname, record.getMessage()) for record in caplog.records]
    held = ("INFO", "nmap: held by bubblewrap, fenced as id 61001")
    assert told == [held, (level, "nmap batch 1 ended partial, 3 records: !")]


def test_a_version_newer_than_those_tried_is_run_and_said(under: Circumstances, stand_in: Callable[..., None]) -> None:
    real = tool_named("nmap").binary
    assert real is not None
    newer = replace(real, version_argv=("echo", "Nmap version 99.1"), below=(8,))
    stand_in(binary=newer, command=_script("echo 22"), parse=_parse, degrade=None)
    settled = carry_out(Unit("nmap", 1, 0, (HERE,)), under)
    assert settled.status is UnitStatus.DONE
    assert settled.degraded is not None
    assert "99.1 is newer than what was tried (before 8)" in settled.degraded


def test_what_came_from_outside_is_cleaned_and_bounded_before_it_is_kept(
    under: Circumstances, stand_in: Callable[..., None]
) -> None:
    def parse(output: Output, batch: Batch) -> Iterator[Record | Coverage]:
        yield Service("127.0.0.1", 22, product="Evil\x1b[2J\u202e" + "x" * 9000)
        yield Finding("nmap/x", "127.0.0.1", title="bad\nline", evidence="y" * 9000)
        yield Coverage("127.0.0.1", Outcome.ANSWERED)

    stand_in(command=_script("echo"), parse=parse)
    service, finding = carry_out(Unit("nmap", 1, 0, (HERE,)), under).records
    assert isinstance(service, Service)
    assert isinstance(finding, Finding)
    assert service.product is not None
    assert service.product.startswith("Evil[2Jxxx")
    assert len(service.product.encode()) <= 4096
    assert (finding.title, len(finding.evidence), finding.module) == ("bad line", 4096, "nmap")


def test_what_a_module_lacks_here_skips_its_unit_with_the_remedy(
    under: Circumstances, stand_in: Callable[..., None]
) -> None:
    def lacking(settings: Settings, store: object) -> None:
        raise FeedMissing("no feed", hint="fetch it")

    stand_in(check=lacking, command=_script("touch ran"), parse=_parse)
    settled = carry_out(Unit("nmap", 1, 0, (HERE,)), under)
    assert (settled.status, settled.error_code, settled.hint) == (UnitStatus.SKIPPED, "feed_missing", "fetch it")
    assert settled.command == ""
    assert _outcomes(settled) == {"127.0.0.1": Outcome.NOT_LOOKED_AT}
    states = {state.name: state for state in inspection.inspect_modules(under.settings)}
    assert (states["cve_match"].state, states["cve_match"].remedy[-20:]) == ("missing", "pulsar feeds update)")


def test_a_command_is_built_for_what_is_installed(under: Circumstances, stand_in: Callable[..., None]) -> None:
    def installed(options: object, settings: Settings, version: str) -> tuple[str, ...]:
        return (*settings.resolvers, version)

    def command(batch: Batch, options: tuple[str, ...]) -> Command:
        return Command(("echo", *options))

    real = tool_named("nmap").binary
    assert real is not None
    told = replace(real, version_argv=("echo", "Nmap version 7.95"))
    stand_in(binary=told, installed=installed, command=command, parse=lambda output, batch: iter(()), degrade=None)
    settled = carry_out(Unit("nmap", 1, 0, (HERE,)), replace(under, settings=Settings(resolvers=("127.0.0.9:5353",))))
    assert settled.command == "echo 127.0.0.9:5353 7.95"


def test_options_may_choose_another_program(under: Circumstances, stand_in: Callable[..., None]) -> None:
    real = tool_named("nmap").binary
    assert real is not None
    other = replace(real, name="no-such-program", install="apt-get install other")
    stand_in(binary_with=lambda options: other if options.ports == "all" else real, degrade=None)
    settled = carry_out(Unit("nmap", 1, 0, (HERE,)), replace(under, policy=PRESETS["full_discovery"]))
    assert (settled.status, settled.error) == (UnitStatus.SKIPPED, "no-such-program: not installed on this worker")
    assert settled.hint == "apt-get install other"
