"""Results that the store did not take: files of this machine, until it does.

A file is one unit's, with what it was given and how it ended. It is written whole or not at all, for its owner only,
and read with distrust: its digest says whether it is what was written.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import UUID

from footprint.home_disk import SpoolSeen
from footprint.records import Coverage, Outcome
from footprint.store.packing import pack, unpack
from footprint.store.units import Settlement, Unit
from footprint.verdict import UnitStatus

FORMAT = 1
"""Of a file; one of another number is not read."""
MOST_BYTES = 64 * 1024 * 1024
"""Of a file. A tool's output is 16 MiB at most; a result beyond this is kept in memory only."""
SUFFIX, BROKEN, DRAFT = ".json", ".broken", ".draft"
SAID = ("command", "version", "containment", "degraded", "error_code", "error", "hint", "stderr")
"""The texts of a settlement."""


@dataclass(frozen=True, slots=True)
class Spooled:
    """A unit of one attempt, and how it ended. Times are UTC."""

    unit: Unit
    attempt: int
    settled: Settlement
    begun_at: datetime
    ended_at: datetime

    @property
    def name(self) -> str:
        """Of its file. Attempts do not share one: an attempt that was overtaken may still be writing."""
        return f"{self.unit.module}-{self.unit.batch}-{self.attempt}{SUFFIX}"


class Spool:
    """The spool of one home: a directory for each scan."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def keep(self, scan_id: UUID, spooled: Spooled) -> None:
        """Write a result down. Raises `OSError` where it cannot be, or is too large."""
        data = _written(scan_id, spooled)
        if len(data) > MOST_BYTES:
            raise OSError(errno.EFBIG, f"the result has {len(data)} bytes")
        place = self._directory / str(scan_id)
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = place / f"{spooled.name}{DRAFT}"
        try:
            _write(draft, data)
            draft.replace(place / spooled.name)
        except OSError:
            draft.unlink(missing_ok=True)
            raise
        for changed in (place, self._directory):
            _sync(changed)

    def drop(self, scan_id: UUID, spooled: Spooled) -> None:
        """Forget a result that the store has."""
        place = self._directory / str(scan_id)
        (place / spooled.name).unlink(missing_ok=True)
        with suppress(OSError):
            place.rmdir()  # the last one takes the directory with it

    def drop_scan(self, scan_id: UUID) -> None:
        """Forget all that is kept of a scan."""
        shutil.rmtree(self._directory / str(scan_id), ignore_errors=True)

    def of_scan(self, scan_id: UUID, complain: Callable[[str], None]) -> list[Spooled]:
        """What is kept of a scan, in the order in which it was written. What cannot be read is set aside, and said."""
        found = []
        for path in self._files(self._directory / str(scan_id)):
            try:
                found.append(_read(path, scan_id))
            except (OSError, ValueError, KeyError, TypeError) as error:
                complain(f"{path.name} in the spool cannot be read ({_short(error)}): its unit runs again")
                with suppress(OSError):
                    path.replace(path.with_name(path.name + BROKEN))
        return sorted(found, key=lambda spooled: spooled.ended_at)

    def set_aside(self, scan_id: UUID, spooled: Spooled) -> None:
        """Keep a file from being read again: the store refuses what is in it."""
        path = self._directory / str(scan_id) / spooled.name
        with suppress(OSError):
            path.replace(path.with_name(path.name + BROKEN))

    def scans(self) -> list[UUID]:
        """The scans of which something is kept."""
        found = []
        with suppress(FileNotFoundError):
            for entry in os.scandir(self._directory):
                with suppress(ValueError):
                    found.append(UUID(entry.name))
        return found

    def look(self) -> SpoolSeen:
        """What is in it."""
        scans = sorted(str(scan_id) for scan_id in self.scans())
        names = [entry.name for scan in scans for entry in (self._directory / scan).glob("*")]
        waiting, broken = (sum(name.endswith(suffix) for name in names) for suffix in (SUFFIX, BROKEN))
        return SpoolSeen(waiting, broken, tuple(scans))

    def _files(self, place: Path) -> Iterator[Path]:
        yield from sorted(path for path in place.glob(f"*{SUFFIX}") if path.is_file() and not path.is_symlink())


def _written(scan_id: UUID, spooled: Spooled) -> bytes:
    body = json.dumps(_packed(scan_id, spooled), sort_keys=True)
    return json.dumps({"format": FORMAT, "digest": _digest(body), "body": body}).encode()


def _packed(scan_id: UUID, spooled: Spooled) -> dict[str, Any]:
    unit, settled = spooled.unit, spooled.settled
    return {
        "scan": str(scan_id),
        "attempt": spooled.attempt,
        "begun_at": spooled.begun_at.isoformat(),
        "ended_at": spooled.ended_at.isoformat(),
        "module": unit.module,
        "batch": unit.batch,
        "depth": unit.depth,
        "inputs": [pack(record) for record in unit.records],
        "status": settled.status,
        "records": [pack(record) for record in settled.records],
        "coverage": [asdict(entry) for entry in settled.coverage],
        **{name: getattr(settled, name) for name in SAID},
    }


def _read(path: Path, scan_id: UUID) -> Spooled:
    """A file's result. Raises `OSError`, `ValueError`, `KeyError` or `TypeError` where it is not what was written."""
    if (size := path.stat().st_size) > MOST_BYTES:
        raise ValueError(f"it has {size} bytes")
    document = json.loads(path.read_bytes())
    if document["format"] != FORMAT:
        raise ValueError(f"it is of format {document['format']}")
    if document["digest"] != _digest(document["body"]):
        raise ValueError("it was changed after it was written")
    body = json.loads(document["body"])
    if body["scan"] != str(scan_id):
        raise ValueError(f"it is of scan {body['scan']}")
    return _unpacked(body)


def _unpacked(body: dict[str, Any]) -> Spooled:
    unit = Unit(body["module"], body["batch"], body["depth"], tuple(unpack(packed) for packed in body["inputs"]))
    settled = Settlement(
        UnitStatus(body["status"]),
        records=tuple(unpack(packed) for packed in body["records"]),
        coverage=tuple(Coverage(**{**entry, "outcome": Outcome(entry["outcome"])}) for entry in body["coverage"]),
        **{name: body[name] for name in SAID},
    )
    begun_at, ended_at = (datetime.fromisoformat(body[name]) for name in ("begun_at", "ended_at"))
    return Spooled(unit, body["attempt"], settled, begun_at, ended_at)


def _digest(body: str) -> str:
    return sha256(body.encode()).hexdigest()


def _write(path: Path, data: bytes) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
    with os.fdopen(os.open(path, flags, 0o600), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _short(error: Exception) -> str:
    said = str(error).splitlines()[:1] or [""]
    return f"{type(error).__name__}: {said[0][:200]}"
