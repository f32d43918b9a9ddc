"""What units found while the store could not be written: kept, written once it can be, and looked at only once."""

from __future__ import annotations

import logging
import os
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from dataclasses import replace
from pathlib import Path
from threading import Thread
from typing import NoReturn
from uuid import uuid4

import pytest
from prefect.client.schemas.objects import State
from prefect.exceptions import TerminationSignal
from sqlalchemy import Engine, create_engine, event, func, select, text

from flows import conduct, report
from flows.conduct import Conductor
from footprint.admission import admit
from footprint.policy import ScanPolicy
from footprint.records import Coverage, Host, Outcome, Service
from footprint.settings import Settings
from footprint.spool import Spool
from footprint.store import Store, engine, migrate, open_store
from footprint.store.resumption import put_back
from footprint.store.scans import Begun, begin, insert_scan
from footprint.store.tables import ModuleRun, Scan, ServiceRow, Sighting, now
from footprint.store.units import Settlement, Unit, plan_unit
from footprint.verdict import UnitStatus
from tasks import results
from tasks import run_scan as running
from tasks.installation import Installation
from tasks.unit import Circumstances
from tests.conftest import new_postgres_database

LARGE = "x" * 200_000
"""More than fits into pages that a database has already."""
WAIT = 20.0
SOON = {"scan_timeout": 60, "unit_timeout": 60}


class Future:
    """A task run in a thread, as the flow sees one."""

    def __init__(self, run: object) -> None:
        self._run = run

    def add_done_callback(self, done: Callable[[Future], None]) -> None:
        """Once it has ended."""
        self._run.add_done_callback(lambda _: done(self))  # type: ignore[attr-defined]

    def wait(self, timeout: float) -> None:
        """For its end."""
        self._run.exception(timeout)  # type: ignore[attr-defined]


class Task:
    """The real task of a unit, in a thread; `looked_at` are the units whose tool was run."""

    def __init__(self, pool: ThreadPoolExecutor) -> None:
        self._pool = pool
        self.looked_at: list[str] = []
        self.on_found: Callable[[], None] = lambda: None

    def submit(self, scan: Begun, module: str, batch: int) -> Future:
        """Carry the unit out."""
        return Future(self._pool.submit(running.run_scan.fn, scan, module, batch))

    def carry_out(self, unit: Unit, under: Circumstances) -> Settlement:
        """In the place of a tool: one service for a host, nothing for a service. Afterwards the test's event."""
        self.looked_at.append(str(unit.records))
        found = [Service(record.address, 22) for record in unit.records if isinstance(record, Host)]
        seen = [Coverage(record.address, Outcome.ANSWERED) for record in unit.records if isinstance(record, Host)]
        self.on_found()
        return Settlement(UnitStatus.DONE, records=tuple(found), coverage=tuple(seen), command=LARGE)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that is given up soon."""
    monkeypatch.setattr(engine, "BUSY_SECONDS", 0.2)
    monkeypatch.setattr(engine, "PATIENCE_SECONDS", 0.2)
    monkeypatch.setattr(engine, "RETRY_SECONDS", 0.05)


@pytest.fixture
def task(monkeypatch: pytest.MonkeyPatch) -> Iterator[Task]:
    """What stands in for Prefect's side of the task."""
    with ThreadPoolExecutor(4) as pool:
        made = Task(pool)
        monkeypatch.setattr(conduct, "run_scan", made)
        monkeypatch.setattr(running, "carry_out", made.carry_out)
        monkeypatch.setattr(conduct, "publish_report", lambda *of: None)
        monkeypatch.setattr(conduct, "is_run_cancelled", lambda: False)
        monkeypatch.setattr(report, "create_progress_artifact", lambda *of, **more: uuid4())
        monkeypatch.setattr(report, "update_progress_artifact", lambda *of, **more: None)
        for room in (conduct, running):
            monkeypatch.setattr(room, "get_run_logger", lambda: logging.getLogger("tests"))
        yield made
    results._held.clear()


@contextmanager
def _installed(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Installation]:
    migrate(settings.store_url)
    with closing(open_store(settings.store_url)) as store:
        here = Installation(settings, store)
        for room in (conduct, running):
            monkeypatch.setattr(room, "installation", lambda: here)
        yield here


@pytest.fixture
def here(tmp_path: Path, quick: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Installation]:
    """An installation of its own."""
    settings = Settings(home=tmp_path, scope_allow=("127.0.0.0/8",))  # type: ignore[arg-type]
    with _installed(settings, monkeypatch) as made:
        yield made


def _begun(here: Installation, **changes: object) -> Begun:
    with here.store.write() as session:
        asked = admit(here.settings, target="127.0.0.1", policy="network_sweep", comment="", origin="api")
        policy = ScanPolicy.model_validate({**asked.policy.model_dump(), "modules": {"nmap": {}}, **SOON, **changes})
        return begin(session, insert_scan(session, replace(asked, policy=policy))[0].id, uuid4())


def _play(scan: Begun) -> State:
    with Conductor(scan) as conductor:
        conductor.play()
        ended = conductor.conclude()
        assert isinstance(ended, State)
        return ended


def _once(here: Installation, scan: Begun, task: Task) -> None:
    """The scan ended well; each record was looked at once and is there once; nothing is left in the spool."""
    with here.store.read() as session:
        assert session.get_one(Scan, scan.id).status == "SUCCESS"
        assert session.scalar(select(func.count()).select_from(ServiceRow)) == 1
        assert session.scalar(select(func.count()).select_from(Sighting)) == 1
        runs = session.scalars(select(ModuleRun).where(ModuleRun.scan_id == scan.id).order_by(ModuleRun.batch)).all()
    assert [(run.status, run.records, run.command) for run in runs] == [("done", 1, LARGE), ("done", 0, LARGE)]
    assert all(run.started_at and run.finished_at and run.started_at <= run.finished_at for run in runs)
    assert sorted(task.looked_at) == sorted(set(task.looked_at))
    assert len(task.looked_at) == 2
    assert Spool(here.settings.spool_dir).scans() == []
    assert results.unsettled(scan.id) == {}


@contextmanager
def _locked(store: Store) -> Iterator[None]:
    path = str(store.engine.url.database)
    with closing(sqlite3.connect(path, timeout=5, isolation_level=None, check_same_thread=False)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield


class _Told(AbstractContextManager[None]):
    """Has SQLite itself refuse what each connection writes, while it is entered."""

    def __init__(self, store: Store, on: str, off: str) -> None:
        self._on, self._off, self._is_on = on, off, False
        event.listen(store.engine, "checkout", self._tell)

    def _tell(self, connection: sqlite3.Connection, *_: object) -> None:
        connection.execute(f"PRAGMA {self._on if self._is_on else self._off}")

    def __enter__(self) -> None:
        self._is_on = True

    def __exit__(self, *_: object) -> None:
        self._is_on = False


def _read_only(store: Store) -> AbstractContextManager[None]:
    return _Told(store, "query_only=ON", "query_only=OFF")


def _full(store: Store) -> AbstractContextManager[None]:
    return _Told(store, "max_page_count=1", "max_page_count=1073741823")


@contextmanager
def _away(store: Store) -> Iterator[None]:
    """A PostgreSQL database that takes no connections, and has ended those that there were."""
    name = store.engine.url.database
    other = create_engine(store.engine.url.set(database="postgres"), isolation_level="AUTOCOMMIT")
    with closing(_Switch(other, str(name))) as switch:
        switch.off()
        yield


class _Switch:
    def __init__(self, other: Engine, name: str) -> None:
        self._other, self._name = other, name

    def off(self) -> None:
        with self._other.connect() as connection:
            connection.execute(text(f"ALTER DATABASE {self._name} ALLOW_CONNECTIONS false"))
            ending = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :name"
            connection.execute(text(ending), {"name": self._name})

    def close(self) -> None:
        with self._other.connect() as connection:
            connection.execute(text(f"ALTER DATABASE {self._name} ALLOW_CONNECTIONS true"))
        self._other.dispose()


Fault = Callable[[Store], AbstractContextManager[None]]


class Outage:
    """A fault that begins when a unit has found something, and is mended once `seen` is true."""

    def __init__(self, fault: AbstractContextManager[None], seen: Callable[[], bool]) -> None:
        self._fault, self._seen = fault, seen
        self._stack = ExitStack()
        self._thread = Thread(target=self._mend)
        self.was_seen = False

    def begin(self) -> None:
        """Once only."""
        if not self._thread.is_alive() and not self.was_seen:
            self._stack.enter_context(self._fault)
            self._thread.start()

    def _mend(self) -> None:
        until = time.monotonic() + WAIT
        while not self.was_seen and time.monotonic() < until:
            time.sleep(0.02)
            self.was_seen = self._seen()
        time.sleep(0.5)  # longer than a writer's patience
        self._stack.close()

    def join(self) -> None:
        """Wait for its end."""
        self._thread.join(WAIT)


def _suffer(here: Installation, task: Task, scan: Begun, fault: Fault) -> Outage:
    spool = Spool(here.settings.spool_dir)
    outage = Outage(fault(here.store), lambda: spool.look().waiting == 1)
    task.on_found = outage.begin
    return outage


@pytest.mark.parametrize("fault", [_locked, _read_only, _full])
def test_what_is_found_while_sqlite_refuses_it_is_spooled_and_kept_by_the_same_flow(
    here: Installation, task: Task, fault: Fault
) -> None:
    scan = _begun(here)
    outage = _suffer(here, task, scan, fault)
    assert _play(scan).is_completed()
    outage.join()
    assert outage.was_seen, "it was in the spool meanwhile"
    _once(here, scan, task)


def test_what_is_found_while_postgresql_is_away_is_spooled_and_kept_by_the_same_flow(
    postgres_url: str, tmp_path: Path, quick: None, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = new_postgres_database(postgres_url)
    settings = Settings(home=tmp_path, database_url=url, scope_allow=("127.0.0.0/8",))  # type: ignore[arg-type]
    with _installed(settings, monkeypatch) as here:
        scan = _begun(here)
        outage = _suffer(here, task, scan, _away)
        assert _play(scan).is_completed()
        outage.join()
        assert outage.was_seen
        _once(here, scan, task)


@pytest.mark.skipif(os.geteuid() != 0, reason="no file system can be mounted here: that needs root")
def test_a_disk_that_takes_neither_leaves_the_result_in_memory_and_both_are_said(
    tmp_path: Path, quick: None, task: Task, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with _small_disk(tmp_path / "disk") as disk:
        settings = Settings(home=disk, scope_allow=("127.0.0.0/8",))  # type: ignore[arg-type]
        with _installed(settings, monkeypatch) as here:
            scan = _begun(here)
            outage = Outage(_filled(disk), lambda: "in memory only" in caplog.text)
            task.on_found = outage.begin
            assert _play(scan).is_completed()
            outage.join()
            said = [record.message for record in caplog.records if record.levelno == logging.ERROR]
            _once(here, scan, task)
    assert said == [
        "the store's disk is full: database or disk is full (make room where the database is; what scans find is kept "
        "meanwhile); the spool cannot be written either (No space left on device): what nmap batch 1 found is in "
        "memory only"
    ]


@contextmanager
def _small_disk(directory: Path) -> Iterator[Path]:
    directory.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m,mode=0700", "tmpfs", str(directory)], check=True)
    try:
        yield directory
    finally:
        subprocess.run(["umount", "--lazy", str(directory)], check=True)


@contextmanager
def _filled(disk: Path) -> Iterator[None]:
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for size in (65536, 4096, 1):
            try:
                while True:
                    file.write(b"\0" * size)
            except OSError:
                continue
    yield
    ballast.unlink()


def _find_in_vain(here: Installation, task: Task, scan: Begun) -> None:
    """The first unit ends while the store is locked."""
    with here.store.write() as session:
        plan_unit(session, scan.id, scan.attempt, Unit("nmap", 1, 0, (Host("127.0.0.1"),)))
    with ExitStack() as locked:
        task.on_found = lambda: locked.enter_context(_locked(here.store)) and None
        state = running.run_scan.fn(scan, "nmap", 1)
    assert state.message == "done, 1 records for when the store is back"
    task.on_found = lambda: None


def _lose_flow(here: Installation, task: Task, scan: Begun) -> None:
    """The first unit ends while the store is locked, and its flow is killed."""
    _find_in_vain(here, task, scan)
    results._held.clear()  # as a process that is gone has nothing in memory


def _next(here: Installation, scan: Begun) -> Begun:
    with here.store.write() as session:
        put_back(session, scan.id, attempt=scan.attempt, reason="worker lost", at=now(), losses=0)
        task_id = session.get_one(Scan, scan.id).task_id
        assert task_id is not None
        return begin(session, scan.id, task_id)


def test_the_next_attempt_takes_over_what_a_killed_flow_left_in_the_spool(here: Installation, task: Task) -> None:
    scan = _begun(here)
    _lose_flow(here, task, scan)
    assert Spool(here.settings.spool_dir).look().waiting == 1
    assert _play(_next(here, scan)).is_completed()
    _once(here, scan, task)


def test_a_file_that_outlived_its_commit_is_not_kept_twice(here: Installation, task: Task) -> None:
    scan = _begun(here)
    _lose_flow(here, task, scan)
    spool = Spool(here.settings.spool_dir)
    [left] = spool.of_scan(scan.id, pytest.fail)
    second = _next(here, scan)
    assert results.take_up(here, second, logging.getLogger("tests")) == 1
    spool.keep(scan.id, left)
    third = _next(here, second)
    assert results.take_up(here, third, logging.getLogger("tests")) == 0
    assert _play(third).is_completed()
    _once(here, scan, task)


def test_a_broken_file_is_said_and_its_unit_runs_again(
    here: Installation, task: Task, caplog: pytest.LogCaptureFixture
) -> None:
    scan = _begun(here)
    _lose_flow(here, task, scan)
    [file] = (here.settings.spool_dir / str(scan.id)).iterdir()
    file.write_bytes(file.read_bytes()[:-20])
    assert _play(_next(here, scan)).is_completed()
    assert task.looked_at[0] == task.looked_at[1]
    assert f"{file.name} in the spool cannot be read" in caplog.text
    assert [path.name for path in file.parent.iterdir()] == [f"{file.name}.broken"]


def test_what_the_store_refuses_for_good_is_set_aside_and_the_scan_goes_on(
    here: Installation, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    scan = _begun(here)
    _lose_flow(here, task, scan)
    spool = Spool(here.settings.spool_dir)
    [left] = spool.of_scan(scan.id, pytest.fail)
    # No database takes a name that is none: `module` may not be null.
    spool.keep(scan.id, replace(left, unit=replace(left.unit, module=None), attempt=9))  # type: ignore[arg-type]
    assert _play(_next(here, scan)).is_completed()
    assert spool.look().broken == 1
    assert len(task.looked_at) == 2


def test_a_scan_that_is_stopped_by_its_worker_leaves_what_the_store_can_take_by_then(
    here: Installation, task: Task
) -> None:
    scan = _begun(here)
    conductor = Conductor(scan)
    with pytest.raises(TerminationSignal), conductor:
        _be_stopped(lambda: _find_in_vain(here, task, scan))
    with here.store.read() as session:
        row = session.get_one(Scan, scan.id)
        assert (row.status, row.waiting) == ("RETRY", "its worker was stopped")
        assert session.scalar(select(func.count()).select_from(ServiceRow)) == 1
    assert Spool(here.settings.spool_dir).scans() == []
    assert _play(_next(here, scan)).is_completed()
    _once(here, scan, task)


def _be_stopped(after: Callable[[], None]) -> NoReturn:
    after()
    raise TerminationSignal(15)
