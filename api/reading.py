"""How a GET is answered: from the store, once for all who ask the same within a moment.

Many clients watch few scans. The first of them has the answer read and written, those that come meanwhile get the same
one, and so do those of the next fifth of a second. What this process itself writes is seen at once: `forget`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import anyio.to_thread
from anyio import CapacityLimiter
from fastapi import Depends, Request, Response
from pydantic import BaseModel
from sqlalchemy.orm import Session

from footprint.store import Store

FRESH_SECONDS = 0.2
THREADS = 4
"""Reads at once. More of them only get into each other's way: Python runs one at a time."""
ANSWERS_KEPT = 1000

Question = Callable[[Session], BaseModel]


@dataclass(frozen=True, slots=True)
class _Kept:
    answer: asyncio.Task[bytes]
    asked_at: float


class Reader:
    """Reads answers from the store, and keeps each for a moment under the address it was asked at."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._limiter = CapacityLimiter(THREADS)
        self._kept: dict[str, _Kept] = {}

    async def read(self, address: str, question: Question) -> bytes:
        """The answer as JSON, at most `FRESH_SECONDS` old. Raises what the question raises."""
        kept = self._kept.get(address)
        if kept is None or time.monotonic() - kept.asked_at > FRESH_SECONDS:
            if len(self._kept) >= ANSWERS_KEPT:
                self._kept.clear()
            kept = _Kept(asyncio.create_task(self._ask(question)), time.monotonic())
            self._kept[address] = kept
        # Shielded, for others wait for it too when this caller goes away.
        return await asyncio.shield(kept.answer)

    def forget(self) -> None:
        """Keep nothing: something was written."""
        self._kept.clear()

    async def _ask(self, question: Question) -> bytes:
        return await anyio.to_thread.run_sync(self._answer, question, limiter=self._limiter)

    def _answer(self, question: Question) -> bytes:
        # Straight from the model to JSON: what is in the store was checked when it came in, and FastAPI's own way
        # would check it once more, at three times the cost.
        with self._store.read() as session:
            return question(session).model_dump_json().encode()


class Reading:
    """One GET on its way to its answer."""

    def __init__(self, request: Request) -> None:
        self._reader: Reader = request.app.state.reader
        self._address = str(request.url)

    async def __call__(self, question: Question) -> Response:
        """Answer with the model that the question makes of the store."""
        return Response(await self._reader.read(self._address, question), media_type="application/json")


ReadingDep = Annotated[Reading, Depends(Reading)]
