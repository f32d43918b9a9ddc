"""What can be done with a scan that was asked for: end it, do it again, go on with it, forget it."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from functools import partial
from uuid import UUID

from fastapi.concurrency import run_in_threadpool
from sqlalchemy.orm import Session

from api.asking import Desk
from api.prefect import PrefectGateway
from api.schemas import PurgeOut, ScanOut
from footprint.admission import scope_of
from footprint.errors import PrefectUnavailable
from footprint.settings import Settings
from footprint.store.cancelling import delete_scan, is_put_back, request_cancel, revoke_put_back, revoke_waiting
from footprint.store.resumption import again, take_over
from footprint.store.scans import insert_scan
from footprint.store.tables import Scan
from footprint.store.views import scan_by_id
from tasks.authorization import require_authorization
from tasks.strays import end_all_of

RETRY_SECONDS = 5.0

log = logging.getLogger("pulsar.api.lifecycle")


class Lifecycle:
    """Changes scans: in the store first, which is what flows go by, and in Prefect beside it."""

    def __init__(self, settings: Settings, prefect: PrefectGateway, desk: Desk) -> None:
        self._settings = settings
        self._prefect = prefect
        self._desk = desk
        self._following: set[asyncio.Task[None]] = set()

    async def cancel(self, scan_id: UUID) -> ScanOut:
        """End a scan, or have its flow end it within seconds; a Prefect that is away does not hinder that.

        Raises `NotFound`, or `Conflict` where it has ended.
        """
        scan, was_put_back = await self._desk.write(partial(_marked, scan_id=scan_id))
        if was_put_back:
            # No flow would see the mark, and a lost one may have left something: it is looked for, as everywhere.
            processes, left = await run_in_threadpool(end_all_of, scan_id)
            revoke = partial(revoke_put_back, scan_id=scan_id, processes=processes, left=left)
            scan = await self._desk.write(lambda session: ScanOut.of(revoke(session)))
        with suppress(PrefectUnavailable):
            await self._prefect.cancel(scan.task_id, is_over=scan.status.is_terminal)
        return scan

    async def rerun(self, scan_id: UUID) -> ScanOut:
        """Do an ended scan again, all of it, with the policy it was done with.

        Raises `NotFound`, `Conflict` while it goes on, `TargetRefused`, `NotAuthorized`, `PrefectUnavailable`.
        """
        return await self._desk.start(lambda session: self._again(session, scan_by_id(session, scan_id)))

    async def resume(self, scan_id: UUID, module: str | None) -> ScanOut:
        """Do of an ended scan what it did not finish, or what a module of it did not do well, as a new scan.

        Raises as `rerun` does, and `Conflict` where nothing is left to do.
        """

        def write_down(session: Session) -> Scan:
            old = scan_by_id(session, scan_id)
            new = self._again(session, old)
            take_over(session, old, new, module)
            return new

        return await self._desk.start(write_down)

    async def purge(self) -> PurgeOut:
        """End every scan that has not begun. Their Prefect runs follow, at Prefect's pace.

        A run that a worker takes before that finds its scan revoked and ends.
        """
        runs = await self._desk.write(revoke_waiting)
        if runs:
            following = asyncio.create_task(self._cancel_runs(runs))
            self._following.add(following)
            following.add_done_callback(self._following.discard)
        return PurgeOut(revoked=len(runs))

    async def _cancel_runs(self, runs: list[UUID]) -> None:
        while runs := await self._prefect.cancel_all(runs):
            log.warning("%d runs of revoked scans are not cancelled yet: Prefect is away or busy", len(runs))
            await asyncio.sleep(RETRY_SECONDS)

    def close(self) -> None:
        """Leave what is not done to the workers."""
        for following in self._following:
            following.cancel()

    async def delete(self, scan_id: UUID) -> None:
        """Forget an ended scan. Raises `NotFound`, or `Conflict` while it goes on."""
        await self._desk.write(partial(delete_scan, scan_id=scan_id))

    def _again(self, session: Session, old: Scan) -> Scan:
        new = again(session, old)
        scope_of(self._settings, new.target, new.policy, new.scope).admit(new.target)
        scan, _ = insert_scan(session, new)
        require_authorization(session, self._settings, new)
        return scan


def _marked(session: Session, scan_id: UUID) -> tuple[ScanOut, bool]:
    scan = request_cancel(session, scan_id)
    return ScanOut.of(scan), is_put_back(scan)
