"""Copies of a store made while it is written to, checked, and put back: on SQLite and on PostgreSQL."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from alembic import command
from sqlalchemy import func, select, text, update

from footprint.errors import BackupFailed, Conflict, InvalidBackup, ToolMissing
from footprint.records import Host, Service
from footprint.settings import Settings
from footprint.states import Status
from footprint.store import Store, engine, migrate, open_store
from footprint.store.chores import chores_done
from footprint.store.copies import backups_dir, copies_in, own_tables
from footprint.store.scans import begin, insert_scan
from footprint.store.tables import Scan, ServiceRow
from tasks import copies
from tasks.chores import make_backup
from tasks.copies import back_up, check, restore
from tests.footprint.test_differences import ADDRESS, NEW, WEB, asked, scanned

BOTH = asked("nmap", Host(ADDRESS), Host(ADDRESS), WEB, Service(ADDRESS, 22))
EARLIER = "0011"


@pytest.fixture
def settings(store_url: str, tmp_path: Path) -> Settings:
    """An installation on each database."""
    if store_url.startswith("postgresql") and shutil.which("pg_dump") is None:
        pytest.skip("not installed: apt-get install postgresql-client")
    return Settings(home=tmp_path / "home", database_url=store_url)


@pytest.fixture
def opened(store_url: str) -> Iterator[Store]:
    migrate(store_url)
    store = open_store(store_url)
    yield store
    store.close()


def held(url: str) -> tuple[int, int]:
    """How many scans and services a store has."""
    store = open_store(url)
    try:
        with store.read() as session:
            scans = session.scalar(select(func.count()).select_from(Scan))
            return scans or 0, session.scalar(select(func.count()).select_from(ServiceRow)) or 0
    finally:
        store.close()


def test_a_copy_is_put_back_and_what_was_replaced_is_kept(settings: Settings, opened: Store) -> None:
    scanned(opened, BOTH)
    with opened.write() as session:
        begun = begin(session, insert_scan(session, NEW)[0].id, uuid4())
        waiting, _ = insert_scan(session, NEW)
    copy = make_backup(settings, opened)
    with opened.read() as session:
        assert [(chore.name, chore.is_well) for chore in chores_done(session)] == [("backup", True)]
    assert copy.path.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in copy.path.parent.iterdir()] == [copy.path.name]
    scanned(opened, asked("nmap", Host(ADDRESS), Service(ADDRESS, 8080)))
    with opened.write() as session:
        session.execute(update(Scan).values(lease_until=None))
    opened.close()
    assert held(settings.store_url) == (4, 3)
    done = restore(settings, copy.path)
    assert held(settings.store_url) == (3, 2)
    assert done.ended == 1
    store = open_store(settings.store_url)
    with store.write() as session:
        ended, left = session.get_one(Scan, begun.id), session.get_one(Scan, waiting.id)
        assert (ended.status, left.status) == (Status.FAILURE, Status.PENDING)
        assert "when the copy of the store was made" in (ended.error or "")
        insert_scan(session, NEW)
    scanned(store, BOTH)
    store.close()
    assert done.replaced is not None
    again = restore(settings, done.replaced)
    assert held(settings.store_url) == (4, 3)
    assert again.replaced is not None


def test_a_copy_is_consistent_though_the_store_is_written_to(settings: Settings, opened: Store) -> None:
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            scanned(opened, BOTH)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        made = back_up(settings)
    finally:
        stop.set()
        writer.join()
    check(settings, made.path)


def test_nothing_is_put_in_the_place_of_a_store_at_work(settings: Settings, opened: Store) -> None:
    copy = back_up(settings)
    with opened.write() as session:
        begin(session, insert_scan(session, NEW)[0].id, uuid4())
    with pytest.raises(Conflict, match="a scan is going on"):
        restore(settings, copy.path)
    assert held(settings.store_url) == (1, 0)


def test_what_is_no_copy_is_refused_and_nothing_is_changed(settings: Settings, opened: Store, tmp_path: Path) -> None:
    scanned(opened, BOTH)
    copy = back_up(settings).path
    broken, nonsense = tmp_path / "broken", tmp_path / "nonsense"
    data = copy.read_bytes()
    broken.write_bytes(data[: len(data) // 3])
    nonsense.write_text("hello")
    for bad in (broken, nonsense):
        with pytest.raises(InvalidBackup):
            restore(settings, bad)
    with opened.write() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(BackupFailed, match="not sound"):
        back_up(settings)
    with opened.write() as session:
        session.execute(text(f"UPDATE alembic_version SET version_num = '{engine._head()}'"))
    assert held(settings.store_url) == (1, 2)
    assert len(copies_in(copy.parent)) == 1


def test_an_earlier_versions_copy_is_brought_to_this_shape(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home")
    migrate(settings.store_url)
    copy = back_up(settings).path
    copy.unlink()
    earlier = engine.connect(f"sqlite:///{copy}")
    with earlier.write() as session:
        config = engine._config()
        config.attributes["connection"] = session.connection()
        command.upgrade(config, EARLIER)
    earlier.close()
    restore(settings, copy)
    assert held(settings.store_url) == (0, 0)


def test_a_postgres_that_refuses_leaves_the_store_as_it_was(
    postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.conftest import new_postgres_database

    settings = Settings(home=tmp_path / "home", database_url=new_postgres_database(postgres_url))
    migrate(settings.store_url)
    store = open_store(settings.store_url)
    scanned(store, BOTH)
    store.close()
    copy = back_up(settings).path
    monkeypatch.setattr(copies, "_load", _failing_once(copies._load))
    with pytest.raises(BackupFailed, match="the store is as it was"):
        restore(settings, copy)
    assert held(settings.store_url) == (1, 2)


def _failing_once(load):  # type: ignore[no-untyped-def]
    tries = iter(["no room"])
    return lambda settings, copy: next(tries, None) or load(settings, copy)


def test_without_postgres_own_programs_the_backup_says_so(
    postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copies, "search_path", lambda: str(tmp_path))
    settings = Settings(home=tmp_path / "home", database_url=f"{postgres_url}postgres")
    with pytest.raises(ToolMissing, match="pg_dump: not installed"):
        back_up(settings)
    assert list(backups_dir(settings.home).iterdir()) == []


def test_the_oldest_copies_go(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home", keep_backups=2)
    migrate(settings.store_url)
    directory = backups_dir(settings.home)
    directory.mkdir(parents=True)
    for day in (1, 2, 3):
        (directory / f"pulsar-2026010{day}T030000Z.db").touch()
    for other in ("pulsar-mine.db", "replaced-20250101T000000Z.db", "notes"):
        (directory / other).touch()
    made = back_up(settings)
    assert sorted(path.name for path in directory.iterdir()) == [
        "notes", "pulsar-20260103T030000Z.db", made.path.name, "pulsar-mine.db", "replaced-20250101T000000Z.db",
    ]  # fmt: skip
    assert datetime.now(UTC) - made.at < timedelta(minutes=1)


def test_every_table_is_copied(opened: Store) -> None:
    query = "SELECT name FROM sqlite_master WHERE type = 'table'"
    if opened.engine.dialect.name == "postgresql":
        query = "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
    with opened.read() as session:
        assert {row[0] for row in session.execute(text(query))} == set(own_tables())
