"""The module runs of a scan: planned, begun, told of on the way, and settled with their records in one transaction."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from footprint.budget import Held
from footprint.records import Coverage, Outcome, Record
from footprint.store.inventory import counts_of, records_of, save_records
from footprint.store.packing import pack, unpack
from footprint.store.scans import UNIT_LOST, hold
from footprint.store.tables import CoverageRow, ModuleRun, Scan, now
from footprint.store.upsert import upsert
from footprint.verdict import UNFINISHED, UnitReport, UnitStatus

NOTES_KEPT = 50


@dataclass(frozen=True, slots=True)
class Unit:
    """One module against one batch of records, as planned."""

    module: str
    batch: int
    depth: int
    records: tuple[Record, ...]


@dataclass(frozen=True, slots=True)
class Settlement:
    """How a unit ended: what it found, what became of each target, and what to tell the operator."""

    status: UnitStatus
    records: tuple[Record, ...] = ()
    coverage: tuple[Coverage, ...] = ()
    command: str = ""
    version: str | None = None
    containment: str | None = None
    degraded: str | None = None
    error_code: str | None = None
    error: str | None = None
    hint: str | None = None
    stderr: str | None = None


@dataclass(frozen=True, slots=True)
class Finished:
    """A unit that is over, and what it found."""

    unit: Unit
    found: tuple[Record, ...]


def plan_unit(session: Session, scan_id: UUID, attempt: int, unit: Unit) -> int:
    """Write a unit down before it is begun; returns its id. Raises `ScanStopped`."""
    hold(session, scan_id, attempt)
    run = ModuleRun(
        scan_id=scan_id,
        module=unit.module,
        batch=unit.batch,
        attempt=attempt,
        depth=unit.depth,
        inputs=[pack(record) for record in unit.records],
    )
    session.add(run)
    session.flush()
    return run.id


def begin_unit(session: Session, scan_id: UUID, attempt: int, module: str, batch: int) -> tuple[int, Unit]:
    """Take a planned unit up; returns its id and what it is. Raises `ScanStopped`."""
    hold(session, scan_id, attempt)
    run = session.scalars(
        select(ModuleRun).where(ModuleRun.scan_id == scan_id, ModuleRun.module == module, ModuleRun.batch == batch)
    ).one()
    run.status, run.started_at = UnitStatus.RUNNING, now()
    return run.id, Unit(module, batch, run.depth, tuple(unpack(packed) for packed in run.inputs))


def report_progress(session: Session, unit_id: int, percent: float) -> None:
    """Note how far a running unit is, 0-100; it never falls."""
    session.execute(
        update(ModuleRun)
        .where(ModuleRun.id == unit_id, ModuleRun.status == UnitStatus.RUNNING, ModuleRun.progress < int(percent))
        .values(progress=min(int(percent), 99))
    )


def settle_unit(session: Session, scan_id: UUID, attempt: int, unit_id: int, settled: Settlement) -> int:
    """End a unit: its records, their sightings, its coverage and its row, or nothing of it.

    Returns how many records were kept. Raises `ScanStopped` where the scan is no longer this attempt's.
    """
    asset_id = hold(session, scan_id, attempt)
    kept = save_records(session, asset_id, scan_id, unit_id, settled.records)
    _save_coverage(session, unit_id, settled.coverage)
    run = session.get_one(ModuleRun, unit_id)
    run.status, run.records, run.finished_at = settled.status, kept, now()
    run.progress = 100 if settled.status is UnitStatus.DONE else run.progress
    run.coverage = dict(Counter(entry.outcome.value for entry in settled.coverage))
    for column in ("command", "version", "containment", "degraded", "error_code", "error", "hint", "stderr"):
        setattr(run, column, getattr(settled, column))
    session.execute(update(Scan).where(Scan.id == scan_id).values(counts=counts_of(session, scan_id)))
    return kept


def finished_units(session: Session, scan_id: UUID) -> list[Finished]:
    """What earlier attempts finished, in the order it was planned; what they lost or were stopped in is not."""
    over = select(ModuleRun).where(ModuleRun.scan_id == scan_id, ModuleRun.status.not_in(UNFINISHED))
    return [
        Finished(
            Unit(run.module, run.batch, run.depth, tuple(unpack(packed) for packed in run.inputs)),
            tuple(records_of(session, run.id)),
        )
        for run in session.scalars(over.order_by(ModuleRun.id))
    ]


def lose_unit(session: Session, scan_id: UUID, attempt: int, unit_id: int) -> bool:
    """Write down that a unit ended without its result being kept. False where it was; raises `ScanStopped`."""
    hold(session, scan_id, attempt)
    run = session.get_one(ModuleRun, unit_id)
    if UnitStatus(run.status).is_over:
        return False
    run.status, run.finished_at = UnitStatus.FAILED, now()
    run.error_code, run.error = UNIT_LOST, f"{run.module}: its result could not be kept"
    run.hint = "the log of its task run says why"
    return True


def _save_coverage(session: Session, unit_id: int, coverage: Iterable[Coverage]) -> None:
    rows = {
        entry.subject: {
            "module_run_id": unit_id,
            "subject": entry.subject,
            "outcome": entry.outcome.value,
            "note": entry.note,
        }
        for entry in coverage
    }
    keys = ["module_run_id", "subject"]
    if rows:
        changes = [rows[subject] for subject in sorted(rows)]
        upsert(
            session,
            CoverageRow,
            changes,
            keys,
            lambda new: {"outcome": new.outcome, "note": new.note},
            [CoverageRow.subject],
        )


def reports_of(session: Session, scan_id: UUID) -> list[UnitReport]:
    """What every unit of a scan says of itself, for the verdict, in the order they were planned."""
    notes: dict[tuple[int, bool], list[str]] = {}
    odd = (
        select(CoverageRow.module_run_id, CoverageRow.subject, CoverageRow.outcome, CoverageRow.note)
        .join(ModuleRun, ModuleRun.id == CoverageRow.module_run_id)
        .where(ModuleRun.scan_id == scan_id, CoverageRow.outcome != Outcome.ANSWERED)
        .order_by(CoverageRow.module_run_id, CoverageRow.subject)
    )
    for unit_id, subject, outcome, note in session.execute(odd):
        said = notes.setdefault((unit_id, outcome == Outcome.SILENT), [])
        if len(said) < NOTES_KEPT:
            said.append(f"{subject}: {note or outcome.replace('_', ' ')}")
    runs = session.scalars(select(ModuleRun).where(ModuleRun.scan_id == scan_id).order_by(ModuleRun.id))
    return [_report(run, notes.get((run.id, False), ()), notes.get((run.id, True), ())) for run in runs]


def _report(run: ModuleRun, notes: Iterable[str], silent: Iterable[str]) -> UnitReport:
    hint = f" ({run.hint})" if run.hint else ""
    return UnitReport(
        run.module,
        run.batch,
        UnitStatus(run.status),
        coverage={Outcome(outcome): count for outcome, count in run.coverage.items()},
        notes=tuple(notes),
        silent=tuple(silent),
        error=f"{run.error}{hint}" if run.error else None,
        degraded=run.degraded,
    )


def digest_of(
    session: Session,
    scan_id: UUID,
    waiting: dict[str, int],
    waits: Mapping[str, Held] | None = None,
    modules: Iterable[str] = (),
) -> tuple[int, list[dict[str, Any]]]:
    """How far a scan is (0-99), and one line a module, for its row.

    `waiting` counts the units that are not planned yet, by module; `waits` says what those are waiting for. Of the
    `modules` that are on, those that nothing has come to so far have no line, and count as one unit that has not begun:
    a scan is not nearly over where its first unit is.
    """
    columns = (
        ModuleRun.module,
        ModuleRun.status,
        func.count(),
        func.sum(ModuleRun.progress),
        func.max(ModuleRun.error),
    )
    grouped = session.execute(
        select(*columns).where(ModuleRun.scan_id == scan_id).group_by(ModuleRun.module, ModuleRun.status)
    )
    lines: dict[str, dict[str, Any]] = {module: _line(module, count) for module, count in waiting.items()}
    done = 0
    for module, status, count, percent, error in grouped:
        line = lines.setdefault(module, _line(module, 0))
        line["units"] += count
        line[status] = line.get(status, 0) + count
        line["error"] = line["error"] or error
        line["percent_sum"] += 100 * count if UnitStatus(status).is_over else percent
    for module, held in (waits or {}).items():
        if module in lines:
            lines[module] |= {"waits_on": held.key, "waiting_for": _waiting_for(held, scan_id)}
    for line in lines.values():
        done += line["percent_sum"]
        line["progress"] = int(line.pop("percent_sum") / line["units"]) if line["units"] else 0
        line["status"] = _module_status(line)
    units = sum(line["units"] for line in lines.values()) + len(set(modules) - lines.keys())
    return min(99, int(done / units) if units else 0), [lines[module] for module in sorted(lines)]


def _line(module: str, waiting: int) -> dict[str, Any]:
    counts = dict.fromkeys((status.value for status in UnitStatus), 0)
    waits = {"waiting": waiting, "waits_on": None, "waiting_for": None}
    return {"name": module, "units": waiting, **counts, **waits, "error": None, "percent_sum": 0}


def _waiting_for(held: Held, scan_id: UUID) -> str:
    """What a module's units wait for, and who has it: `10.87.0.0/24, held by nmap of scan 5aa0fc9a-…`."""
    others = dict.fromkeys(
        f"{one.module} of {'this scan' if one.scan_id == scan_id else f'scan {one.scan_id}'}" for one in held.holders
    )
    return f"{held.what}, held by {', '.join(others)}" if others else held.what


def _module_status(line: dict[str, Any]) -> str:
    if line["running"]:
        return UnitStatus.RUNNING
    if line["waits_on"]:
        return "waiting"
    if line["waiting"] or line["planned"]:
        return UnitStatus.PLANNED
    for status in (UnitStatus.FAILED, UnitStatus.SKIPPED):
        if line[status] == line["units"]:
            return status
    if line["partial"] or line["failed"] or line["skipped"]:
        return UnitStatus.PARTIAL
    return UnitStatus.DONE
