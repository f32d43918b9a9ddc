"""A database that cannot be written says why, and what to do: the errors are the databases' own."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import IntegrityError

from footprint.errors import StoreUnavailable
from footprint.store import Store, engine, migrate, open_store
from footprint.store.checkup import trouble_writing
from footprint.store.engine import connect
from tests.conftest import new_postgres_database

CHANGE = text("UPDATE scans SET comment = comment")
ADD = text("INSERT INTO assets (id, name, created_at) VALUES (:id, :name, '2026-05-04')")


@contextmanager
def _locked(path: Path) -> Iterator[Store]:
    with closing(open_store(f"sqlite:///{path}")) as store, closing(sqlite3.connect(path)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield store


@contextmanager
def _full(path: Path) -> Iterator[Store]:
    with closing(open_store(f"sqlite:///{path}")) as store:
        with store.engine.connect() as connection:
            # Of this connection, which is the pool's only one.
            connection.exec_driver_sql("PRAGMA max_page_count=1")
        yield store


@contextmanager
def _read_only(path: Path) -> Iterator[Store]:
    with closing(open_store(f"sqlite:///file:{path}?mode=ro&uri=true")) as store:
        yield store


@contextmanager
def _gone(path: Path) -> Iterator[Store]:
    with closing(connect(f"sqlite:///{path.parent / 'nowhere' / 'pulsar.db'}")) as store:
        yield store


Fault = Callable[[Path], AbstractContextManager[Store]]


@pytest.mark.parametrize(
    ("fault", "detail", "remedy"),
    [
        (_locked, "the store is locked: database is locked", "end what holds the database"),
        (_full, "the store's disk is full: database or disk is full", "make room"),
        (_read_only, "the store is read-only: attempt to write a readonly database", "let the platform's user write"),
        (_gone, "the store cannot be opened: unable to open database file", "is its directory there"),
    ],
)
def test_what_sqlite_says_comes_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: Fault, detail: str, remedy: str
) -> None:
    monkeypatch.setattr(engine, "BUSY_SECONDS", 0.1)
    path = tmp_path / "pulsar.db"
    migrate(f"sqlite:///{path}")
    row = {"id": "1" * 32, "name": "x" * 100_000}
    with fault(path) as store, pytest.raises(StoreUnavailable) as caught, store.write() as session:
        session.execute(ADD, row)
    assert caught.value.detail == detail
    assert caught.value.hint.startswith(remedy)


def test_a_read_only_postgresql_is_said_to_be_one(postgres_url: str) -> None:
    url = new_postgres_database(postgres_url)
    migrate(url)
    other = create_engine(url, isolation_level="AUTOCOMMIT")
    with other.connect() as connection:
        name = url.rpartition("/")[2]
        connection.execute(text(f"ALTER DATABASE {name} SET default_transaction_read_only = on"))
    other.dispose()
    with closing(open_store(url)) as store:
        assert trouble_writing(store) == "cannot execute UPDATE in a read-only transaction"
        with pytest.raises(StoreUnavailable, match="the store is read-only"), store.write() as session:
            session.execute(CHANGE)


def test_a_statement_that_the_database_refuses_is_no_trouble_of_the_database(store: Store) -> None:
    rows = [{"id": "2" * 32, "name": "one"}] * 2
    with pytest.raises(IntegrityError), store.write() as session:
        session.execute(ADD, rows)
