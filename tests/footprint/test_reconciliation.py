"""What a row should say, given what Prefect says of its run."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from footprint.reconciliation import Ended, RunState, Seen, reconcile
from footprint.states import Status
from footprint.store.scans import Live

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def _live(status: Status = Status.STARTED, state: str = "Running", lease: timedelta | None = None) -> Live:
    return Live(uuid4(), uuid4(), status, state, NOW + lease if lease else None)


def _run(kind: str, name: str = "", message: str = "") -> RunState:
    return RunState(uuid4(), kind, name or kind.title(), message, has_started=True, ended_at=None)


def test_a_run_that_agrees_changes_nothing() -> None:
    assert reconcile(_live(lease=timedelta(seconds=9)), _run("RUNNING"), NOW) is None


def test_a_run_that_goes_on_is_taken_over() -> None:
    assert reconcile(_live(Status.PENDING, "Scheduled"), _run("SCHEDULED", "Late"), NOW) == Seen(Status.PENDING, "Late")
    assert reconcile(_live(), _run("CANCELLING"), NOW) == Seen(Status.STARTED, "Cancelling")


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
    ended = reconcile(_live(lease=timedelta(seconds=9)), run, NOW)
    assert isinstance(ended, Ended)
    assert (ended.verdict.status, ended.verdict.error, ended.lost) == (status, said, False)


def test_a_running_run_without_a_sign_of_life_is_lost() -> None:
    ended = reconcile(_live(lease=timedelta(seconds=-1)), _run("RUNNING"), NOW)
    assert isinstance(ended, Ended)
    assert ended.lost
    assert "no sign of it since 2025-12-31T23:59:59" in (ended.verdict.error or "")
