"""What holds of a platform whatever happened to it: looked at all the time, and as a whole when a fault is over."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event, Thread
from typing import Self
from uuid import UUID

from sqlalchemy import UniqueConstraint, func, select, text
from sqlalchemy.orm import Session

from footprint.errors import StoreUnavailable
from footprint.held_directories import PREFIXES
from footprint.states import LIVE, TERMINAL, Status
from footprint.store import Store
from footprint.store.claim_table import ClaimRow
from footprint.store.scans import LEASE
from footprint.store.tables import (
    DetailRow,
    Domain,
    FindingRow,
    HostRow,
    ModuleRun,
    Scan,
    ServiceRow,
    Sighting,
    Table,
)
from footprint.verdict import UNFINISHED
from tasks.fence_rules import table_of

GONE_SECONDS = 10.0
"""What the processes of an ended scan get to end."""
CLEARED_SECONDS = 45.0
"""What the directory of a killed flow gets to be cleared away."""
RECONCILED = timedelta(seconds=30)
ENTITIES = {"domain": Domain, "host": HostRow, "service": ServiceRow, "finding": FindingRow}


class Watch:
    """Looks at every scan ten times a second; `violations` are what must never be seen."""

    def __init__(self, store: Store, pause: float = 0.1) -> None:
        self.violations: list[str] = []
        self.seen = 0
        self._store = store
        self._pause = pause
        self._last: dict[UUID, tuple[Status, int, int]] = {}
        self._over = Event()
        self._thread = Thread(target=self._watch, name="watch", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        columns = select(Scan.id, Scan.status, Scan.progress, Scan.attempt)
        while True:
            try:
                with self._store.read() as session:
                    rows = [tuple(row) for row in session.execute(columns)]
            except StoreUnavailable:
                rows = []
            for row in rows:
                self._compare(*row)
            if self._over.wait(self._pause):
                return

    def _compare(self, scan_id: UUID, status: str, progress: int, attempt: int) -> None:
        present = (Status(status), progress, attempt)
        before = self._last.get(scan_id, (Status.PENDING, 0, 0))
        self.seen += 1
        if before[0] in TERMINAL and present != before:
            self.violations.append(f"scan {scan_id} had ended as {before}, and is {present}")
        if progress < before[1]:
            self.violations.append(f"the progress of scan {scan_id} fell from {before[1]} to {progress}")
        if attempt < before[2]:
            self.violations.append(f"the attempt of scan {scan_id} fell from {before[2]} to {attempt}")
        self._last[scan_id] = present


def violations(store: Store, home: Path, temporary: Path) -> list[str]:
    """What does not hold now of this store, and of this home and its directory for temporary files."""
    with store.read() as session:
        ended = set(session.scalars(select(Scan.id).where(Scan.status.in_(TERMINAL))))
        live = set(session.scalars(select(Scan.id).where(Scan.status.in_(LIVE))))
        found = [*_of_rows(session), *_of_scans(session), *_of_receipts(session), *_of_units(session)]
        found += _of_databases_own(session)
    found += _of_processes(ended)
    return [*found, *_of_files(home, temporary, ended, live), *_of_fences()]


def _of_rows(session: Session) -> list[str]:
    """Every row once by its natural key, whatever the database was told to hold; every sighting of something."""
    found = []
    for mapper in Table.registry.mappers:
        table = mapper.local_table
        keys = [one for one in table.constraints if isinstance(one, UniqueConstraint)]
        for key in keys:
            columns = list(key.columns)
            twice = select(*columns).where(*(column.is_not(None) for column in columns))
            many = session.execute(twice.group_by(*columns).having(func.count() > 1)).all()
            found += [f"{table.name}: {row} is there more than once" for row in many]
    for kind, entity in ENTITIES.items():
        lost = select(func.count()).select_from(Sighting).where(Sighting.kind == kind)
        if count := session.scalar(lost.where(Sighting.entity_id.not_in(select(entity.id)))):
            found.append(f"{count} sightings are of a {kind} that is not there")
    details = select(func.count()).select_from(Sighting).where(Sighting.kind.not_in(ENTITIES))
    if count := session.scalar(details.where(Sighting.entity_id.not_in(select(DetailRow.id)))):
        found.append(f"{count} sightings are of a detail that is not there")
    return found


def _of_scans(session: Session) -> list[str]:
    found, present = [], datetime.now(UTC)
    for scan in session.scalars(select(Scan)):
        status, name = Status(scan.status), f"scan {scan.id} ({scan.status})"
        times = [time for time in (scan.created_at, scan.started_at, scan.finished_at, present) if time]
        if times != sorted(times) or any(time.utcoffset() != timedelta(0) for time in times):
            found.append(f"{name}: its times are {times}")
        if status in TERMINAL:
            if scan.finished_at is None or scan.lease_until or scan.resume_at or scan.waiting:
                found.append(f"{name} has ended, and yet {scan.finished_at=} {scan.lease_until=} {scan.resume_at=}")
        elif status is Status.STARTED:
            if scan.lease_until is None or scan.lease_until < present - LEASE - RECONCILED:
                found.append(f"{name} runs without a lease: {scan.lease_until}")
        elif status is Status.RETRY and not scan.waiting:
            found.append(f"{name} waits and does not say for what")
    return found


def _of_receipts(session: Session) -> list[str]:
    """Nobody says that a scan is revoked without having looked what is left of it."""
    without = select(Scan.id).where(
        Scan.status == Status.REVOKED,
        Scan.cancelled_at.is_(None) | Scan.processes_ended.is_(None) | Scan.processes_gone_at.is_(None),
    )
    return [f"scan {scan_id} was revoked without a receipt" for scan_id in session.scalars(without)]


def _of_units(session: Session) -> list[str]:
    """No unit of an ended scan is open, none holds a claim, and no record was given to a module twice."""
    of_ended = select(ModuleRun.scan_id, ModuleRun.module, ModuleRun.batch, ModuleRun.status).join(Scan)
    open_ = session.execute(of_ended.where(Scan.status.in_(TERMINAL), ModuleRun.status.in_(UNFINISHED)))
    found = [f"a unit is open though its scan has ended: {row}" for row in open_]
    kept = select(func.count()).select_from(ClaimRow).join(Scan).where(Scan.status.in_(TERMINAL))
    if claims := session.scalar(kept):
        found.append(f"{claims} claims are held by scans that have ended")
    given: Counter[tuple[UUID, str, str]] = Counter()
    for scan_id, module, inputs in session.execute(select(ModuleRun.scan_id, ModuleRun.module, ModuleRun.inputs)):
        given.update((scan_id, module, str(record)) for record in inputs)
    return found + [f"{key} was given {count} times" for key, count in given.items() if count > 1]


def _of_databases_own(session: Session) -> list[str]:
    if session.get_bind().dialect.name != "sqlite":
        return []
    checked = [*session.execute(text("PRAGMA integrity_check")), *session.execute(text("PRAGMA foreign_key_check"))]
    return [f"SQLite: {row}" for row in checked if tuple(row) != ("ok",)]


def _of_processes(ended: set[UUID]) -> list[str]:
    until = time.monotonic() + GONE_SECONDS
    while left := {pid: scan for pid, scan in marks().items() if scan in ended}:
        if time.monotonic() > until:
            return [f"process {pid} works for scan {scan}, which has ended" for pid, scan in left.items()]
        time.sleep(0.1)
    return []


def marks() -> dict[int, UUID]:
    """Every process of this machine that works for a scan, and which."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                variables = (entry / "environ").read_bytes().split(b"\0")
            except OSError:
                continue
            for variable in variables:
                if variable.startswith(b"PULSAR_SCAN="):
                    found[int(entry.name)] = UUID(variable.partition(b"=")[2].decode())
    return found


def _of_files(home: Path, temporary: Path, ended: set[UUID], live: set[UUID]) -> list[str]:
    until = time.monotonic() + CLEARED_SECONDS
    while left := _files_left(home, temporary, ended, live):
        if time.monotonic() > until:
            return [f"{path} is left" for path in left]
        time.sleep(0.5)
    return []


def _files_left(home: Path, temporary: Path, ended: set[UUID], live: set[UUID]) -> list[Path]:
    rooms = [*(home / "work").glob("*"), *(home / "spool").glob("*")]
    work = [path for path in rooms if path.name in {str(scan) for scan in ended}]
    forsaken = [path for path in (home / "work").glob("*-*") if path.name.startswith(PREFIXES) and _is_forsaken(path)]
    drafts = [path for path in home.iterdir() if path.suffix in (".new", ".draft")]
    # What a part keeps where temporary files are kept by default nobody would ever clear away.
    return [*work, *forsaken, *drafts, *([] if live else temporary.iterdir())]


def _is_forsaken(path: Path) -> bool:
    """Whether the process is gone that a directory belongs to."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True


def _of_fences() -> list[str]:
    if shutil.which("nft") is None:
        return []
    listed = subprocess.run(["nft", "list", "tables"], capture_output=True, text=True)
    name = table_of(0).rstrip("0")
    return [f"a fence is left: {line}" for line in listed.stdout.splitlines() if name in line]
