"""Connections and transactions: one request or one unit is one transaction, on SQLite and PostgreSQL alike."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from threading import Event
from typing import Any, TypeVar

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session

from footprint.errors import StoreNotMigrated, StoreUnavailable
from footprint.store.troubles import trouble_of

BUSY_SECONDS = 10
"""How long a writer waits for another before it gives up."""
PATIENCE_SECONDS = 300
"""How long a scan goes on trying to keep what it found: a database may be restarted under it."""
RETRY_SECONDS = 1.0
POSTGRES_LIMITS = {
    "connect_timeout": 5,
    "tcp_user_timeout": 10_000,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "options": f"-c lock_timeout={BUSY_SECONDS * 1000}",
}
"""So that a database that has gone silent is noticed; in seconds, but for the milliseconds of the first time-out."""

T = TypeVar("T")


class Store:
    """The database of one installation; safe to share between threads."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._writing = engine.execution_options(pulsar_writes=True)

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A transaction that only reads. Raises `StoreUnavailable`."""
        with _translated(), Session(self.engine, expire_on_commit=False) as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """A transaction that is committed at the end, or rolled back whole. Raises `StoreUnavailable`."""
        with _translated(), Session(self._writing, expire_on_commit=False) as session, session.begin():
            yield session

    def keep(self, change: Callable[[Session], T], *, until: float = 0.0, stopped: Event | None = None) -> T:
        """Write, and go on trying while the store is away: for `PATIENCE_SECONDS`, or `until` where that is later.

        `until` is of the monotonic clock. Once `stopped` is set, each further failure is the last. Raises
        `StoreUnavailable` then.
        """
        until = max(until, time.monotonic() + PATIENCE_SECONDS)
        while True:
            try:
                with self.write() as session:
                    return change(session)
            except StoreUnavailable:
                if time.monotonic() > until or (stopped is not None and stopped.is_set()):
                    raise
                time.sleep(RETRY_SECONDS)

    def close(self) -> None:
        """Give all connections back."""
        self.engine.dispose()


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except DBAPIError as error:
        trouble = trouble_of(error)
        if trouble is None:
            raise
        raise trouble from error
    except PoolTimeout as error:
        raise StoreUnavailable("the store is busy: all its connections are in use") from error


def open_store(url: str) -> Store:
    """Open a migrated store. Raises `StoreNotMigrated` where `migrate` has not been run, or is of another version."""
    store = connect(url)
    if not is_migrated(store):
        store.close()
        raise StoreNotMigrated(
            "the store is not of this version's shape", hint="start the platform once: `pulsar up` migrates it"
        )
    return store


def is_migrated(store: Store) -> bool:
    """Whether a store is of this version's shape. Raises `StoreUnavailable`."""
    with _translated(), store.engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision() == _head()


def is_known_revision(revision: str) -> bool:
    """Whether a store of this revision can be brought to this version's shape."""
    return any(script.revision == revision for script in ScriptDirectory.from_config(_config()).walk_revisions())


def connect(url: str) -> Store:
    """Make the engine of a store, whatever state it is in."""
    if make_url(url).get_backend_name() != "sqlite":
        engine = create_engine(
            url,
            pool_pre_ping=True,
            pool_size=10,
            max_overflow=20,
            pool_timeout=BUSY_SECONDS,
            connect_args=POSTGRES_LIMITS,
        )
        return Store(engine)
    engine = create_engine(
        url, connect_args={"timeout": BUSY_SECONDS}, pool_size=20, max_overflow=20, pool_timeout=BUSY_SECONDS
    )
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return Store(engine)


def _prepare_sqlite(connection: sqlite3.Connection, _record: Any) -> None:
    connection.isolation_level = None  # BEGIN is ours: see _begin_sqlite
    if connection.execute("PRAGMA page_count").fetchone()[0] == 0:
        # Only a store that is being made takes it, before anything is written: see `forgetting`.
        connection.execute("PRAGMA auto_vacuum=INCREMENTAL")
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", f"busy_timeout={BUSY_SECONDS * 1000}"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    # A transaction that reads first and writes later fails at once when another wrote in between; one that is
    # going to write takes the lock at its start and waits for it.
    writes = connection.get_execution_options().get("pulsar_writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def migrate(url: str) -> None:
    """Bring a store to this version's shape; safe to repeat. Raises `StoreUnavailable`."""
    if (database := make_url(url).database) and url.startswith("sqlite") and database != ":memory:":
        Path(database).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    store = connect(url)
    try:
        with _translated(), store.write() as session:
            config = _config()
            config.attributes["connection"] = session.connection()
            command.upgrade(config, "head")
    finally:
        store.close()


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    return config


@cache
def _head() -> str | None:
    return ScriptDirectory.from_config(_config()).get_current_head()
