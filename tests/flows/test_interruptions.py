"""A scan that is cancelled, stopped with its worker, or closed out of its window while its units run."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from prefect.exceptions import TerminationSignal
from prefect.states import State

from flows import beginning, conduct
from flows.beginning import begin_scan
from flows.conduct import Conductor
from flows.pausing import Waiting
from footprint.admission import NewScan
from footprint.policy import PRESETS
from footprint.records import Network
from footprint.store.cancelling import request_cancel
from footprint.store.resumption import CRASH_PAUSE
from footprint.store.scans import Begun, begin, insert_scan
from footprint.store.tables import Scan, now
from footprint.store.units import finished_units
from footprint.store.views import scan_by_id, services_of_scan
from footprint.windows import TimeWindow
from tasks.installation import Installation
from tests.flows.test_conduct import Future, Task, here, scan, task  # noqa: F401 -- fixtures

MORNING = datetime(2026, 5, 4, 8, 0, tzinfo=UTC)
TWICE = (
    TimeWindow(start=MORNING.time(), duration=timedelta(hours=1)),
    TimeWindow(start=(MORNING + timedelta(hours=3)).time(), duration=timedelta(hours=1)),
)


class Eventful(Task):
    """Carries units out as `Task` does, and has something happen at a certain one of them."""

    def __init__(self, installation: Installation, at: int, event: Callable[[], None]) -> None:
        super().__init__(installation)
        self._at, self._event = at, event
        self.units = 0

    def submit(self, scan: Begun, module: str, batch: int) -> Future:  # noqa: F811
        """The event first."""
        self.units += 1
        if self.units == self._at:
            self._event()
        return super().submit(scan, module, batch)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[datetime]:
    """The wall clock of the flow, which stands still until its only element is changed."""
    present = [MORNING]
    for module in (conduct, beginning):
        monkeypatch.setattr(module, "now", lambda: present[0])
    return present


def _swept(installation: Installation, windows: tuple[TimeWindow, ...] = ()) -> tuple[UUID, UUID]:
    """A scan of four pieces, one after another, and its run."""
    policy = PRESETS["network_sweep"].model_copy(update={"concurrency": 1, "windows": windows})
    with installation.store.write() as session:
        return insert_scan(session, NewScan(Network("127.0.0.0/24"), policy, "", "api"))[0].id, uuid4()


def _play(begun: Begun) -> State | Waiting:
    with Conductor(begun) as conductor:
        conductor.play()
        return conductor.conclude()


def _take_up(made: tuple[UUID, UUID]) -> Begun | Waiting | State:
    return begin_scan(made[1], made[0], target="", policy="", comment="")


def _begun(made: tuple[UUID, UUID]) -> Begun:
    begun = _take_up(made)
    assert isinstance(begun, Begun)
    return begun


def _row(installation: Installation, scan_id: UUID) -> Scan:
    with installation.store.read() as session:
        return session.get_one(Scan, scan_id)


def _found(installation: Installation, scan_id: UUID) -> tuple[list[str], int]:
    """What was looked at, each as often as it was, and how many services were found."""
    with installation.store.read() as session:
        asked = sorted(str(done.unit.records) for done in finished_units(session, scan_id))
        return asked, services_of_scan(session, scan_id, 0, 10)[1]


def test_a_cancel_is_seen_without_prefect_and_no_unit_is_begun_after_it(
    here: Installation,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = _swept(here)

    def cancel() -> None:
        with here.store.write() as session:
            request_cancel(session, made[0])

    task = Eventful(here, 2, cancel)  # noqa: F811
    monkeypatch.setattr(conduct, "run_scan", task)
    state = _play(_begun(made))
    assert isinstance(state, State)
    assert state.is_cancelled()
    row = _row(here, made[0])
    assert (row.status, row.processes_ended, task.units) == ("REVOKED", 0, 2)
    assert row.counts["services"] == 1, "what was found stays"


def test_a_scan_that_was_revoked_before_its_flow_began_is_not_begun(here: Installation) -> None:  # noqa: F811
    made = _swept(here)
    with here.store.write() as session:
        scan_row = session.get_one(Scan, made[0])
        scan_row.task_id = made[1]
        session.flush()
        request_cancel(session, made[0])
    state = _take_up(made)
    assert isinstance(state, State)
    assert state.is_cancelled()
    assert _row(here, made[0]).attempt == 0


@pytest.mark.parametrize(("is_cancelled", "status"), [(False, "RETRY"), (True, "REVOKED")])
def test_a_sigterm_is_a_cancel_or_a_worker_that_goes_down(
    here: Installation,  # noqa: F811
    scan: Begun,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    *,
    is_cancelled: bool,
    status: str,
) -> None:
    monkeypatch.setattr(conduct, "is_run_cancelled", lambda: is_cancelled)
    before = now()
    with pytest.raises(TerminationSignal), Conductor(scan):
        raise TerminationSignal(15)
    with here.store.read() as session:
        row = scan_by_id(session, scan.id)
    assert (row.status, row.losses, row.processes_ended) == (status, 0, 0 if is_cancelled else None)
    if not is_cancelled:
        assert row.resume_at is not None
        assert before + CRASH_PAUSE <= row.resume_at <= now() + CRASH_PAUSE


def test_a_window_that_closes_lets_the_unit_end_and_the_next_one_finishes_the_scan_with_the_same_result(
    here: Installation,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    clock: list[datetime],
) -> None:
    def close() -> None:
        clock[0] = MORNING + timedelta(hours=1)

    monkeypatch.setattr(conduct, "run_scan", Task(here))
    undisturbed, made = _swept(here), _swept(here, TWICE)
    assert isinstance(_play(_begun(undisturbed)), State)
    task = Eventful(here, 2, close)  # noqa: F811
    monkeypatch.setattr(conduct, "run_scan", task)
    opening = MORNING + timedelta(hours=3)
    waiting = Waiting(opening, "window opens at 2026-05-04 11:00:00 UTC")
    assert _play(_begun(made)) == waiting
    row = _row(here, made[0])
    assert (row.status, row.waiting, row.resume_at, task.units) == ("RETRY", waiting.reason, opening, 2)
    assert _take_up(made) == waiting, "its run came too early"
    clock[0] = opening
    ended = _play(_begun(made))
    assert isinstance(ended, State)
    assert ended.is_completed()
    assert task.units == 5
    assert _found(here, made[0]) == _found(here, undisturbed[0])
    assert _row(here, made[0]).waiting is None


def test_a_window_that_closes_when_all_is_done_changes_nothing(
    here: Installation,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    clock: list[datetime],
) -> None:
    def close() -> None:
        clock[0] = MORNING + timedelta(hours=1)

    made = _swept(here, TWICE)
    monkeypatch.setattr(conduct, "run_scan", Eventful(here, 5, close))
    ended = _play(_begun(made))
    assert isinstance(ended, State)
    assert ended.is_completed()


def test_before_its_window_a_scan_waits_and_has_not_begun(here: Installation, clock: list[datetime]) -> None:  # noqa: F811
    made = _swept(here, TWICE)
    clock[0] = MORNING - timedelta(hours=1)
    assert _take_up(made) == Waiting(MORNING, "window opens at 2026-05-04 08:00:00 UTC")
    row = _row(here, made[0])
    assert (row.status, row.attempt, row.started_at) == ("PENDING", 0, None)


def test_a_window_that_never_opens_again_ends_the_scan_with_what_it_has(
    here: Installation,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    clock: list[datetime],
) -> None:
    made = _swept(here, TWICE[:1])
    never = datetime(2026, 5, 5, tzinfo=UTC).date()
    with here.store.write() as session:
        row = session.get_one(Scan, made[0])
        row.policy = {**row.policy, "blackouts": [str(never + timedelta(days=number)) for number in range(366)]}

    def close() -> None:
        clock[0] = MORNING + timedelta(hours=1)

    monkeypatch.setattr(conduct, "run_scan", Eventful(here, 2, close))
    ended = _play(_begun(made))
    assert isinstance(ended, State)
    assert _row(here, made[0]).warnings == ["no window of its policy opens within a year"]
    with here.store.write() as session, pytest.raises(Exception, match="ended already"):
        begin(session, *made)
