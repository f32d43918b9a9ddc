"""Insert what is new, update what is known, in one statement, on SQLite and PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import Column, Row
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from footprint.store.tables import Table

ROWS_AT_ONCE = 400
"""Keeps a statement below SQLite's limit of bound values (32,766)."""

Changes = Callable[[Any], dict[str, Any]]


def upsert(
    session: Session,
    table: type[Table],
    rows: Sequence[dict[str, Any]],
    keys: Sequence[str],
    changes: Changes,
    returning: Sequence[Column[Any] | Any],
) -> list[Row[Any]]:
    """Save rows by their natural key and return columns of each, old or new.

    `changes` is given the row that was to be inserted (SQL's `excluded`) and says what an existing row takes from
    it. Rows must be unique by key; give them in the order of their keys, so that two writers cannot deadlock.
    """
    dialect = session.get_bind().dialect.name
    insert = sqlite.insert if dialect == "sqlite" else postgresql.insert
    found: list[Row[Any]] = []
    for start in range(0, len(rows), ROWS_AT_ONCE):
        statement = insert(table).values(list(rows[start : start + ROWS_AT_ONCE]))
        statement = statement.on_conflict_do_update(index_elements=list(keys), set_=changes(statement.excluded))
        found.extend(session.execute(statement.returning(*returning)).all())
    return found
