"""Why a scan is where it is, and its log: what the store and Prefect know, put together."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from fastapi.concurrency import run_in_threadpool

from api.follower import Follower
from api.prefect import PrefectGateway
from footprint import journal
from footprint.errors import PrefectUnavailable
from footprint.explanation import Explanation, explain
from footprint.journal import Entry, Level, Said, UnitTold
from footprint.scan_facts import Facts, ScanSeen
from footprint.settings import Settings
from footprint.store import Store
from footprint.store.explaining import scan_seen, scans_of_tasks, units_told
from footprint.store.views import scan_by_id

KEPT_SECONDS, LOGS_KEPT = 30.0, 4


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which lines of a log: of that level and above, of one module or of all, from a time on."""

    level: Level = Level.INFO
    module: str | None = None
    after: datetime | None = None


class Diagnosis:
    """Answers the two questions of an operator: why, and what was said."""

    def __init__(self, settings: Settings, store: Store, prefect: PrefectGateway, follower: Follower) -> None:
        self._settings = settings
        self._store = store
        self._prefect = prefect
        self._follower = follower
        self._logs: dict[tuple[UUID, Wanted], tuple[float, list[Entry]]] = {}

    async def explain(self, scan_id: UUID) -> Explanation:
        """Say why a scan is where it is. Raises `NotFound`; Prefect being away is a reason and no error."""
        scan, task_id = await run_in_threadpool(self._scan, scan_id)
        now = datetime.now(UTC)
        if scan.status.is_terminal:
            return explain(Facts(now, scan))
        try:
            run, pool, ahead = await self._prefect.run_and_pool(task_id)
        except PrefectUnavailable as away:
            return explain(Facts(now, scan, away=str(away), heard_at=self._follower.heard_at))
        holders = [run.id for run in pool.holders] if pool else []
        others = await run_in_threadpool(self._others, holders)
        look = self._settings.worker_poll_seconds
        return explain(Facts(datetime.now(UTC), scan, run=run, pool=pool, others=others, ahead=ahead, look=look))

    def _scan(self, scan_id: UUID) -> tuple[ScanSeen, UUID]:
        with self._store.read() as session:
            scan = scan_by_id(session, scan_id)
            assert scan.task_id is not None
            return scan_seen(session, scan), scan.task_id

    def _others(self, task_ids: list[UUID]) -> dict[UUID, tuple[UUID, str]]:
        with self._store.read() as session:
            return scans_of_tasks(session, task_ids)

    async def log(self, scan_id: UUID, wanted: Wanted, *, anew: bool) -> list[Entry]:
        """A scan's log, in order. Without Prefect, and where it has forgotten the run, what the units' rows tell.

        Not `anew`, a log that was read a moment ago will do: whoever turns its pages reads one and the same.
        """
        kept = self._logs.get((scan_id, wanted))
        if kept is None or anew or time.monotonic() - kept[0] > KEPT_SECONDS:
            if len(self._logs) >= LOGS_KEPT:
                self._logs.clear()
            kept = (time.monotonic(), await self._read_log(scan_id, wanted))
            self._logs[scan_id, wanted] = kept
        return kept[1]

    async def _read_log(self, scan_id: UUID, wanted: Wanted) -> list[Entry]:
        task_id, units = await run_in_threadpool(self._units, scan_id)
        try:
            lines = await self._prefect.log(task_id, wanted.level.number, wanted.after)
            entries = journal.weave(lines, await self._names(lines), units, datetime.now(UTC))
        except PrefectUnavailable:
            lines, entries = [], []
        chosen = [entry for entry in entries or journal.from_units(units) if _is_wanted(entry, wanted)]
        return [*chosen, journal.cut_off(entries[-1])] if len(lines) >= journal.MOST_LINES else chosen

    def _units(self, scan_id: UUID) -> tuple[UUID, list[UnitTold]]:
        with self._store.read() as session:
            scan = scan_by_id(session, scan_id)
            assert scan.task_id is not None
            return scan.task_id, list(units_told(session, scan_id))

    async def _names(self, lines: list[Said]) -> dict[UUID, tuple[str, int]]:
        listed = await self._prefect.task_names(journal.unnamed(lines))
        named = {task: name for task, text in listed.items() if (name := journal.name_of_task(text))}
        return named | journal.names_told(lines)


def _is_wanted(entry: Entry, wanted: Wanted) -> bool:
    is_loud = entry.level.number >= wanted.level.number
    is_late = wanted.after is None or entry.at >= wanted.after
    return is_loud and is_late and wanted.module in (None, entry.module)
