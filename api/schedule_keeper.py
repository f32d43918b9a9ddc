"""Keeps schedules in step with Prefect's, and gives out the scans that they asked for and nobody started."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from uuid import UUID

from fastapi.concurrency import run_in_threadpool

from api.prefect import PrefectGateway
from api.scheduling import Schedules
from footprint.errors import PrefectUnavailable
from footprint.platform_facts import SchedulesSeen
from footprint.schedule_reconciliation import Gone, Ours, Remake, Remove, Step, TakeOver, differences
from footprint.store import Store
from footprint.store.schedule_turns import note_released, released, without_run
from footprint.store.schedules import attach_schedule, ours, take_over, withdraw_forgotten_schedules

FORGOTTEN_AFTER = timedelta(minutes=1)
LEFT_AFTER = timedelta(seconds=20)
"""How long who asked for a scan has to start it."""

log = logging.getLogger("pulsar.api.schedules")


class ScheduleKeeper:
    """Called by the follower at its looks."""

    def __init__(self, store: Store, prefect: PrefectGateway, schedules: Schedules) -> None:
        self._store = store
        self._prefect = prefect
        self._schedules = schedules

    async def mend(self, seen: SchedulesSeen, looked_at: datetime) -> bool:
        """Mend what differs, by a look at Prefect that began then. True where there was something.

        Raises `StoreUnavailable`.
        """
        if (deployment := seen.deployment_id) is None:
            return False
        async with self._schedules.lock:
            steps = list(differences(await run_in_threadpool(self._ours), seen, looked_at))
            for step in steps:
                log.warning("schedules are mended: %s", step)
                try:
                    await self._take(step, deployment)
                except PrefectUnavailable as away:
                    # One that Prefect does not take must not keep the scans from being followed.
                    log.warning("that is tried again: %s", away)
        return bool(steps)

    async def _take(self, step: Step, deployment: UUID) -> None:
        match step:
            case TakeOver() | Gone():
                await run_in_threadpool(self._take_over, step)
            case Remake():
                made = await self._prefect.put_schedule(step.id, step.timing, active=step.active, what=step.what)
                await run_in_threadpool(self._attach, step.id, *made)
            case Remove():
                await self._prefect.remove_schedule(deployment, step.prefect_id)

    async def give_out(self) -> bool:
        """Have queued scans begin whose turn has come, and start what was left. True where there was something.

        Raises `PrefectUnavailable`, `StoreUnavailable`.
        """
        turns, left = await run_in_threadpool(self._waiting)
        for scan_id, task_id in turns:
            await self._prefect.reschedule(task_id)
            await run_in_threadpool(self._note, scan_id)
        for scan_id in left:
            await self._schedules.start(scan_id)
        return bool(turns or left)

    def _ours(self) -> list[Ours]:
        with self._store.write() as session:
            withdraw_forgotten_schedules(session, FORGOTTEN_AFTER)
            return ours(session)

    def _take_over(self, step: TakeOver | Gone) -> None:
        with self._store.write() as session:
            take_over(session, step)

    def _attach(self, schedule_id: UUID, prefect_id: UUID, deployment: UUID) -> None:
        with self._store.write() as session:
            attach_schedule(session, schedule_id, prefect_id, deployment)

    def _waiting(self) -> tuple[list[tuple[UUID, UUID]], list[UUID]]:
        with self._store.read() as session:
            return released(session), without_run(session, LEFT_AFTER)

    def _note(self, scan_id: UUID) -> None:
        with self._store.write() as session:
            note_released(session, scan_id)
