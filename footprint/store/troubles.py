"""What a database says of itself when it cannot be read or written, in the operator's words."""

from __future__ import annotations

from sqlalchemy.exc import DBAPIError, InterfaceError, InternalError, OperationalError

from footprint.errors import StoreUnavailable

SAID_KEPT = 200
READ_ONLY = "25006"
"""What PostgreSQL calls a write to a server that takes none, as a replica."""

LOCKED = ("the store is locked", "end what holds the database, a backup or a shell; it is tried again until then")
FULL = ("the store's disk is full", "make room where the database is; what scans find is kept meanwhile")
UNWRITABLE = ("the store is read-only", "let the platform's user write the database, its file and its directory")
UNREADABLE = ("the store cannot be opened", "is its directory there, and may the platform's user read and write it?")
AWAY = ("the store does not answer", "start the database that PULSAR_DATABASE_URL names")
KNOWN = (
    ("database is locked", LOCKED),
    ("database table is locked", LOCKED),
    ("lock timeout", LOCKED),
    ("database or disk is full", FULL),
    ("No space left on device", FULL),
    ("readonly database", UNWRITABLE),
    ("read-only transaction", UNWRITABLE),
    ("unable to open database file", UNREADABLE),
)
"""Words of SQLite (sqlite.org/rescode.html) and PostgreSQL (errcodes, class 53, 55 and 25), and what they mean."""


def said_by_database(error: BaseException | None) -> str:
    """The first line of what the database itself said; empty where it said nothing."""
    said = str(getattr(error, "orig", None) or "").splitlines()
    return said[0][:SAID_KEPT] if said else ""


def trouble_of(error: DBAPIError) -> StoreUnavailable | None:
    """The error to tell the operator; None where the database is well, and our statement is not."""
    said = said_by_database(error)
    if isinstance(error, InternalError) and getattr(error.orig, "sqlstate", "") != READ_ONLY:
        return None
    if not isinstance(error, OperationalError | InterfaceError | InternalError):
        return None
    detail, hint = next((words for mark, words in KNOWN if mark in said), AWAY)
    return StoreUnavailable(f"{detail}: {said}" if said else detail, hint=hint)
