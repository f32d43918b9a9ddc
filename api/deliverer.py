"""Brings notifications to their receivers: a background task of the API, beside scans and never in their way.

Each receiver has a task of its own while something is due for it, so that one that hangs holds up nobody else.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from uuid import UUID

from fastapi.concurrency import run_in_threadpool

from footprint.errors import NotDelivered, StoreUnavailable
from footprint.settings import Settings
from footprint.store import Store
from footprint.store.deliveries import Parcel, claim, note_delivered, note_failed, receivers_due
from footprint.store.outbox import decide_blindly, decide_late, undecided
from tasks.delivery import deliver
from tasks.notification_blocks import register_blocks

LOOK_SECONDS = 1.0
RECEIVERS_AT_ONCE = 32
REGISTER_AGAIN, REGISTER_AGAIN_AT_MOST = 2.0, 60.0
"""Seconds until Prefect is offered our blocks again, where it did not take them; twice as long each time."""

Deliver = Callable[[Parcel, Store, Settings], Awaitable[None]]
log = logging.getLogger("pulsar.api.deliverer")


class Deliverer:
    """A background task of the API."""

    def __init__(
        self, store: Store, settings: Settings, on_change: Callable[[], None], send: Deliver = deliver
    ) -> None:
        self._store = store
        self._settings = settings
        self._on_change = on_change
        self._send = send
        self._busy: dict[str, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Look until cancelled; a look that fails is said, and the next one follows."""
        registering = asyncio.create_task(self._register())
        try:
            while True:
                try:
                    await self._look()
                except StoreUnavailable as away:
                    log.warning("%s", away)
                except Exception:
                    # Whatever it was, the others must still be told.
                    log.exception("a look at the notifications failed")
                await asyncio.sleep(LOOK_SECONDS)
        finally:
            for task in (registering, *self._busy.values()):
                task.cancel()

    async def _register(self) -> None:
        pause = REGISTER_AGAIN
        while True:
            try:
                await register_blocks()
            except Exception as away:
                # Not a matter of deliveries: what is set up already is delivered all the same. A Prefect that makes
                # its database, or is on a busy SQLite, is away for a moment.
                log.info("Prefect was not told of Pulsar's blocks: %s", type(away).__name__)
                await asyncio.sleep(pause)
                pause = min(2 * pause, REGISTER_AGAIN_AT_MOST)
            else:
                return

    async def _look(self) -> None:
        for scan_id in await run_in_threadpool(self._undecided):
            await run_in_threadpool(self._decide, scan_id)
        for receiver in await run_in_threadpool(self._due):
            if receiver not in self._busy and len(self._busy) < RECEIVERS_AT_ONCE:
                self._busy[receiver] = task = asyncio.create_task(self._serve(receiver))
                task.add_done_callback(lambda _, name=receiver: self._busy.pop(name, None))  # type: ignore[misc]

    async def _serve(self, receiver: str) -> None:
        """Send what is due for a receiver, one message after another, until one fails."""
        try:
            while (parcel := await run_in_threadpool(self._claim, receiver)) is not None:
                if not await self._bring(parcel):
                    return
        except StoreUnavailable as away:
            log.warning("%s", away)
        except Exception:
            log.exception("notifications of %s could not be handled", receiver)

    async def _bring(self, parcel: Parcel) -> bool:
        try:
            await self._send(parcel, self._store, self._settings)
        except NotDelivered as error:
            await run_in_threadpool(self._note_failed, parcel, str(error))
            return False
        except Exception as error:
            log.exception("a notification to %s broke", parcel.receiver)
            await run_in_threadpool(self._note_failed, parcel, f"a defect in Pulsar: {type(error).__name__}")
            return False
        await run_in_threadpool(self._note_delivered, parcel)
        return True

    def _undecided(self) -> list[UUID]:
        with self._store.read() as session:
            return undecided(session)

    def _decide(self, scan_id: UUID) -> None:
        try:
            with self._store.write() as session:
                decide_late(session, scan_id)
        except StoreUnavailable:
            raise
        except Exception:
            log.exception("what scan %s found changed could not be written down", scan_id)
            with self._store.write() as session:
                decide_blindly(session, scan_id)

    def _due(self) -> list[str]:
        with self._store.read() as session:
            return receivers_due(session)

    def _claim(self, receiver: str) -> Parcel | None:
        with self._store.write() as session:
            return claim(session, receiver)

    def _note_delivered(self, parcel: Parcel) -> None:
        # It would be sent again otherwise: so a store that is away for a moment is waited for.
        self._store.keep(lambda session: note_delivered(session, parcel))
        log.info("%s was told: %s", parcel.receiver, parcel.id)
        self._on_change()

    def _note_failed(self, parcel: Parcel, error: str) -> None:
        given_up = self._store.keep(lambda session: note_failed(session, parcel, error))
        log.warning("%s was not told: %s", parcel.receiver, error)
        if given_up:
            log.error("%s: %d notifications are given up", parcel.receiver, len(given_up))
        self._on_change()
