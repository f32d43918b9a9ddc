"""What runs get to go on when their worker is stopped: they begin nothing new, and what they are at may end."""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress

import anyio

from deployments.nursery import Offspring
from tasks.stopping import WIND_DOWN


class Grace:
    """The time that a worker's runs have once it is told to stop. Belongs to one event loop."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds
        self._is_over = asyncio.Event()

    def end(self) -> None:
        """Grant no more of it, also to those who have it already."""
        self.seconds = 0.0
        self._is_over.set()

    async def give(self, offspring: Offspring) -> None:
        """Tell a run to wind down, and wait for its end: as long as there is time, also when cancelled."""
        if not self.seconds or offspring.returncode is not None:
            return
        with suppress(ProcessLookupError):
            os.kill(offspring.pid, WIND_DOWN)
        with anyio.move_on_after(self.seconds, shield=True):
            async with anyio.create_task_group() as group:
                group.start_soon(self._await_end, group.cancel_scope)
                await offspring.wait()
                group.cancel_scope.cancel()

    async def _await_end(self, scope: anyio.CancelScope) -> None:
        await self._is_over.wait()
        scope.cancel()
