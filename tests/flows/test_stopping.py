"""A worker that is stopped lets units end; a scan's time is counted over its attempts; no process outlives a cancel."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Timer
from uuid import UUID, uuid4

import pytest
from prefect.exceptions import TerminationSignal
from prefect.states import State

from flows import conduct, report
from flows.conduct import Conductor
from flows.pausing import Waiting
from footprint.explanation import explain
from footprint.policy import PRESETS
from footprint.reconciliation import Ended
from footprint.scan_facts import Facts
from footprint.states import Status
from footprint.store.cancelling import request_cancel
from footprint.store.explaining import scan_seen
from footprint.store.scans import Begun, live_scans
from footprint.store.tables import Scan, now
from footprint.store.units import finished_units
from footprint.verdict import Verdict
from tasks import stopping, strays
from tasks.installation import Installation
from tasks.settling import settle
from tests.flows.test_conduct import Task, here, task  # noqa: F401 -- fixtures
from tests.flows.test_interruptions import Eventful, _begun, _found, _play, _row, _swept, _take_up


@pytest.fixture(autouse=True)
def unseen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Prefect is told nothing of the progress."""
    monkeypatch.setattr(report, "create_progress_artifact", lambda *of, **more: uuid4())
    monkeypatch.setattr(report, "update_progress_artifact", lambda *of, **more: None)


@pytest.fixture
def heeded(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """This process takes note of the signal, as one that the worker forked does, and forgets it afterwards."""
    before = signal.getsignal(stopping.WIND_DOWN)
    stopping.heed_winding_down()
    monkeypatch.setattr(stopping, "_is_winding_down", False)
    monkeypatch.setattr(conduct, "is_run_cancelled", lambda: False)
    yield
    signal.signal(stopping.WIND_DOWN, before)


def _wind_down() -> None:
    os.kill(os.getpid(), stopping.WIND_DOWN)


def _resumed(made: tuple[UUID, UUID]) -> State:
    begun = _take_up(made)
    assert isinstance(begun, Begun)
    ended = _play(begun)
    assert isinstance(ended, State)
    return ended


def test_a_unit_that_runs_as_its_worker_is_stopped_ends_and_is_not_run_again(
    here: Installation,  # noqa: F811
    heeded: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(conduct, "run_scan", Task(here))
    undisturbed, made = _swept(here), _swept(here)
    assert isinstance(_play(_begun(undisturbed)), State)
    task = Eventful(here, 2, _wind_down)  # noqa: F811
    monkeypatch.setattr(conduct, "run_scan", task)
    with pytest.raises(TerminationSignal):
        _play(_begun(made))
    row = _row(here, made[0])
    assert (row.status, row.waiting, row.losses, task.units) == ("RETRY", "its worker was stopped", 0, 2)
    with here.store.read() as session:
        assert len(finished_units(session, made[0])) == 2, "the one that ran was kept"
    monkeypatch.setattr(stopping, "_is_winding_down", False)
    assert _resumed(made).is_completed()
    assert task.units == 5
    assert _found(here, made[0]) == _found(here, undisturbed[0])


def test_a_scan_that_has_nothing_left_to_begin_ends_though_its_worker_is_stopped(
    here: Installation,  # noqa: F811
    heeded: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = _swept(here)
    monkeypatch.setattr(conduct, "run_scan", Eventful(here, 5, _wind_down))
    ended = _play(_begun(made))
    assert isinstance(ended, State)
    assert ended.is_completed()


def test_a_cancel_goes_before_the_stop_of_a_worker(
    here: Installation,  # noqa: F811
    heeded: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = _swept(here)

    def both() -> None:
        _wind_down()
        with here.store.write() as session:
            request_cancel(session, made[0])

    monkeypatch.setattr(conduct, "run_scan", Eventful(here, 2, both))
    ended = _play(_begun(made))
    assert isinstance(ended, State)
    assert ended.is_cancelled()
    assert _row(here, made[0]).status == "REVOKED"


class _Killed(Exception):
    """A flow that is gone from one moment to the next."""


def test_the_time_of_a_scan_is_that_of_all_its_attempts_and_not_of_the_waiting(
    here: Installation,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ahead, real = [0.0], time.monotonic
    monkeypatch.setattr(time, "monotonic", lambda: real() + ahead[0])
    made, timeout = _swept(here), PRESETS["network_sweep"].scan_timeout

    def over_half() -> None:
        ahead[0] += timeout * 0.55

    def be_killed() -> None:
        over_half()
        first._publish()
        raise _Killed

    monkeypatch.setattr(conduct, "run_scan", Eventful(here, 2, be_killed))
    first = Conductor(_begun(made))
    with pytest.raises(_Killed):
        first.play()
    ahead[0] += 10 * timeout
    task = Eventful(here, 2, over_half)  # noqa: F811
    monkeypatch.setattr(conduct, "run_scan", task)
    second = _begun(made)
    assert timeout * 0.55 <= second.spent < timeout * 0.6
    _play(second)
    row = _row(here, made[0])
    assert f"cut short after {timeout} s" in str((*row.warnings, row.error))
    assert task.units == 2, "the first of them in time, the second as it ran out"
    assert row.spent_seconds is not None
    assert timeout < row.spent_seconds < timeout * 1.2


def test_a_scan_whose_time_was_over_before_begins_no_unit(
    here: Installation,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = _swept(here)
    with here.store.write() as session:
        session.get_one(Scan, made[0]).spent_seconds = float(PRESETS["network_sweep"].scan_timeout)
    task = Eventful(here, 1, lambda: None)  # noqa: F811
    monkeypatch.setattr(conduct, "run_scan", task)
    ended = _play(_begun(made))
    assert not isinstance(ended, Waiting)
    assert task.units == 0


@contextmanager
def _process_of(scan_id: UUID) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "60"], env={"PULSAR_SCAN": str(scan_id), "PATH": os.environ["PATH"]}) as process:
        yield process
        process.kill()


def test_a_cancelled_scan_is_not_revoked_while_a_process_of_it_is_left(
    here: Installation,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    made = _swept(here)
    monkeypatch.setattr(strays, "_kill", lambda pid: None)  # a process that no signal ends, as in the kernel's care
    monkeypatch.setattr(strays, "GONE_SECONDS", 0.1)
    monkeypatch.setattr(conduct, "TICK_SECONDS", 0.1)

    def cancel() -> None:
        with here.store.write() as session:
            request_cancel(session, made[0])

    monkeypatch.setattr(conduct, "run_scan", Eventful(here, 2, cancel))
    with _process_of(made[0]) as process:
        seen: list[str] = []

        def look_and_end() -> None:
            with here.store.read() as session:
                row = session.get_one(Scan, made[0])
                seen.extend((row.status, str(row.processes_gone_at), row.waiting or ""))
                seen.append(explain(Facts(now(), scan_seen(session, row), away="away")).explanation)
            process.kill()
            process.wait()

        ending = Timer(1.5, look_and_end)
        ending.start()
        ended = _play(_begun(made))
        ending.join()
        said = f"processes of it could not be ended: {process.pid}"
    assert seen[:3] == ["STARTED", "None", said]
    assert f"{said} (it is tried again; end them by hand on the worker's machine)." in seen[3]
    assert isinstance(ended, State)
    assert ended.is_cancelled()
    row = _row(here, made[0])
    assert (row.status, row.waiting) == ("REVOKED", None)
    assert row.processes_gone_at is not None
    assert f"the scan is not revoked yet: {said}" in caplog.text


def test_whoever_settles_a_lost_scan_does_not_call_it_revoked_while_a_process_is_left(
    here: Installation,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = _swept(here)
    _begun(made)
    with here.store.read() as session:
        [live] = live_scans(session)
    cancelled = Ended(Verdict(Status.REVOKED), "Cancelled", lost=True)
    with _process_of(made[0]) as process, monkeypatch.context() as patch:
        patch.setattr(strays, "_kill", lambda pid: None)
        patch.setattr(strays, "GONE_SECONDS", 0.1)
        assert not settle(here.store, live, cancelled, here.settings.work_dir)
        row = _row(here, made[0])
        assert (row.status, row.waiting) == ("STARTED", f"processes of it could not be ended: {process.pid}")
        patch.undo()
        assert settle(here.store, live, cancelled, here.settings.work_dir), "the next look ends it"
    row = _row(here, made[0])
    assert (row.status, row.waiting) == ("REVOKED", None)


def test_a_worker_that_goes_down_does_not_call_a_scan_revoked_while_a_process_is_left(
    here: Installation,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = _swept(here)
    monkeypatch.setattr(strays, "_kill", lambda pid: None)
    monkeypatch.setattr(strays, "GONE_SECONDS", 0.1)
    monkeypatch.setattr(conduct, "is_run_cancelled", lambda: True)
    monkeypatch.setattr(conduct, "get_run_logger", lambda: logging.getLogger("tests"))
    with _process_of(made[0]), pytest.raises(TerminationSignal), Conductor(_begun(made)):
        raise TerminationSignal(15)
    row = _row(here, made[0])
    assert (row.status, row.processes_gone_at) == ("STARTED", None)
    assert (row.waiting or "").startswith("processes of it could not be ended: ")
