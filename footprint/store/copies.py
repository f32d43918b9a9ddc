"""Copies of a store: of SQLite made and put back here; for both databases what a copy is called and must hold."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

from sqlalchemy import make_url, select
from sqlalchemy.exc import SQLAlchemyError

import footprint.store
from footprint.errors import BackupFailed, Conflict, InvalidBackup, StoreUnavailable
from footprint.states import Status
from footprint.store.endings import finish
from footprint.store.engine import Store, connect, is_known_revision
from footprint.store.tables import Scan, Table, now
from footprint.verdict import Verdict

PREFIX, REPLACED = "pulsar-", "replaced-"
SUFFIXES = {"sqlite": ".db", "postgresql": ".dump"}
DRAFT = ".part"
"""A copy that is being made ends in this, and is no copy yet."""
BESIDE = ("", "-wal", "-shm")
"""What SQLite keeps a database in."""
VERSIONS = "alembic_version"


@dataclass(frozen=True, slots=True)
class Copy:
    """A copy of the store: where it is, when it was made, its bytes."""

    path: Path
    at: datetime
    bytes: int


def backups_dir(home: Path) -> Path:
    """Where copies of a home's store are kept."""
    return home / "backups"


def backend_of(url: str) -> str:
    """`sqlite` or `postgresql`."""
    return make_url(url).get_backend_name()


def stamp(at: datetime) -> str:
    """A time as it stands in the names of files."""
    return f"{at.astimezone(UTC):%Y%m%dT%H%M%S}Z"


def copies_in(directory: Path) -> list[Copy]:
    """The copies that were made, the oldest first. What was replaced by a restore is none of them."""
    found = []
    for path in directory.glob(f"{PREFIX}*"):
        if path.suffix in SUFFIXES.values():
            with suppress(ValueError, FileNotFoundError):
                at = datetime.strptime(path.stem.removeprefix(PREFIX), "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
                found.append(Copy(path, at, path.stat().st_size))
    return sorted(found, key=lambda copy: copy.at)


@contextmanager
def new_copy(directory: Path, name: str) -> Iterator[Path]:
    """Where to write a copy, readable by its owner only; it has its name once the block has ended well."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = directory / f"{name}{DRAFT}"
    draft.unlink(missing_ok=True)
    os.close(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    try:
        yield draft
        _sync(draft)
        draft.replace(directory / name)
        _sync(directory)
    finally:
        draft.unlink(missing_ok=True)


def rotate(directory: Path, keep: int) -> list[Path]:
    """Remove the oldest copies beyond so many; 0 keeps all."""
    old = [copy.path for copy in copies_in(directory)[:-keep]] if keep else []
    for path in old:
        path.unlink(missing_ok=True)
    return old


def copy_sqlite(url: str, target: Path) -> None:
    """Write a consistent copy into an empty file, while others read and write. Raises `BackupFailed`."""
    source = _file_of(url)
    if not source.exists():
        raise BackupFailed("there is no store yet", hint="`pulsar up` makes it at its first start")
    try:
        with closing(sqlite3.connect(source, timeout=30)) as connection:
            connection.execute("VACUUM INTO ?", (str(target),))
    except sqlite3.Error as error:
        raise BackupFailed(f"the store could not be copied: {error}", hint="is there room on the disk?") from error


def check_sqlite(path: Path) -> None:
    """Raise `InvalidBackup` where a file is no sound copy of a store that this version can bring up to its shape."""
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True)) as connection:
            if (said := connection.execute("PRAGMA integrity_check(1)").fetchone()[0]) != "ok":
                raise InvalidBackup(f"the copy is damaged: {str(said)[:200]}", hint="take an earlier one")
            rows = connection.execute(f"SELECT version_num FROM {VERSIONS}").fetchall()  # noqa: S608 -- our own name
    except sqlite3.Error as error:
        raise InvalidBackup(f"this is no copy of a store: {error}", hint="`pulsar backup` makes them") from error
    check_revision([row[0] for row in rows])


def check_revision(found: list[str]) -> None:
    """Raise `InvalidBackup` where a copy is not of this version's shape, nor of an earlier one's."""
    if len(found) != 1 or not is_known_revision(found[0]):
        said = f"is of a shape ({', '.join(found)}) that this version does not know" if found else "holds no store"
        raise InvalidBackup(f"the copy {said}", hint="restore it with the version that made it, or a later one")


def replace_sqlite(url: str, copy: Path, at: datetime) -> Path | None:
    """Put a copy in the place of the store; returns where the replaced one is now, if there was one."""
    place = _file_of(url)
    place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with new_copy(place.parent, f"{place.name}.restored") as draft:
        shutil.copyfile(copy, draft)
    beside = place.with_name(f"{REPLACED}{stamp(at)}-{place.name}")
    was_there = place.exists()
    for ending in BESIDE:
        with suppress(FileNotFoundError):
            Path(f"{place}{ending}").rename(f"{beside}{ending}")
    place.with_name(f"{place.name}.restored").replace(place)
    _sync(place.parent)
    return beside if was_there else None


def refuse_while_scanning(url: str) -> None:
    """Raise `Conflict` where a scan's flow was heard of within the last minute. A store that cannot be read says no."""
    if backend_of(url) == "sqlite" and not _file_of(url).exists():
        return
    store = connect(url)
    try:
        with store.read() as session:
            running = session.scalars(select(Scan.id).where(Scan.lease_until > now()).limit(1)).first()
    except (StoreUnavailable, SQLAlchemyError):
        return
    finally:
        store.close()
    if running is not None:
        raise Conflict("a scan is going on", hint=f"cancel it first, or wait a minute after its end: {running}")


def settle_restored(store: Store, at: datetime) -> int:
    """End the scans that were under way when the copy was made; what had not begun is left to Prefect."""
    ended = 0
    with store.write() as session:
        for scan_id in session.scalars(select(Scan.id).where(Scan.status.in_((Status.STARTED, Status.RETRY)))).all():
            said = f"it was under way when the copy of the store was made that was restored at {at:%Y-%m-%d %H:%M} UTC"
            ended += finish(session, scan_id, Verdict(Status.FAILURE, error=said), "Crashed")
    return ended


def own_tables() -> list[str]:
    """The names of all tables of a store, that of its version among them."""
    for module in iter_modules(footprint.store.__path__):
        if not module.ispkg:
            import_module(f"footprint.store.{module.name}")
    return [*Table.metadata.tables, VERSIONS]


def _file_of(url: str) -> Path:
    database = make_url(url).database
    if not database or database == ":memory:":
        raise BackupFailed("a store in memory cannot be copied")
    return Path(database)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
