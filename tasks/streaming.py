"""Many questions asked side by side, their answers passed on as they come.

They run on an event loop in a thread of their own, so that a stopped scan waits for no name server, and a caller with
a loop of its own is not disturbed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from queue import Empty, SimpleQueue
from threading import Event
from typing import TypeVar

from tasks.tool import Asking

POLL_SECONDS = 0.1

Found = TypeVar("Found")


def streamed(names: Sequence[str], ask: Callable[[str], Awaitable[Found]], asking: Asking) -> Iterator[Found]:
    """Ask of every name in a thread; pass on what comes, until all is there, the deadline, or a stop."""
    inbox: SimpleQueue[Found] = SimpleQueue()
    over = Event()
    with ThreadPoolExecutor(1, thread_name_prefix="dns") as thread:
        running = thread.submit(asyncio.run, _ask_all(names, ask, inbox.put, over.is_set))
        try:
            for _ in names:
                if (found := _next(inbox, running, asking)) is None:
                    break
                yield found
        finally:
            over.set()
    running.result()


async def _ask_all(
    names: Sequence[str],
    ask: Callable[[str], Awaitable[Found]],
    put: Callable[[Found], None],
    is_over: Callable[[], bool],
) -> None:
    pending = {asyncio.ensure_future(ask(name)) for name in names}
    while pending and not is_over():
        done, pending = await asyncio.wait(pending, timeout=POLL_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            put(task.result())


def _next(inbox: SimpleQueue[Found], running: Future[None], asking: Asking) -> Found | None:
    while not asking.is_stopped() and time.monotonic() < asking.deadline:
        try:
            return inbox.get(timeout=POLL_SECONDS)
        except Empty:
            if running.done() and inbox.empty():
                return None
    return None
