"""Cleaning up: what would be deleted, said exactly, and then just that deleted: for the flow and `pulsar cleanup`."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any
from uuid import UUID

from flows.prefect_runs import PrefectRuns
from footprint.durations import duration
from footprint.errors import PrefectUnavailable
from footprint.home_disk import Leftover, left_behind
from footprint.settings import Settings
from footprint.store import Store
from footprint.store.chores import CLEANUP, note_chore
from footprint.store.copies import backups_dir
from footprint.store.explaining import scans_of_tasks
from footprint.store.forgetting import forget_scans, forget_settled, shrink
from footprint.store.retention import Doomed, Keeping, doomed_scans
from footprint.store.scans import live_scans
from footprint.text import counted

MOST_RUNS = 5_000
"""Runs without a scan that one cleanup forgets; the rest go with the next ones."""


@dataclass(frozen=True, slots=True)
class CleanupPlan:
    """What is to be deleted. `runs` are Prefect's, beside those of the scans; None where Prefect could not be asked."""

    scans: tuple[Doomed, ...] = ()
    leftovers: tuple[Leftover, ...] = ()
    runs: tuple[UUID, ...] | None = None

    @property
    def bytes(self) -> int:
        """What the scans' rows and the leftovers hold."""
        return sum(scan.bytes for scan in self.scans) + sum(left.bytes for left in self.leftovers)

    def lines(self, at: datetime) -> list[str]:
        """All that is to be deleted, a line each, and a sum."""
        said = [
            f"scan {scan.id} of {scan.target}, {scan.policy}, {scan.status}, ended"
            f" {duration((at - scan.ended_at).total_seconds())} ago: {scan.reason};"
            f" {counted(scan.records, 'sighting')}, {scan.bytes} bytes"
            for scan in self.scans
        ]
        said += [
            f"{left.path.name} in {left.path.parent.name}: {left.why}, {left.bytes} bytes" for left in self.leftovers
        ]
        return [*said, self.summary()]

    def as_json(self) -> dict[str, Any]:
        """The same for programs."""
        columns = ("target", "policy", "status", "reason", "records", "bytes")
        return {
            "scans": [
                {"id": str(scan.id), **{name: getattr(scan, name) for name in columns}}
                | {"ended_at": scan.ended_at.isoformat()}
                for scan in self.scans
            ],
            "leftovers": [{"path": str(left.path), "why": left.why, "bytes": left.bytes} for left in self.leftovers],
            "runs": None if self.runs is None else [str(run) for run in self.runs],
            "bytes": self.bytes,
        }

    def summary(self) -> str:
        """How much it is, in a sentence."""
        runs = (
            "runs in Prefect: not known" if self.runs is None else f"runs without a scan in Prefect: {len(self.runs)}"
        )
        return f"scans: {len(self.scans)}; leftovers: {len(self.leftovers)}; {runs}; bytes: {self.bytes}"


@dataclass(slots=True)
class Cleaned:
    """What was deleted: scans, leftovers, runs in Prefect, other rows; bytes given back to the disk by the store."""

    scans: list[Doomed] = field(default_factory=list)
    leftovers: list[Leftover] = field(default_factory=list)
    runs: int = 0
    rows: int = 0
    freed: int = 0
    left: str = ""

    def summary(self) -> str:
        """How much it was, in a sentence."""
        held = sum(scan.bytes for scan in self.scans) + sum(left.bytes for left in self.leftovers)
        more = f"; {self.left}" if self.left else ""
        return (
            f"deleted scans: {len(self.scans)}; leftovers: {len(self.leftovers)}; runs in Prefect: {self.runs};"
            f" settled rows: {self.rows}; bytes: {held}, {self.freed} of them given back by the store's file{more}"
        )


def plan_cleanup(settings: Settings, store: Store, prefect: PrefectRuns | None, at: datetime) -> CleanupPlan:
    """Find what is to be deleted; changes nothing. Raises `StoreUnavailable`."""
    # First the disk: the directory of a scan that begins meanwhile belongs to one that the store then knows.
    leftovers = left_behind(settings.work_dir, backups_dir(settings.home), at)
    with store.read() as session:
        doomed = doomed_scans(session, Keeping(settings.keep_days, settings.keep_scans), at)
        live = {scan.id for scan in live_scans(session)}
    kept = tuple(left for left in leftovers if left.scan not in live)
    return CleanupPlan(tuple(doomed), kept, _runs_without_a_scan(settings, store, prefect, at))


def _runs_without_a_scan(
    settings: Settings, store: Store, prefect: PrefectRuns | None, at: datetime
) -> tuple[UUID, ...] | None:
    if prefect is None:
        return None
    if not settings.keep_run_days:
        return ()
    try:
        over = list(islice(prefect.over(at - timedelta(days=settings.keep_run_days)), MOST_RUNS))
    except PrefectUnavailable:
        return None
    with store.read() as session:
        known = scans_of_tasks(session, [run for run, is_scan in over if is_scan])
    return tuple(run for run, _ in over if run not in known)


def clean_up(settings: Settings, store: Store, prefect: PrefectRuns | None, plan: CleanupPlan, at: datetime) -> Cleaned:
    """Delete what the plan says, and note that it was done. Raises `StoreUnavailable`."""
    cleaned = Cleaned()
    try:
        cleaned.scans += forget_scans(store, plan.scans)
        cleaned.rows = forget_settled(store, at)
        cleaned.leftovers = [left for left in plan.leftovers if _removed(left.path)]
        runs = [scan.task_id for scan in cleaned.scans if scan.task_id] + list(plan.runs or ())
        _forget_runs(prefect if plan.runs is not None else None, runs, cleaned)
        cleaned.freed = shrink(store)
    except Exception as failure:
        _note(store, f"broke off ({type(failure).__name__}): {cleaned.summary()}", is_well=False)
        raise
    _note(store, cleaned.summary(), is_well=True)
    return cleaned


def _note(store: Store, said: str, *, is_well: bool) -> None:
    with store.write() as session:
        note_chore(session, CLEANUP, said, is_well=is_well)


def _forget_runs(prefect: PrefectRuns | None, runs: Sequence[UUID], cleaned: Cleaned) -> None:
    if not runs:
        return
    if prefect is None:
        cleaned.left = "Prefect could not be asked: its runs go with a later cleanup"
        return
    try:
        cleaned.runs = prefect.forget(runs)
    except PrefectUnavailable as away:
        cleaned.left = f"{away.detail}: its runs go with a later cleanup"


def _removed(path: Path) -> bool:
    with suppress(FileNotFoundError):
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        return True
    return False
