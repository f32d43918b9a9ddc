"""What a row should say, given what Prefect says of its run."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from footprint import reconciliation
from footprint.reconciliation import LONGEST_GAP, Ended, PutBack, Reschedule, RunState, Seen, Silence, Step, reconcile
from footprint.states import Status
from footprint.store.resumption import CRASH_PAUSE, MOST_RESUMES
from footprint.store.scans import LEASE, Live
from footprint.verdict import Verdict

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def _live(status: Status = Status.STARTED, state: str = "Running", lease: timedelta | None = None) -> Live:
    return Live(uuid4(), uuid4(), status, state, NOW + lease if lease else None)


def _run(kind: str, name: str = "", message: str = "") -> RunState:
    return RunState(uuid4(), kind, name or kind.title(), message, has_started=True, ended_at=None)


def test_a_run_that_agrees_changes_nothing() -> None:
    assert reconcile(_live(lease=timedelta(seconds=9)), _run("RUNNING"), 0, NOW) is None


def test_a_run_that_goes_on_is_taken_over() -> None:
    assert reconcile(_live(Status.PENDING, "Scheduled"), _run("SCHEDULED", "Late"), 0, NOW) == Seen(
        Status.PENDING, "Late"
    )
    assert reconcile(_live(), _run("PAUSED"), 0, NOW) == Seen(Status.STARTED, "Paused")


@pytest.mark.parametrize(
    ("run", "status", "said"),
    [
        (_run("FAILED", message="no such table\x00"), Status.FAILURE, "its run failed: no such table"),
        (_run("FAILED"), Status.FAILURE, "its run failed: no reason given"),
        (_run("COMPLETED"), Status.FAILURE, "its run ended without a verdict"),
        (_run("CANCELLED"), Status.REVOKED, None),
        (None, Status.FAILURE, "its run is not known to Prefect any more"),
    ],
)
def test_a_run_that_ended_ends_its_row(run: RunState | None, status: Status, said: str | None) -> None:
    ended = reconcile(_live(lease=timedelta(seconds=9)), run, 0, NOW)
    assert isinstance(ended, Ended)
    assert (ended.verdict.status, ended.verdict.error, ended.lost) == (status, said, False)


def test_a_running_run_without_a_sign_of_life_is_lost_and_resumed() -> None:
    live = _live(lease=timedelta(seconds=-1))
    assert reconcile(live, _run("RUNNING"), LEASE.total_seconds(), NOW) is None
    back = reconcile(live, _run("RUNNING"), LEASE.total_seconds() + 1, NOW)
    reason = "worker lost at 2025-12-31 23:58:59 UTC: no sign of it for 61 s"
    assert back == PutBack(reason, NOW, lost=True)


def test_a_crashed_run_is_resumed_after_a_pause_for_those_who_report_late() -> None:
    back = reconcile(_live(lease=timedelta(seconds=9)), _run("CRASHED", message="code -9"), 0, NOW)
    reason = "worker lost at 2026-01-01 00:00:00 UTC: its run crashed: code -9"
    assert back == PutBack(reason, NOW + CRASH_PAUSE)


@pytest.mark.parametrize(("run", "silent", "lost"), [(_run("CRASHED"), 0, False), (_run("RUNNING"), 61, True)])
def test_a_scan_that_was_resumed_twice_is_given_up(run: RunState, silent: float, lost: bool) -> None:
    live = replace(_live(lease=timedelta(seconds=9)), losses=MOST_RESUMES)
    ended = reconcile(live, run, silent, NOW)
    assert isinstance(ended, Ended)
    assert (ended.verdict.status, ended.lost) == (Status.FAILURE, lost)
    assert (ended.verdict.error or "").startswith("worker lost at 202")
    assert (ended.verdict.error or "").endswith("the scan had been resumed 2 times before")


@pytest.mark.parametrize(
    ("run", "after", "step"),
    [
        (_run("CRASHED"), -1, Seen(Status.RETRY, "Crashed")),
        (_run("CRASHED"), 0, Reschedule()),
        (_run("SCHEDULED"), 5, Seen(Status.RETRY, "Scheduled")),
        (_run("RUNNING"), 5, Seen(Status.RETRY, "Running")),
        (_run("RUNNING"), 61, Reschedule()),
        (_run("CANCELLED"), -1, Ended(Verdict(Status.REVOKED), "Cancelled")),
    ],
)
def test_a_scan_that_was_put_back_is_rescheduled_when_its_time_has_come(run: RunState, after: int, step: Step) -> None:
    waiting = replace(_live(Status.RETRY, "Waiting"), resume_at=NOW - timedelta(seconds=after))
    assert reconcile(waiting, run, 0, NOW) == step


@pytest.mark.parametrize(
    ("kind", "seconds", "lease", "resume_at", "is_dropped"),
    [
        ("PENDING", 61, None, None, True),
        ("RUNNING", 61, None, None, True),
        ("PENDING", 61, None, NOW + timedelta(hours=1), True),
        ("RUNNING", 61, None, NOW + timedelta(hours=1), False),
        ("PENDING", 59, None, None, False),
        ("RUNNING", 61, timedelta(seconds=30), None, False),
        ("SCHEDULED", 3600, None, None, False),
    ],
)
def test_a_run_that_a_worker_took_and_dropped_is_given_to_prefect_again(
    kind: str, seconds: int, lease: timedelta | None, resume_at: datetime | None, is_dropped: bool
) -> None:
    scan = replace(_live(Status.PENDING, "Submitting", lease), resume_at=resume_at)
    run = replace(_run(kind), since=NOW - timedelta(seconds=seconds))
    assert (reconcile(scan, run, 0, NOW) == Reschedule()) is is_dropped
    assert reconcile(scan, replace(run, since=None), 0, NOW) != Reschedule()


def test_a_crash_after_it_was_rescheduled_is_another_loss() -> None:
    assert isinstance(reconcile(_live(Status.RETRY), _run("CRASHED"), 0, NOW), PutBack)


def test_a_cancel_in_prefect_is_told_to_the_flow_once() -> None:
    live = _live(lease=timedelta(seconds=9))
    assert reconcile(live, _run("CANCELLING"), 0, NOW) == Seen(Status.STARTED, "Cancelling", is_cancelled=True)
    told = replace(live, is_cancelled=True, state="Cancelling")
    assert reconcile(told, _run("CANCELLING"), 0, NOW) is None


@pytest.mark.parametrize(
    ("live", "run", "silent"),
    [
        (_live(Status.RETRY), _run("CANCELLING"), 0),
        (_live(lease=timedelta(0)), _run("CANCELLING"), 61),
        (replace(_live(lease=timedelta(0)), is_cancelled=True), _run("RUNNING"), 61),
        (replace(_live(lease=timedelta(0)), is_cancelled=True), _run("CRASHED"), 0),
        (replace(_live(lease=timedelta(0)), is_cancelled=True), None, 0),
    ],
)
def test_a_cancelled_scan_without_a_flow_is_revoked_and_never_resumed(
    live: Live, run: RunState | None, silent: float
) -> None:
    ended = reconcile(live, run, silent, NOW)
    assert isinstance(ended, Ended)
    assert ended.verdict == Verdict(Status.REVOKED)


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


def test_a_scan_that_was_put_back_as_it_was_cancelled_is_revoked() -> None:
    waiting = replace(_live(Status.RETRY, "Scheduled"), resume_at=NOW + timedelta(days=1))
    assert reconcile(waiting, _run("SCHEDULED"), 0, NOW) is None
    step = reconcile(replace(waiting, is_cancelled=True), _run("SCHEDULED"), 0, NOW)
    assert step == Ended(Verdict(Status.REVOKED), "Cancelled", lost=True)


def test_what_waits_for_its_window_is_not_said_to_run() -> None:
    waiting = replace(_live(Status.PENDING, "Scheduled"), resume_at=NOW + timedelta(days=1))
    assert reconcile(waiting, _run("RUNNING"), 0, NOW) == Seen(Status.PENDING, "Running")
