"""Flows, workers and tools that are killed, stopped and stalled in mid-scan: it ends whole, and nothing is left."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from uuid import UUID

import pytest

from tests.faults.clock import CLOCK
from tests.faults.ground import Ground, Told, until
from tests.faults.stage import command_of, name_of, parent_of, tree_below
from tests.processes import marked, wait_until_gone

Kill = Callable[[Ground, Told], None]


def _flow(ground: Ground, scan: Told) -> None:
    ground.kill_flow(scan)


def _flow_and_worker(ground: Ground, scan: Told) -> None:
    ground.kill(ground.part("worker"), ground.flow(scan))


def _nursery(ground: Ground, scan: Told) -> None:
    """The process that flows are forked from: its flows go with it."""
    ground.kill(parent_of(ground.flow(scan)))


def _stop_worker(ground: Ground, scan: Told) -> None:
    ground.kill(ground.part("worker"), number=signal.SIGTERM)


@pytest.mark.fault("{}")
@pytest.mark.parametrize(
    ("kill", "lost", "seconds"),
    [
        pytest.param(_flow, 1, 40, id="kill -9 of the flow"),
        pytest.param(_nursery, 1, 40, id="kill -9 of the nursery"),
        pytest.param(_flow_and_worker, 1, 90, id="kill -9 of flow and worker"),
        pytest.param(_stop_worker, 0, 60, id="SIGTERM of the worker"),
    ],
)
def test_a_scan_whose_flow_ends_is_taken_up_again_and_ends_whole(
    ground: Ground, kill: Kill, lost: int, seconds: float
) -> None:
    ground.undisturbed()
    plot = ground.plot("hold", "ports")  # so that something is left to do, whatever ends within a grace
    scan = ground.ask(plot)
    ground.tool(scan)
    kill(ground, scan)
    ground.behave(plot)
    assert wait_until_gone(UUID(scan["id"]), 15) == set()
    assert ground.reach(scan, "RETRY", seconds)["waiting"]
    ended = ground.is_whole(scan, plot)
    assert ground.attempts(ended) == (2, lost)


@pytest.mark.fault("kill -9 of the worker")
@pytest.mark.short
def test_a_flow_outlives_its_worker_and_ends_its_scan(ground: Ground) -> None:
    ground.undisturbed()
    plot = ground.plot("hold")
    scan = ground.ask(plot)
    ground.tool(scan)
    old = ground.part("worker")
    ground.kill(old)
    ground.behave(plot)
    assert ground.attempts(ground.is_whole(scan, plot)) == (1, 0)
    ground.await_part("worker", old)
    plot = ground.plot()
    ground.is_whole(ground.ask(plot), plot)  # the new worker works


@pytest.mark.fault("kill -9 of a worker that has taken a run and not started it")
def test_a_scan_that_a_worker_took_and_did_not_start_is_taken_up_by_the_next(ground: Ground) -> None:
    ground.undisturbed()
    plot = ground.plot()
    worker = ground.part("worker")
    (nursery,) = (pid for pid in tree_below(worker) if parent_of(pid) == worker and name_of(pid) != "pulsar-run")
    ground.kill(nursery, number=signal.SIGSTOP)
    scan = ground.ask(plot)
    until(lambda: ground.prefect.get(f"/flow_runs/{scan['task_id']}").json()["state"]["type"] == "PENDING", 30)
    time.sleep(1)  # its request for a process is on the way
    ground.kill(worker, nursery)
    assert ground.attempts(ground.is_whole(scan, plot)) == (1, 0)


@pytest.mark.fault("kill -9 of the flow, for the third time")
def test_a_scan_that_loses_its_flow_for_the_third_time_is_given_up(ground: Ground) -> None:
    plot = ground.plot("hold")
    scan = ground.ask(plot)
    for lost in range(3):
        ground.kill_flow(scan)
        wait_until_gone(UUID(scan["id"]), 10)
        if lost < 2:
            ground.reach(scan, "RETRY", 40)
    ended = ground.finish(scan, 40)
    assert ended["status"] == "FAILURE"
    assert "had been resumed 2 times before" in ended["error"]
    assert ended["counts"]["hosts"] == 3, "what was found stays"


@contextmanager
def _standing_still(ground: Ground) -> Iterator[None]:
    """The worker, its nursery, their flows and tools."""
    # From the top down: who is stopped starts nothing any more.
    for pid in tree_below(ground.part("worker")):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        ground.go_on()
        CLOCK.strike()


@pytest.mark.fault("worker, flow and tool stand still for 30 s")
def test_a_worker_that_stands_still_for_half_a_minute_goes_on(ground: Ground) -> None:
    ground.undisturbed()
    plot = ground.plot("hold")
    scan = ground.ask(plot)
    ground.tool(scan)
    with _standing_still(ground):
        ground.behave(plot)
        time.sleep(30)  # half a lease
        assert ground.read(scan)["status"] == "STARTED"
    assert ground.attempts(ground.is_whole(scan, plot)) == (1, 0)


@pytest.mark.fault("flow stands still for longer than its lease")
def test_a_flow_that_comes_back_after_its_lease_is_fenced(ground: Ground) -> None:
    ground.undisturbed()
    plot = ground.plot("hold")
    scan = ground.ask(plot)
    ground.tool(scan)
    late = ground.flow(scan)
    ground.kill(late, number=signal.SIGSTOP)
    try:
        ground.reach(scan, "RETRY", 80)
        assert wait_until_gone(UUID(scan["id"]), 5) == set(), "its tool does not go on beside the next attempt's"
        ground.behave(plot)
        ended = ground.is_whole(scan, plot)
    finally:
        ground.go_on()
    until(lambda: not command_of(late), 30)
    assert ground.attempts(ended) == (2, 1)
    assert ground.read(scan) == ended, "it changed nothing any more"
    assert ground.result(scan, plot) == ground.undisturbed()


@pytest.mark.fault("cancel while the flow stands still")
def test_a_scan_of_a_flow_that_stands_still_is_cancelled_all_the_same(ground: Ground) -> None:
    plot = ground.plot("hold")
    scan = ground.ask(plot)
    ground.tool(scan)
    ground.kill(ground.flow(scan), number=signal.SIGSTOP)
    assert ground.act(scan, "cancel").status_code == 202
    assert ground.reach(scan, "REVOKED", 75)["cancelled_at"]
    assert wait_until_gone(UUID(scan["id"]), 10) == set()


@pytest.mark.fault("kill -9 of a tool")
def test_a_tool_that_is_killed_is_a_unit_that_failed_and_says_so(ground: Ground) -> None:
    plot = ground.plot("hold")
    scan = ground.ask(plot)
    ground.kill(ground.tool(scan))
    ended = ground.finish(scan)
    assert (ended["status"], ended["counts"]["services"]) == ("SUCCESS", 3), "the open ports were found before"
    assert any("nmap: ended by a signal" in warning for warning in ended["warnings"]), ended["warnings"]
    resumed = ground.act(scan, "resume")
    assert resumed.status_code == 201, resumed.text
    ground.behave(plot)
    again = ground.finish(resumed.json())
    assert (again["status"], again["warnings"]) == ("SUCCESS", [])
    assert ground.result(again, plot) == ground.undisturbed()


@pytest.mark.fault("cancel: {}")
@pytest.mark.parametrize("stage", ["begun", "discovery", "ports", "versions", "put back"])
def test_a_scan_is_cancelled_in_each_stage(ground: Ground, stage: str) -> None:
    plot = ground.plot("hold", at=stage if stage in ("discovery", "ports") else "versions")
    if stage == "begun":
        ground.arm("after-lease", "STOP")
    scan = ground.ask(plot)
    stopped = ground.fired("after-lease") if stage == "begun" else 0
    if not stopped:
        ground.tool(scan)
        until(lambda: any(one["running"] for one in ground.read(scan)["modules"]), 10)
    if stage == "put back":
        ground.kill_flow(scan)
        ground.reach(scan, "RETRY", 30)
    began = time.monotonic()
    assert ground.act(scan, "cancel").status_code == 202
    if stopped:
        ground.kill(stopped, number=signal.SIGCONT)
    ended = ground.reach(scan, "REVOKED", 15)
    assert time.monotonic() - began < 10
    assert marked(UUID(scan["id"])) == set()
    assert ended["cancelled_at"] <= ended["finished_at"]
    assert ended["counts"]["hosts"] == (0 if stage in ("begun", "discovery") else 3), "what was found stays"
    assert ground.act(scan, "cancel").status_code == 409
