"""A scan's units when something breaks that should not: nothing is lost in silence."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from uuid import uuid4

import pytest
from prefect.client.schemas.objects import State
from prefect.states import Completed

from flows import beginning, conduct
from flows.conduct import Conductor
from footprint.admission import admit
from footprint.errors import InvalidPolicy, StoreUnavailable
from footprint.policy import ScanPolicy
from footprint.reconciliation import PutBack, RunState, reconcile
from footprint.records import Host, Service
from footprint.settings import Settings
from footprint.store import engine, migrate, open_store
from footprint.store.engine import connect
from footprint.store.policies import add_policy, delete_policy
from footprint.store.scans import Begun, attach, begin, insert_scan, live_scans
from footprint.store.tables import now
from footprint.store.units import Settlement, Unit, begin_unit, finished_units, lose_unit, plan_unit, settle_unit
from footprint.store.views import scan_by_id, services_of_scan
from footprint.verdict import UnitStatus
from tasks.installation import Installation


class Future:
    """A task run that has ended when it is asked for."""

    def __init__(self, state: State | None) -> None:
        self.state = state

    def add_done_callback(self, done: object) -> None:
        """At once."""
        done(self)  # type: ignore[operator]

    def wait(self, timeout: float) -> None:
        """It has ended."""


class Task:
    """Stands in for `run_scan`: carries a unit out at once, in a way that the test chooses."""

    def __init__(self, here: Installation) -> None:
        self._here = here
        self.breaks = 0

    def submit(self, scan: Begun, module: str, batch: int) -> Future:
        """Find one open port, unless it breaks."""
        with self._here.store.write() as session:
            unit_id, _ = begin_unit(session, scan.id, scan.attempt, module, batch)
        if self.breaks:
            self.breaks -= 1
            return Future(None)
        with self._here.store.write() as session:
            found = Settlement(UnitStatus.DONE, records=(Service("127.0.0.1", 22),))
            settle_unit(session, scan.id, scan.attempt, unit_id, found)
        return Future(Completed())


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Installation]:
    """An installation of its own, and a Prefect that takes no artifacts and no logs."""
    settings = Settings(home=tmp_path, scope_allow=("127.0.0.0/8",))  # type: ignore[arg-type]
    migrate(settings.store_url)
    store = open_store(settings.store_url)
    made = Installation(settings, store)
    for room in (beginning, conduct):
        monkeypatch.setattr(room, "installation", cache(lambda: made))
    monkeypatch.setattr(conduct, "get_run_logger", lambda: logging.getLogger("tests"))
    monkeypatch.setattr(conduct, "publish_report", lambda *of: None)
    yield made
    store.close()


@pytest.fixture
def task(here: Installation, monkeypatch: pytest.MonkeyPatch) -> Task:
    """What stands in for `run_scan`."""
    made = Task(here)
    monkeypatch.setattr(conduct, "run_scan", made)
    return made


@pytest.fixture
def scan(here: Installation) -> Begun:
    """A scan that has begun."""
    with here.store.write() as session:
        asked = admit(here.settings, target="127.0.0.1", policy="network_sweep", comment="", origin="api")
        only_nmap = replace(asked, policy=asked.policy.model_copy(update={"modules": {"nmap": {}}}))
        return begin(session, insert_scan(session, only_nmap)[0].id, uuid4())


def test_a_scan_that_cannot_begin_because_the_store_stays_away_is_for_another_attempt(
    here: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "PATIENCE_SECONDS", 0.1)
    monkeypatch.setattr(engine, "RETRY_SECONDS", 0.01)
    asked = admit(here.settings, target="127.0.0.1", policy="quick", comment="", origin="api")
    run = uuid4()
    with here.store.write() as session:
        scan_id = insert_scan(session, asked)[0].id
        attach(session, scan_id, run)
    nowhere = connect("postgresql+psycopg://nobody@127.0.0.1:1/nothing")
    monkeypatch.setattr(beginning, "installation", lambda: Installation(here.settings, nowhere))
    state = beginning.begin_scan(run, scan_id, target="", policy="", comment="")
    nowhere.close()
    assert isinstance(state, State)
    assert (state.type, "the store does not answer" in (state.message or "")) == ("CRASHED", True)
    with here.store.read() as session:
        (live,) = live_scans(session)
    ended = RunState(run, "CRASHED", "Crashed", state.message or "", True, now())
    step = reconcile(live, ended, 0.0, now())
    assert isinstance(step, PutBack)
    assert "the store does not answer" in step.reason


def test_a_run_from_prefect_takes_a_policy_of_ones_own(here: Installation) -> None:
    mine = ScanPolicy(name="mine", modules={"dns": {}})
    with here.store.write() as session:
        add_policy(session, mine)
        add_policy(session, ScanPolicy(name="outdated", modules={"abandoned": {}}))
    run = uuid4()
    begun = beginning.begin_scan(run, None, target="127.0.0.1", policy="mine", comment="")
    assert begun.policy == mine
    with here.store.write() as session:
        delete_policy(session, "mine")
    assert beginning.begin_scan(run, None, target="127.0.0.1", policy="mine", comment="").policy == mine
    for name, said in (("mine", "no policy of that name"), ("outdated", "is no module")):
        with pytest.raises(InvalidPolicy, match=said):
            beginning.begin_scan(uuid4(), None, target="127.0.0.1", policy=name, comment="")


def _play(scan: Begun) -> State:
    with Conductor(scan) as conductor:
        conductor.play()
        return conductor.conclude()


def test_an_undisturbed_scan_ends_well(here: Installation, task: Task, scan: Begun) -> None:
    assert _play(scan).is_completed()
    with here.store.read() as session:
        assert services_of_scan(session, scan.id, 0, 10)[1] == 1
        assert scan_by_id(session, scan.id).modules[0]["done"] == 2


def test_a_unit_whose_task_breaks_is_no_success(here: Installation, task: Task, scan: Begun) -> None:
    task.breaks = 1
    assert _play(scan).is_failed()
    with here.store.read() as session:
        row = scan_by_id(session, scan.id)
    assert row.status == "FAILURE"
    assert "its result could not be kept" in (row.error or "")


def test_a_store_that_is_away_for_a_moment_does_not_end_the_scan(
    here: Installation, task: Task, scan: Begun, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, failures = conduct.keep_alive, iter([True, True])

    def sometimes(*given: object) -> None:
        if next(failures, False):
            raise StoreUnavailable("the store does not answer")
        real(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(conduct, "keep_alive", sometimes)
    assert _play(scan).is_completed()


def test_a_second_attempt_asks_nothing_again_that_the_first_finished(
    here: Installation, task: Task, scan: Begun
) -> None:
    with here.store.write() as session:
        plan_unit(session, scan.id, scan.attempt, Unit("nmap", 1, 0, (Host("127.0.0.1"),)))
        plan_unit(session, scan.id, scan.attempt, Unit("nmap", 2, 1, (Service("127.0.0.1", 22),)))
    task.submit(scan, "nmap", 1)
    with here.store.write() as session:
        task_id = scan_by_id(session, scan.id).task_id
        assert task_id is not None
        second = begin(session, scan.id, task_id)
    assert _play(second).is_completed()
    with here.store.read() as session:
        units = [(done.unit.batch, done.unit.records) for done in finished_units(session, scan.id)]
    assert units == [(1, (Host("127.0.0.1"),)), (2, (Service("127.0.0.1", 22),))]


def test_a_second_attempt_asks_again_what_the_first_lost(here: Installation, task: Task, scan: Begun) -> None:
    with here.store.write() as session:
        lost = plan_unit(session, scan.id, scan.attempt, Unit("nmap", 1, 0, (Host("127.0.0.1"),)))
        lose_unit(session, scan.id, scan.attempt, lost)
        task_id = scan_by_id(session, scan.id).task_id
        assert task_id is not None
        second = begin(session, scan.id, task_id)
    assert _play(second).is_completed()
    with here.store.read() as session:
        assert len(finished_units(session, scan.id)) == 2


def test_a_second_attempt_carries_on_and_the_first_can_no_longer_end_it(
    here: Installation, task: Task, scan: Begun
) -> None:
    first = Conductor(scan)
    assert not first.is_overtaken()
    with here.store.write() as session:
        plan_unit(session, scan.id, scan.attempt, Unit("nmap", 1, 0, (Host("127.0.0.1"),)))
    task.submit(scan, "nmap", 1)
    with here.store.write() as session:
        task_id = scan_by_id(session, scan.id).task_id
        assert task_id is not None
        second = begin(session, scan.id, task_id)
    kept = here.settings.work_dir / str(scan.id)
    with pytest.raises(RuntimeError, match="late"), first:
        raise RuntimeError("late")
    assert first.is_overtaken()
    assert kept.is_dir(), "what the second attempt works in is not the first one's to remove"
    with here.store.read() as session:
        assert scan_by_id(session, scan.id).status == "STARTED"
    assert _play(second).is_completed()


def test_a_defect_ends_the_scan_aloud_and_leaves_no_directory(here: Installation, scan: Begun) -> None:
    with pytest.raises(ZeroDivisionError), Conductor(scan):
        raise ZeroDivisionError
    with here.store.read() as session:
        row = scan_by_id(session, scan.id)
    assert (row.status, row.error) == ("FAILURE", "a defect in Pulsar: ZeroDivisionError")
    assert not list(here.settings.work_dir.iterdir())
