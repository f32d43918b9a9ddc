"""Why a scan is where it is, and its log: what the store and Prefect know, put together."""

from __future__ import annotations

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


class Diagnosis:
    """Answers the two questions of an operator: why, and what was said."""

    def __init__(self, settings: Settings, store: Store, prefect: PrefectGateway, follower: Follower) -> None:
        self._settings = settings
        self._store = store
        self._prefect = prefect
        self._follower = follower

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

    async def log(self, scan_id: UUID, level: Level, module: str | None, after: datetime | None) -> list[Entry]:
        """A scan's log, in order. Without Prefect, and where it has forgotten the run, what the units' rows tell."""
        task_id, units = await run_in_threadpool(self._units, scan_id)
        try:
            lines = await self._prefect.log(task_id, level.number, after)
            entries = journal.weave(lines, await self._names(lines), units, datetime.now(UTC))
        except PrefectUnavailable:
            entries = journal.from_units(units)
        if not entries:
            entries = journal.from_units(units)
        return [entry for entry in entries if _is_wanted(entry, level, module, after)]

    def _units(self, scan_id: UUID) -> tuple[UUID, list[UnitTold]]:
        with self._store.read() as session:
            scan = scan_by_id(session, scan_id)
            assert scan.task_id is not None
            return scan.task_id, list(units_told(session, scan_id))

    async def _names(self, lines: list[Said]) -> dict[UUID, tuple[str, int]]:
        listed = await self._prefect.task_names(journal.unnamed(lines))
        named = {task: name for task, text in listed.items() if (name := journal.name_of_task(text))}
        return named | journal.names_told(lines)


def _is_wanted(entry: Entry, level: Level, module: str | None, after: datetime | None) -> bool:
    is_loud = entry.level.number >= level.number
    return is_loud and module in (None, entry.module) and (after is None or entry.at >= after)
