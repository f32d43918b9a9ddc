"""Keeps the store in step with Prefect: one batched look at the live runs a second, however many clients ask."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from fastapi.concurrency import run_in_threadpool
from sqlalchemy.exc import SQLAlchemyError

from api.prefect import PrefectGateway, PrefectHealth
from api.schedule_keeper import ScheduleKeeper
from footprint.errors import PrefectUnavailable, StoreUnavailable
from footprint.platform_facts import OtherSchedule
from footprint.reconciliation import Ended, PutBack, Reschedule, RunState, Silence, reconcile
from footprint.spool import Spool
from footprint.states import Status
from footprint.store import Store
from footprint.store.leftovers import clear_leftovers
from footprint.store.scans import Live, live_scans, withdraw_forgotten
from footprint.store.spooled import clear_spool
from tasks.settling import settle

LOOK_SECONDS = 1.0
HEALTH_EVERY = 5
"""Looks between two questions after Prefect's health."""
RETURN_SECONDS = 10.0
"""What flows that waited for a store get to say that they live, once it is back."""
CLEAR_EVERY = 10
"""Looks between two at the directories of scans that have ended."""
FORGOTTEN_AFTER = timedelta(minutes=1)

log = logging.getLogger("pulsar.api.follower")


class Follower:
    """A background task of the API. `health` is the last that was heard of Prefect, and `heard_at` when.

    `other_schedules` are those that the store does not have, as Prefect told of them when it last answered.
    """

    def __init__(
        self,
        store: Store,
        prefect: PrefectGateway,
        work_dir: Path,
        spool: Spool,
        on_change: Callable[[], None],
        keeper: ScheduleKeeper | None = None,
    ) -> None:
        self.health = PrefectHealth(server=False, detail="not asked yet")
        self.heard_at: datetime | None = None
        self.other_schedules: tuple[OtherSchedule, ...] = ()
        self._store = store
        self._prefect = prefect
        self._work_dir = work_dir
        self._spool = spool
        self._on_change = on_change
        self._silence = Silence()
        self._keeper = keeper
        self._was_away = False

    async def run(self) -> None:
        """Look until cancelled; a look that fails is said, and the next one follows."""
        looks = 0
        while True:
            try:
                if looks % HEALTH_EVERY == 0 or not self.health.server:
                    await self.ask_after_health()
                looks += 1
                await self._give_flows_time()
                if looks % CLEAR_EVERY == 0:
                    await run_in_threadpool(clear_leftovers, self._store, self._work_dir)
                    await run_in_threadpool(clear_spool, self._store, self._spool)
                await self._look()
                if self._keeper and await self._keeper.give_out():
                    self._on_change()
            except PrefectUnavailable as away:
                self._hear(PrefectHealth(server=False, detail=str(away)))
            except StoreUnavailable as away:
                self._was_away = True
                log.warning("%s", away)
            except Exception:
                # Whatever it was, the scans must still be followed.
                log.exception("a look at the live scans failed")
            await asyncio.sleep(LOOK_SECONDS)

    async def _give_flows_time(self) -> None:
        """Settle nothing right after the store was away: who could not write looks as if it were dead."""
        if self._was_away:
            await run_in_threadpool(self._live)
            self._was_away = False
            await asyncio.sleep(RETURN_SECONDS)

    async def ask_after_health(self) -> None:
        """Have `health` say how Prefect is now, and mend the schedules that differ from its."""
        began_at = datetime.now(UTC)
        self._hear(await self._prefect.health())
        schedules = self.health.seen.schedules if self.health.seen else None
        if schedules:
            self.other_schedules = schedules.others
        if self._keeper and schedules and await self._keeper.mend(schedules, began_at):
            self._on_change()

    def _hear(self, health: PrefectHealth) -> None:
        if health.server != self.health.server:
            log.warning("Prefect: %s", health.detail)
        self.health = health
        if health.server:
            self.heard_at = datetime.now(UTC)

    async def _look(self) -> None:
        live = await run_in_threadpool(self._live)
        silent = self._silence.look(live)
        if not live:
            return
        runs = await self._prefect.runs([scan.task_id for scan in live])
        for scan in live:
            try:
                await self._settle(scan, runs.get(scan.task_id), silent[scan.id])
            except SQLAlchemyError:
                # One odd run must not keep the others from being settled.
                log.exception("scan %s could not be settled", scan.id)

    def _live(self) -> list[Live]:
        with self._store.write() as session:
            withdraw_forgotten(session, FORGOTTEN_AFTER)
            return live_scans(session)

    async def _settle(self, scan: Live, run: RunState | None, silent: float) -> None:
        step = reconcile(scan, run, silent, datetime.now(UTC))
        match step:
            case None:
                return
            case Ended(lost=True) as ended:
                await self._end_run(scan, ended)
            case PutBack(lost=True) as back:
                await self._prefect.crash(scan.task_id, back.reason)
            case Reschedule():
                await self._prefect.reschedule(scan.task_id)
        await run_in_threadpool(settle, self._store, scan, step, self._work_dir)
        self._on_change()

    async def _end_run(self, scan: Live, ended: Ended) -> None:
        with suppress(PrefectUnavailable):
            if ended.verdict.status is Status.REVOKED:
                await self._prefect.cancel(scan.task_id, is_over=True)
            else:
                await self._prefect.crash(scan.task_id, ended.verdict.error or "")
