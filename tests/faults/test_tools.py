"""Tools that misbehave, and tools that are not there: what was found before counts, and the scan says what is amiss."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from uuid import UUID

import pytest
from sqlalchemy import select

from footprint.store.tables import ModuleRun
from tests.faults.ground import Ground, Plot, Told
from tests.processes import wait_until_gone

BROKEN = "#!/bin/sh\nexit 1\n"

MISBEHAVED = {
    "hang": ("tool_timed_out",),
    "stubborn": ("tool_timed_out", "tool_killed"),  # as `timeout` counts a program that it had to kill
    "flood": ("output_too_large",),
    "truncate": ("output_truncated",),
    "bomb": ("output_not_understood",),
    "die": ("tool_killed",),
    "daemonise": (None,),
    "garble": (None,),
}
"""What the unit's error is called when a tool does this."""


def _units(ground: Ground, scan: Told) -> list[ModuleRun]:
    with ground.store.read() as session:
        return list(
            session.scalars(select(ModuleRun).where(ModuleRun.scan_id == UUID(scan["id"])).order_by(ModuleRun.id))
        )


@pytest.mark.fault("tool hangs, ignores SIGTERM, floods, is cut off, bombs, dies, daemonises, garbles")
@pytest.mark.short
def test_what_a_tool_does_is_its_units_outcome_and_nothing_else_suffers(ground: Ground) -> None:
    plots = {act: ground.plot(act, host=2) for act in MISBEHAVED}
    scans = {act: ground.ask(plot, unit_timeout=10) for act, plot in plots.items()}
    for act, scan in scans.items():
        ended = ground.finish(scan, 60)
        *before, last = _units(ground, scan)
        assert ended["status"] == "SUCCESS", (act, ended)
        assert ended["counts"]["services"] == 3, "the ports had been found before"
        assert {unit.status for unit in before} == {"done"}
        assert last.error_code in MISBEHAVED[act], (act, last.error_code, last.error)
        assert bool(last.error_code) is bool(ended["warnings"]), (act, ended["warnings"])
        assert (last.status == "done") is (last.error_code is None), "half an answer is labelled"
        named = ground.products(scan)
        # The first host had been told of before the second one's turn came; of what cannot be read nothing is taken.
        is_read = act != "bomb"
        assert (named[plots[act].address(1), 22] == "Stand-in") is is_read, (act, named)
        is_named = {"daemonise": "Stand-in", "garble": "Stand\N{REPLACEMENT CHARACTER}-in"}
        assert named[plots[act].address(2), 22] == is_named.get(act), (act, named)


@contextmanager
def _without(ground: Ground, *programs: str) -> Iterator[None]:
    with ExitStack() as stack:
        for program in programs:
            stack.enter_context(ground.stage.with_file(program, BROKEN))
        yield


def _killed_with(ground: Ground, plot: Plot) -> tuple[Told, str]:
    """Kill the flow of a scan of this plot; the scan, and what held its tool."""
    scan = ground.ask(plot)
    ground.kill_flow(scan)
    left = wait_until_gone(UUID(scan["id"]), 10)
    held = [unit.containment for unit in _units(ground, scan) if unit.containment]
    ground.behave(plot)
    assert left == set()
    return scan, held[0]


@pytest.mark.fault("kill -9 of the flow, {}")
@pytest.mark.parametrize(
    ("lacking", "held"),
    [
        pytest.param(("bwrap",), "unshare, not fenced", id="without bubblewrap"),
        pytest.param(("bwrap", "unshare"), "parent-death signal, not fenced", id="without bubblewrap and unshare"),
    ],
)
def test_without_bubblewrap_tools_die_with_their_flow_all_the_same(
    ground: Ground, lacking: tuple[str, ...], held: str
) -> None:
    ground.undisturbed()
    plot = ground.plot("hold")
    with _without(ground, *lacking):
        scan, holder = _killed_with(ground, plot)
        assert holder == held
        ground.is_whole(scan, plot)


@pytest.mark.fault("nothing there that could hold a tool")
def test_where_nothing_can_hold_a_tool_none_is_started_and_the_scan_says_what_to_install(ground: Ground) -> None:
    with _without(ground, "bwrap", "unshare", "setpriv"):
        ended = ground.finish(ground.ask(ground.plot()))
    assert (ended["status"], ended["counts"]["hosts"]) == ("FAILURE", 0)
    assert "no program can be started safely on this worker" in ended["error"], ended
    assert "apt-get install bubblewrap" in str(ended), ended


@pytest.mark.fault("no nmap")
def test_without_nmap_the_scan_fails_and_says_what_to_install(ground: Ground) -> None:
    with ground.stage.with_file("version", "no scanner at all\n", 0o644):
        ended = ground.finish(ground.ask(ground.plot()))
    assert ended["status"] == "FAILURE"
    assert "nmap" in ended["error"]
    assert "apt-get install nmap" in str(ended), ended


@pytest.mark.fault("no raw sockets")
def test_without_raw_sockets_it_connects_and_says_so(ground: Ground) -> None:
    plot = ground.plot()
    with ground.stage.with_file("powerless", "", 0o644):
        scan = ground.ask(plot)
        ended = ground.finish(scan)
    assert (ended["status"], ended["counts"]["services"]) == ("SUCCESS", 3)
    assert any("connect scan" in warning for warning in ended["warnings"]), ended["warnings"]
    assert all("-sT" in unit.command for unit in _units(ground, scan) if unit.module == "nmap")
