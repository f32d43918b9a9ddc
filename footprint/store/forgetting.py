"""Taking out of the store what retention gives up, in transactions so short that running scans hardly wait."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any
from typing import cast as typed

from sqlalchemy import CursorResult, Engine, delete, exists, make_url, select
from sqlalchemy.orm import Session

from footprint.states import LIVE, TERMINAL
from footprint.store.claim_table import ClaimRow
from footprint.store.engine import Store
from footprint.store.retention import Doomed
from footprint.store.schedule_tables import ScheduleRunRow
from footprint.store.schedule_turns import OF_RUN
from footprint.store.tables import Scan

SCANS_AT_ONCE, RECORDS_AT_ONCE = 25, 2_500
"""What one transaction takes out at most; a scan that saw more is taken out by itself."""
PAGES_AT_ONCE = 500
LEAST_PAUSE = 0.02
SETTLED_AFTER = timedelta(hours=1)
TURNS_KEPT = timedelta(days=90)
WORTH_A_REBUILD, BYTES_WORTH_IT = 0.25, 16_000_000
"""The part of a store that is free, and its bytes, for which a store of an older shape is written anew."""


def forget_scans(store: Store, doomed: Sequence[Doomed]) -> Iterator[Doomed]:
    """Take these scans out, a few in each transaction; yields those that are gone, as they go."""
    for some in _portions(doomed):
        begun = time.monotonic()
        with store.write() as session:
            ended = delete(Scan).where(Scan.id.in_([scan.id for scan in some]), Scan.status.in_(TERMINAL))
            gone = set(session.scalars(ended.returning(Scan.id)))
        yield from (scan for scan in some if scan.id in gone)
        # SQLite lets one write at a time: who waits for it gets as much of it as this took.
        time.sleep(max(LEAST_PAUSE, time.monotonic() - begun))


def _portions(doomed: Sequence[Doomed]) -> Iterator[list[Doomed]]:
    some: list[Doomed] = []
    for scan in doomed:
        if some and (len(some) >= SCANS_AT_ONCE or sum(one.records for one in some) + scan.records > RECORDS_AT_ONCE):
            yield some
            some = []
        some.append(scan)
    if some:
        yield some


def _claims_of_ended(session: Session, before: datetime) -> int:
    """Claims whose scan has ended, or has begun anew since: what a killed flow left. They count for nothing."""
    held = select(ClaimRow.id).join(Scan, Scan.id == ClaimRow.scan_id)
    dead = held.where(Scan.status.not_in(LIVE) | (Scan.attempt != ClaimRow.attempt))
    return _deleted(session, delete(ClaimRow).where(ClaimRow.id.in_(dead)))


def _turns_without_a_scan(session: Session, before: datetime) -> int:
    """Times of schedules at which nothing was scanned, or whose scan is forgotten, of long ago."""
    old = select(ScheduleRunRow.id).where(ScheduleRunRow.came_at < before - TURNS_KEPT)
    return _deleted(session, delete(ScheduleRunRow).where(ScheduleRunRow.id.in_(old.where(~exists().where(OF_RUN)))))


SETTLED: tuple[Callable[[Session, datetime], int], ...] = (_claims_of_ended, _turns_without_a_scan)
"""What else is over and done with: each deletes what was settled before a time, and says how many rows that were."""


def forget_settled(store: Store, at: datetime) -> int:
    """Delete what is settled and nobody reads any more; returns the number of rows."""
    count = 0
    for forget in SETTLED:
        with store.write() as session:
            count += forget(session, at - SETTLED_AFTER)
    return count


def _deleted(session: Session, statement: Any) -> int:
    return typed("CursorResult[Any]", session.execute(statement)).rowcount


def shrink(store: Store) -> int:
    """Give the pages that were freed back to the disk; returns the bytes. PostgreSQL sees to that itself.

    A store that SQLite made without `auto_vacuum` is written anew, once, where a quarter of it is
    free and nothing runs.
    """
    if make_url(store.engine.url).get_backend_name() != "sqlite":
        return 0
    before = _pages(store.engine)
    if _ask(store.engine, "PRAGMA auto_vacuum"):
        while _ask(store.engine, "PRAGMA freelist_count"):
            free = _ask(store.engine, "PRAGMA freelist_count")
            _run(store.engine, f"PRAGMA incremental_vacuum({PAGES_AT_ONCE})")
            if _ask(store.engine, "PRAGMA freelist_count") >= free:
                break
            time.sleep(LEAST_PAUSE)
    elif _is_worth_a_rebuild(store):
        _run(store.engine, "PRAGMA auto_vacuum=INCREMENTAL", "VACUUM")
    _run(store.engine, "PRAGMA wal_checkpoint(PASSIVE)")
    return max(0, before - _pages(store.engine))


def _is_worth_a_rebuild(store: Store) -> bool:
    free = _ask(store.engine, "PRAGMA freelist_count") * _ask(store.engine, "PRAGMA page_size")
    if free < BYTES_WORTH_IT or free < WORTH_A_REBUILD * _pages(store.engine):
        return False
    with store.read() as session:
        return session.scalars(select(Scan.id).where(Scan.status.in_(LIVE)).limit(1)).first() is None


def _pages(engine: Engine) -> int:
    return _ask(engine, "PRAGMA page_count") * _ask(engine, "PRAGMA page_size")


def _ask(engine: Engine, question: str) -> int:
    connection = engine.raw_connection()
    try:
        return int(connection.cursor().execute(question).fetchone()[0])
    finally:
        connection.close()


def _run(engine: Engine, *statements: str) -> None:
    """Run statements to their end, outside of a transaction, on one connection."""
    connection = engine.raw_connection()
    try:
        # A cursor's `execute` takes the first step of a statement without columns only: one page of a vacuum.
        connection.driver_connection.executescript(";".join(statements))  # type: ignore[union-attr]
    finally:
        connection.close()
