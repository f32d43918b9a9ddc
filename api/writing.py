"""How a request changes the store: one transaction, in a thread, and no answer from before it is kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, TypeVar

from fastapi import Depends
from fastapi.concurrency import run_in_threadpool
from sqlalchemy.orm import Session

from api.given import ReaderDep, StoreDep

T = TypeVar("T")


class Writing:
    """One change on its way into the store."""

    def __init__(self, store: StoreDep, reader: ReaderDep) -> None:
        self._store = store
        self._reader = reader

    async def __call__(self, change: Callable[[Session], T]) -> T:
        """Have the change made. Raises what it raises; then nothing of it stays."""
        made = await run_in_threadpool(self._commit, change)
        self._reader.forget()
        return made

    def _commit(self, change: Callable[[Session], T]) -> T:
        with self._store.write() as session:
            return change(session)


WritingDep = Annotated[Writing, Depends(Writing)]
