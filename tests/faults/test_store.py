"""A store that is locked, full, read-only or away while a scan runs: nothing is lost, and whoever asks is told."""

from __future__ import annotations

import logging
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from sqlalchemy import create_engine, text

from footprint.admission import NewScan
from footprint.errors import StoreUnavailable
from footprint.policy import ScanPolicy
from footprint.records import Host, Service
from footprint.settings import Settings
from footprint.spool import Spool
from footprint.store import engine, migrate, open_store
from footprint.store.checkup import trouble_writing
from footprint.store.scans import begin, insert_scan
from footprint.store.units import Settlement, Unit, plan_unit
from footprint.store.views import services_of_scan
from footprint.verdict import UnitStatus
from tasks import results
from tasks import run_scan as task_of_scans
from tasks.installation import Installation
from tests.conftest import new_postgres_database
from tests.faults.clock import CLOCK
from tests.faults.gateway import Gateway
from tests.faults.ground import POLICY, Ground, Told, standing, until
from tests.faults.invariants import Watch

SECONDS = 20.0
"""How long a store is away: longer than one writer waits (10 s), shorter than a lease (60 s)."""
AWAY_SECONDS = 10.0
"""How long a flow that is to begin finds no store: several tries."""


def _database(ground: Ground) -> Path:
    return Path(ground.settings.store_url.removeprefix("sqlite:///"))


@contextmanager
def _locked(database: Path) -> Iterator[None]:
    with closing(sqlite3.connect(database, timeout=30, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


@contextmanager
def _full(database: Path) -> Iterator[None]:
    """Fill the file system to its last byte, once SQLite has nothing put aside that it could use again."""
    ballast = database.with_name("ballast")
    with closing(sqlite3.connect(database, timeout=5)) as other:
        # Busy is the first word of the answer: somebody still reads what was to be moved.
        until(lambda: other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0, 10)
    try:
        with ballast.open("wb", buffering=0) as file:
            _fill(file.fileno())
            yield
    finally:
        ballast.unlink()


def _fill(file: int) -> None:
    for size in (1 << 20, 4096, 1):
        try:
            while True:
                os.write(file, b"\0" * size)
        except OSError:
            continue


def _asked(ground: Ground) -> httpx.Response:
    return ground.try_to_ask(ground.plot())


def _what_is_seen_meanwhile(ground: Ground, scan: Told, *, reads: bool) -> None:
    """Who writes is told to come back, and who reads is answered, or told so too; never anything else."""
    deadline = time.monotonic() + SECONDS
    refused = _asked(ground)
    assert (refused.status_code, refused.json()["error"]) == (503, "store_unavailable"), refused.text
    assert int(refused.headers["Retry-After"]) > 0
    while time.monotonic() < deadline:
        read = ground.api.get(f"/api/scans/{scan['id']}/")
        assert read.status_code == (200 if reads else 503), read.text
        assert not reads or read.json()["status"] == "STARTED"
        time.sleep(0.5)
    CLOCK.strike()


@pytest.mark.fault("store locked for 20 s")
def test_a_scan_outlasts_a_lock_on_the_store(ground: Ground) -> None:
    ground.undisturbed()
    plot = ground.plot("hold")
    scan = ground.ask(plot)
    ground.tool(scan)
    with _locked(_database(ground)):
        ground.behave(plot)
        _what_is_seen_meanwhile(ground, scan, reads=True)
    assert ground.attempts(ground.is_whole(scan, plot)) == (1, 0)


@pytest.mark.fault("store's disk full for 20 s")
def test_a_scan_outlasts_a_disk_that_is_full(ground: Ground) -> None:
    if not ground.is_disk_small:
        pytest.skip("no file system can be mounted here: that needs root")
    ground.undisturbed()
    plot = ground.plot("hold")
    scan = ground.ask(plot)
    ground.tool(scan)
    with _full(_database(ground)):
        ground.behave(plot)
        _what_is_seen_meanwhile(ground, scan, reads=True)
    assert ground.attempts(ground.is_whole(scan, plot)) == (1, 0)


def test_a_database_file_that_may_only_be_read_is_read_and_refuses_to_be_written(ground: Ground) -> None:
    ground.undisturbed()  # so that there is something to read
    only_read = open_store(f"sqlite:///file:{_database(ground)}?mode=ro&uri=true")
    try:
        with only_read.read() as session:
            assert session.scalar(text("SELECT count(*) FROM scans")) is not None
        assert trouble_writing(only_read) == "attempt to write a readonly database"
        with pytest.raises(StoreUnavailable), only_read.write() as session:
            session.execute(text("UPDATE scans SET progress = progress"))
    finally:
        only_read.close()


@pytest.fixture(scope="module")
def on_postgres(postgres_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Ground, Gateway, str]]:
    """A platform whose store is PostgreSQL behind a gateway, and where that really is."""
    database = new_postgres_database(postgres_url)
    port = int(database.rpartition(":")[2].partition("/")[0])
    with Gateway(port, answer=b"") as gateway:
        url = database.replace(f":{port}/", f":{gateway.port}/")
        with standing(tmp_path_factory.mktemp("postgres"), database_url=url) as ground:
            yield ground, gateway, database


@contextmanager
def _read_only(database: str) -> Iterator[None]:
    """What a PostgreSQL server is told when it becomes a replica, or its disk is full."""
    engine = create_engine(database, isolation_level="AUTOCOMMIT")
    name = database.rpartition("/")[2]
    here = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :name AND pid <> pg_backend_pid()"

    def switch(word: str) -> None:
        with engine.connect() as connection:
            connection.execute(text(f"ALTER DATABASE {name} SET default_transaction_read_only = {word}"))
            connection.execute(text(here), {"name": name})  # for those who are connected it holds from now on only so

    switch("on")
    try:
        yield
    finally:
        other = create_engine(database.replace(name, "postgres"), isolation_level="AUTOCOMMIT")
        engine.dispose()
        engine = other
        switch("off")
        other.dispose()


@contextmanager
def _away(gateway: Gateway) -> Iterator[None]:
    gateway.close_door()
    try:
        yield
    finally:
        gateway.open_door()


@pytest.mark.fault("PostgreSQL {} for 20 s")
@pytest.mark.parametrize("fault", ["read-only", "away"])
def test_a_scan_outlasts_a_postgresql_that_is_read_only_or_away(
    on_postgres: tuple[Ground, Gateway, str], fault: str
) -> None:
    ground, gateway, database = on_postgres
    with Watch(ground.store) as watch:
        ground.undisturbed()
        plot = ground.plot("hold")
        scan = ground.ask(plot)
        ground.tool(scan)
        with _read_only(database) if fault == "read-only" else _away(gateway):
            ground.behave(plot)
            _what_is_seen_meanwhile(ground, scan, reads=fault == "read-only")
        assert ground.attempts(ground.is_whole(scan, plot)) == (1, 0)
        ground.settle()
    assert [*watch.violations, *ground.violations()] == []


@pytest.mark.fault("PostgreSQL away as a flow begins")
def test_a_flow_that_starts_while_postgresql_is_away_waits_for_it(on_postgres: tuple[Ground, Gateway, str]) -> None:
    ground, gateway, _ = on_postgres
    with Watch(ground.store) as watch:
        ground.undisturbed()
        plot = ground.plot()
        with ExitStack() as stack:
            with ground.paused():
                scan = ground.ask(plot)
                stack.enter_context(_away(gateway))
            until(lambda: _state_of_run(ground, scan) == "RUNNING", 60)
            time.sleep(AWAY_SECONDS)
            assert _state_of_run(ground, scan) == "RUNNING"
        CLOCK.strike()
        assert ground.attempts(ground.is_whole(scan, plot)) == (1, 0)
        ground.settle()
    assert [*watch.violations, *ground.violations()] == []


def _state_of_run(ground: Ground, scan: Told) -> str:
    return str(ground.prefect.get(f"/flow_runs/{scan['task_id']}").json()["state"]["type"])


def test_what_a_unit_found_outlasts_a_store_that_is_away_for_longer_than_a_flow_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "BUSY_SECONDS", 1)
    monkeypatch.setattr(engine, "PATIENCE_SECONDS", 1)
    settings = Settings(home=tmp_path)
    migrate(settings.store_url)
    with closing(open_store(settings.store_url)) as store, ExitStack() as stack:
        with store.write() as session:
            asked = NewScan(Host("127.0.0.1"), ScanPolicy.model_validate({**POLICY, "name": "inline"}), "", "api")
            scan = begin(session, insert_scan(session, asked)[0].id, uuid4())
            plan_unit(session, scan.id, scan.attempt, Unit("nmap", 1, 0, (Host("127.0.0.1"),)))

        def find(*_: object) -> Settlement:
            lock = stack.enter_context(ExitStack())
            lock.enter_context(_locked(tmp_path / "pulsar.db"))
            release.append(lock.close)
            return Settlement(UnitStatus.DONE, records=(Service("127.0.0.1", 22),))

        release: list[Callable[[], None]] = []
        monkeypatch.setattr(task_of_scans, "installation", lambda: Installation(settings, store))
        monkeypatch.setattr(task_of_scans, "carry_out", find)
        monkeypatch.setattr(task_of_scans, "get_run_logger", lambda: logging.getLogger("tests"))
        try:
            task_of_scans.run_scan.fn(scan, "nmap", 1)
        finally:
            release[0]()

        spool = Spool(settings.spool_dir)
        assert spool.look().waiting == 1
        results.settle_rest(Installation(settings, store), scan)
        with store.read() as session:
            assert services_of_scan(session, scan.id, 0, 10)[1] == 1
        assert spool.scans() == []
