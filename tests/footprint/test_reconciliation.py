"""What a row should say, given what Prefect says of its run."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from footprint import reconciliation
from footprint.reconciliation import LONGEST_GAP, Ended, RunState, Seen, Silence, reconcile
from footprint.states import Status
from footprint.store.scans import LEASE, Live

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def _live(status: Status = Status.STARTED, state: str = "Running", lease: timedelta | None = None) -> Live:
    return Live(uuid4(), uuid4(), status, state, NOW + lease if lease else None)


def _run(kind: str, name: str = "", message: str = "") -> RunState:
    return RunState(uuid4(), kind, name or kind.title(), message, has_started=True, ended_at=None)


def test_a_run_that_agrees_changes_nothing() -> None:
    assert reconcile(_live(lease=timedelta(seconds=9)), _run("RUNNING"), 0) is None


def test_a_run_that_goes_on_is_taken_over() -> None:
    assert reconcile(_live(Status.PENDING, "Scheduled"), _run("SCHEDULED", "Late"), 0) == Seen(Status.PENDING, "Late")
    assert reconcile(_live(), _run("CANCELLING"), 0) == Seen(Status.STARTED, "Cancelling")


@pytest.mark.parametrize(
    ("run", "status", "said"),
    [
        (_run("CRASHED", message="Process exited with -9"), Status.FAILURE, "its run crashed: Process exited with -9"),
        (_run("FAILED", message="no such table\x00"), Status.FAILURE, "its run failed: no such table"),
        (_run("CRASHED"), Status.FAILURE, "its run crashed: no reason given"),
        (_run("COMPLETED"), Status.FAILURE, "its run ended without a verdict"),
        (_run("CANCELLED"), Status.REVOKED, None),
        (None, Status.FAILURE, "its run is not known to Prefect any more"),
    ],
)
def test_a_run_that_ended_ends_its_row(run: RunState | None, status: Status, said: str | None) -> None:
    ended = reconcile(_live(lease=timedelta(seconds=9)), run, 0)
    assert isinstance(ended, Ended)
    assert (ended.verdict.status, ended.verdict.error, ended.lost) == (status, said, False)


def test_a_running_run_without_a_sign_of_life_is_lost() -> None:
    live = _live(lease=timedelta(seconds=-1))
    assert reconcile(live, _run("RUNNING"), LEASE.total_seconds()) is None
    ended = reconcile(live, _run("RUNNING"), LEASE.total_seconds() + 1)
    assert isinstance(ended, Ended)
    assert ended.lost
    assert ended.verdict.error == "the worker was lost: no sign of it for 61 s"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A monotonic clock that stands still until its only element is changed."""
    present = [1000.0]
    monkeypatch.setattr(reconciliation.time, "monotonic", lambda: present[0])
    return present


def test_silence_is_the_time_in_which_a_lease_did_not_change(clock: list[float]) -> None:
    silence, scan = Silence(), _live(lease=timedelta(hours=-5))
    heard = []
    for _ in range(4):
        clock[0] += 2
        heard.append(silence.look([scan])[scan.id])
    clock[0] += 2
    renewed = replace(scan, lease_until=NOW)
    assert heard == [0, 2, 4, 6]
    assert silence.look([renewed]) == {scan.id: 0}


def test_a_sleep_of_ones_own_is_not_the_silence_of_others(clock: list[float]) -> None:
    silence, scan = Silence(), _live(lease=timedelta(seconds=1))
    silence.look([scan])
    clock[0] += 3600
    assert silence.look([scan])[scan.id] <= LONGEST_GAP


def test_a_scan_that_has_not_begun_is_not_silent(clock: list[float]) -> None:
    silence, scan = Silence(), _live(Status.PENDING, "Scheduled")
    for _ in range(3):
        clock[0] += 2
        assert silence.look([scan]) == {scan.id: 0}
    assert silence.look([]) == {}
