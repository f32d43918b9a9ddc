"""What the reconcile flow sets right where no API does, with a Prefect that says what the test says."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from sqlalchemy import update

from flows.prefect_runs import PrefectRuns
from flows.reconciling import Settled, reconcile_all
from footprint import reconciliation
from footprint.errors import PrefectUnavailable
from footprint.reconciliation import RunState
from footprint.settings import Settings
from footprint.states import Status
from footprint.store import Store, migrate, open_store
from footprint.store.cancelling import request_cancel
from footprint.store.chores import chores_done
from footprint.store.endings import finish
from footprint.store.resumption import note_rescheduled, put_back
from footprint.store.scans import Begun, begin, insert_scan, keep_alive
from footprint.store.tables import Scan, now
from footprint.store.views import scan_by_id
from footprint.verdict import Verdict
from tests.footprint.test_differences import NEW, scanned


class Prefect(PrefectRuns):
    """Stands in for Prefect: says of runs what the test says, and remembers what it was told."""

    def __init__(self) -> None:
        self.runs: dict[UUID, RunState] = {}
        self.taken: list[UUID] = []
        self.running: list[UUID] = []
        self.said: list[tuple[str, UUID]] = []

    def states(self, ids: Sequence[UUID]) -> dict[UUID, RunState]:
        """What the test says."""
        return {run: state for run, state in self.runs.items() if run in ids}

    def crash(self, run_id: UUID, message: str) -> None:
        """Remember."""
        self.said.append(("crash", run_id))

    def cancel(self, run_id: UUID) -> None:
        """Remember."""
        self.said.append(("cancel", run_id))

    def reschedule(self, run_id: UUID, message: str = "") -> None:
        """Remember, and do so."""
        self.said.append(("reschedule", run_id))
        if run_id in self.runs:
            self.runs[run_id] = replace(self.runs[run_id], type="SCHEDULED", name="Scheduled")

    def stuck(self, before: datetime) -> list[UUID]:
        """What the test says."""
        assert now() - before >= timedelta(minutes=3)
        return self.taken

    def running_scans(self, before: datetime) -> list[UUID]:
        """What the test says."""
        assert now() - before >= timedelta(minutes=10)
        return self.running


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path)


@pytest.fixture
def store(settings: Settings) -> Iterator[Store]:
    migrate(settings.store_url)
    opened = open_store(settings.store_url)
    yield opened
    opened.close()


@pytest.fixture
def prefect() -> Prefect:
    return Prefect()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A monotonic clock that goes on by a second with each wait."""
    present = [1000.0]
    monkeypatch.setattr(reconciliation.time, "monotonic", lambda: present[0])
    return present


def begun(store: Store, prefect: Prefect, kind: str, lease: timedelta = timedelta(seconds=30)) -> Begun:
    task = uuid4()
    with store.write() as session:
        scan = begin(session, insert_scan(session, NEW)[0].id, task)
        session.execute(update(Scan).where(Scan.id == scan.id).values(lease_until=now() + lease))
    prefect.runs[task] = RunState(task, kind, kind.title(), "gone", has_started=True, ended_at=None)
    return scan


def run(settings: Settings, store: Store, prefect: Prefect, clock: list[float] | None = None) -> Settled:
    def wait(seconds: float) -> None:
        assert clock is not None, "there was nothing to be watched"
        clock[0] += seconds

    return reconcile_all(settings, store, prefect, wait=wait)


def status(store: Store, scan: Begun) -> str:
    with store.read() as session:
        return scan_by_id(session, scan.id).status


def test_what_crashed_is_put_back_and_what_was_cancelled_is_revoked(
    settings: Settings, store: Store, prefect: Prefect
) -> None:
    crashed, cancelled, runs = (begun(store, prefect, kind) for kind in ("CRASHED", "CANCELLED", "RUNNING"))
    left = settings.work_dir / str(crashed.id)
    left.mkdir(parents=True)
    assert run(settings, store, prefect).scans == 2
    assert [status(store, scan) for scan in (crashed, cancelled, runs)] == ["RETRY", "REVOKED", "STARTED"]
    assert not left.exists()
    assert run(settings, store, prefect).scans == 0
    with store.read() as session:
        assert [(chore.name, chore.is_well) for chore in chores_done(session)] == [("reconcile", True)]


def test_a_silent_scan_is_watched_for_as_long_as_a_lease_is(
    settings: Settings, store: Store, prefect: Prefect, clock: list[float]
) -> None:
    scan = begun(store, prefect, "RUNNING", lease=timedelta(seconds=-5))
    assert run(settings, store, prefect, clock).scans == 1
    assert 60 < clock[0] - 1000 < 70
    assert status(store, scan) == "RETRY"
    assert [said for said, _ in prefect.said] == ["crash"]


def test_a_scan_whose_clock_goes_wrong_is_not_taken_for_a_dead_one(
    settings: Settings, store: Store, prefect: Prefect, clock: list[float]
) -> None:
    scan = begun(store, prefect, "RUNNING", lease=timedelta(hours=-3))
    beats = 0

    def wait(seconds: float) -> None:
        nonlocal beats
        clock[0] += seconds
        with store.write() as session:
            keep_alive(session, scan.id, scan.attempt, 5, [])
            beats += 1
            late = now() - timedelta(hours=3) + timedelta(seconds=beats)
            session.execute(update(Scan).where(Scan.id == scan.id).values(lease_until=late))

    assert reconcile_all(settings, store, prefect, wait=wait).scans == 0
    assert (status(store, scan), prefect.said) == ("STARTED", [])


def test_what_waits_too_long_is_given_to_prefect_again_once(settings: Settings, store: Store, prefect: Prefect) -> None:
    scan = begun(store, prefect, "CRASHED")
    with store.write() as session:
        put_back(session, scan.id, attempt=1, reason="lost", at=now() - timedelta(minutes=1), losses=0)
    for _ in range(2):
        run(settings, store, prefect)
    assert [said for said, _ in prefect.said] == ["reschedule"]
    with store.read() as session:
        assert scan_by_id(session, scan.id).resume_at is None


def test_what_somebody_else_has_given_to_prefect_meanwhile_is_left_alone(
    settings: Settings, store: Store, prefect: Prefect, monkeypatch: pytest.MonkeyPatch
) -> None:
    scan = begun(store, prefect, "CRASHED")
    with store.write() as session:
        put_back(session, scan.id, attempt=1, reason="lost", at=now() - timedelta(minutes=1), losses=0)
    look = Prefect.states

    def states(self: Prefect, ids: Sequence[UUID]) -> dict[UUID, RunState]:
        with store.write() as session:
            note_rescheduled(session, scan.id)
        return look(self, ids)

    monkeypatch.setattr(Prefect, "states", states)
    assert run(settings, store, prefect).scans == 0
    assert prefect.said == []


def test_a_cancel_that_nobody_heard_ends_the_scan_though_prefect_goes_away(
    settings: Settings, store: Store, prefect: Prefect, monkeypatch: pytest.MonkeyPatch, clock: list[float]
) -> None:
    scan = begun(store, prefect, "RUNNING", lease=timedelta(seconds=-5))
    with store.write() as session:
        request_cancel(session, scan.id)

    def away(self: Prefect, run_id: UUID) -> None:
        raise PrefectUnavailable("away")

    monkeypatch.setattr(Prefect, "cancel", away)
    run(settings, store, prefect, clock)
    assert status(store, scan) == "REVOKED"


def test_a_run_that_a_worker_took_and_did_not_start_is_given_to_the_workers(
    settings: Settings, store: Store, prefect: Prefect
) -> None:
    prefect.taken = [uuid4()]
    assert run(settings, store, prefect).runs == 1
    assert prefect.said == [("reschedule", prefect.taken[0])]


def test_a_run_whose_scan_has_ended_or_never_was_does_not_hold_its_place_for_ever(
    settings: Settings, store: Store, prefect: Prefect
) -> None:
    over, recent, going = (begun(store, prefect, "RUNNING") for _ in range(3))
    with store.write() as session:
        for scan, minutes in ((over, 11), (recent, 9)):
            finish(session, scan.id, Verdict(Status.SUCCESS), "Completed", at=now() - timedelta(minutes=minutes))
        tasks = [scan_by_id(session, scan.id).task_id for scan in (over, recent, going)]
    prefect.running = [task for task in tasks if task] + [uuid4()]
    assert run(settings, store, prefect).runs == 2
    assert prefect.said == [("crash", prefect.running[0]), ("crash", prefect.running[3])]


def test_programs_of_scans_that_are_over_are_ended_and_those_of_others_are_not(
    settings: Settings, store: Store, prefect: Prefect
) -> None:
    over, recent, going = scanned(store), scanned(store), begun(store, prefect, "RUNNING")
    with store.write() as session:
        session.execute(update(Scan).where(Scan.id == over.id).values(finished_at=now() - timedelta(minutes=5)))
    for scan in (over, recent, going):
        (settings.work_dir / str(scan.id)).mkdir(parents=True)
    marks = [str(scan.id) for scan in (over, recent, going)] + [str(uuid4())]
    strays = [
        subprocess.Popen(["sleep", "60"], env={**os.environ, "PULSAR_SCAN": mark}, start_new_session=True)
        for mark in marks
    ]
    try:
        assert run(settings, store, prefect).strays == 1
        strays[0].wait(5)
        time.sleep(0.05)
        assert [stray.poll() is None for stray in strays] == [False, True, True, True]
        assert {path.name for path in settings.work_dir.iterdir()} == {str(recent.id), str(going.id)}
    finally:
        for stray in strays:
            stray.kill()
            stray.wait()


def test_a_request_that_got_no_run_is_withdrawn(settings: Settings, store: Store, prefect: Prefect) -> None:
    with store.write() as session:
        scan, _ = insert_scan(session, NEW)
        session.execute(update(Scan).values(created_at=now() - timedelta(minutes=2)))
    run(settings, store, prefect)
    with store.read() as session:
        assert session.get(Scan, scan.id) is None
