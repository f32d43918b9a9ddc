"""Copies of the store made and put back: SQLite by itself, PostgreSQL with its own pg_dump and pg_restore.

Only Pulsar's own tables are copied and replaced: a PostgreSQL database may be shared with others.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import make_url, text

from footprint.errors import BackupFailed, InvalidBackup, ToolMissing
from footprint.settings import Settings
from footprint.store import migrate, open_store
from footprint.store.copies import (
    PREFIX,
    REPLACED,
    SUFFIXES,
    Copy,
    backend_of,
    backups_dir,
    check_revision,
    check_sqlite,
    copies_in,
    copy_sqlite,
    new_copy,
    own_tables,
    refuse_while_scanning,
    replace_sqlite,
    rotate,
    settle_restored,
    stamp,
)
from footprint.store.engine import connect
from tasks.runner import Limits, run, search_path
from tasks.tool import Command, Output

SECONDS = 3600
INSTALL = "apt-get install postgresql-client"
PASSWORD, SCRIPT = "password", "copy.sh"
_CALL = f'[ ! -e {PASSWORD} ] || chmod 600 {PASSWORD}; exec "$@"\n'
_VERSION = re.compile(r"^COPY [^\n]*\n(?P<rows>.*?)^\\\.$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Restored:
    """What a restore did: where the replaced store is, if there was one, and how many scans it ended."""

    replaced: Path | None
    ended: int


def back_up(settings: Settings) -> Copy:
    """Make a copy of the store in the home, and remove the oldest beyond `keep_backups`. Raises `BackupFailed`.

    Also `ToolMissing` where PostgreSQL's own programs are not installed.
    """
    url, directory = settings.store_url, backups_dir(settings.home)
    name = f"{PREFIX}{stamp(datetime.now(UTC))}{SUFFIXES[backend_of(url)]}"
    with new_copy(directory, name) as draft:
        try:
            if backend_of(url) == "sqlite":
                copy_sqlite(url, draft)
            else:
                _dump(settings, draft)
            check(settings, draft)
        except InvalidBackup as broken:
            raise BackupFailed(
                f"the copy is not sound: {broken.detail}", hint="see to the disk, and try again"
            ) from None
    rotate(directory, settings.keep_backups)
    return next(copy for copy in copies_in(directory) if copy.path.name == name)


def check(settings: Settings, copy: Path) -> None:
    """Raise `InvalidBackup` where a file is no sound copy of this installation's kind of store."""
    if backend_of(settings.store_url) == "sqlite":
        check_sqlite(copy)
        return
    listed = _pg(settings, "pg_restore", "--list", str(copy))
    if listed.returncode != 0 or " TABLE DATA " not in listed.stdout:
        raise InvalidBackup(f"this is no copy of a store: {_last(listed)}", hint="`pulsar backup` makes them")
    told = _pg(settings, "pg_restore", "--data-only", "--table=alembic_version", "--file=-", str(copy))
    rows = _VERSION.search(told.stdout)
    check_revision(rows["rows"].split() if rows else [])


def restore(settings: Settings, copy: Path) -> Restored:
    """Put a copy in the place of the store, and keep the replaced one. Nobody else may be at work on it.

    Raises `InvalidBackup`, `Conflict` while a scan goes on, `BackupFailed` where the store is as it was.
    """
    url, at = settings.store_url, datetime.now(UTC)
    check(settings, copy)
    refuse_while_scanning(url)
    replace = _replace_sqlite if backend_of(url) == "sqlite" else _replace_postgres
    replaced = replace(settings, copy, at)
    migrate(url)
    store = open_store(url)
    try:
        return Restored(replaced, settle_restored(store, at))
    finally:
        store.close()


def _replace_sqlite(settings: Settings, copy: Path, at: datetime) -> Path | None:
    return replace_sqlite(settings.store_url, copy, at)


def _replace_postgres(settings: Settings, copy: Path, at: datetime) -> Path | None:
    directory = backups_dir(settings.home)
    beside: Path | None = directory / f"{REPLACED}{stamp(at)}{SUFFIXES['postgresql']}"
    if _drop_tables(settings, only_look=True):
        assert beside is not None
        with new_copy(directory, beside.name) as draft:
            _dump(settings, draft)
    else:
        beside = None
    _drop_tables(settings)
    if trouble := _load(settings, copy):
        back = "the store is empty" if beside is None else "the store is as it was"
        if beside is not None and (worse := _load(settings, beside)):
            back = f"the store could not be put back either ({worse}): it is in {beside.name}"
        raise BackupFailed(f"the copy could not be put in place: {trouble}; {back}")
    return beside


def _load(settings: Settings, copy: Path) -> str:
    """Put a dump into a database without our tables, whole or not at all; returns what went wrong, or nothing."""
    manner = ("--single-transaction", "--exit-on-error", "--no-owner", "--no-privileges")
    loaded = _pg(settings, "pg_restore", *manner, f"--dbname={_address(settings)}", str(copy))
    return "" if loaded.returncode == 0 else _last(loaded)


def _dump(settings: Settings, target: Path) -> None:
    # Only what is there: pg_dump takes a pattern that matches nothing for a mistake where it is the only one.
    tables = [f"--table={name}" for name in own_tables()]
    manner = ("--format=custom", "--no-owner", "--no-privileges", f"--file={target}")
    dumped = _pg(settings, "pg_dump", *manner, *tables, f"--dbname={_address(settings)}")
    if dumped.returncode != 0:
        raise BackupFailed(f"pg_dump: {_last(dumped)}", hint="it must not be older than the server; is there room?")


def _drop_tables(settings: Settings, *, only_look: bool = False) -> bool:
    """Remove our tables; returns whether there were any."""
    store = connect(settings.store_url)
    try:
        with store.write() as session:
            there = [name for name in own_tables() if session.scalar(text("SELECT to_regclass(:name)"), {"name": name})]
            for name in () if only_look else there:
                session.execute(text(f'DROP TABLE IF EXISTS "{name}" CASCADE'))
        return bool(there)
    finally:
        store.close()


def _pg(settings: Settings, program: str, *words: str) -> Output:
    """Run one of PostgreSQL's programs; the password travels in a file of the run's own directory."""
    if shutil.which(program, path=search_path()) is None:
        raise ToolMissing(f"{program}: not installed here", hint=INSTALL)
    password = make_url(settings.store_url).password
    files = {SCRIPT: _CALL} | ({PASSWORD: _password_line(str(password))} if password else {})
    limits = Limits(SECONDS, settings.work_dir, may_write=None)
    return run(Command(("sh", SCRIPT, program, *words), files), limits)


def _address(settings: Settings) -> str:
    url = make_url(settings.store_url).set(drivername="postgresql", password=None)
    own = Path(os.environ.get("PGPASSFILE", Path("~/.pgpass").expanduser()))
    if make_url(settings.store_url).password:
        url = url.update_query_dict({"passfile": PASSWORD})
    elif own.is_file():
        url = url.update_query_dict({"passfile": str(own)})
    # libpq's own form: the user without a colon.
    return url.set(password=None).render_as_string(hide_password=False)


def _password_line(password: str) -> str:
    escaped = password.replace("\\", "\\\\").replace(":", "\\:")
    return f"*:*:*:*:{escaped}\n"


def _last(output: Output) -> str:
    said: Sequence[str] = output.stderr.strip().splitlines()[-1:] or [f"it ended with {output.returncode}"]
    return said[0]
