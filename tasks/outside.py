"""Public services, asked over HTTP: side by side at a pace, bounded in bytes and time, again where they are busy.

The questions run on an event loop in a thread of their own, so that a stopped scan waits for no service.
"""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from importlib.metadata import version
from queue import Empty, SimpleQueue
from threading import Event, Thread
from typing import Any, Self, TypeAlias, TypeVar

import httpx

from footprint.errors import LookupFailed, OutputNotUnderstood, OutputTooLarge, PlatformError
from footprint.settings import Settings
from tasks.tool import Asking

USER_AGENT = f"Pulsar/{version('pulsar-footprint')}"
BUSY = frozenset({429, 502, 503, 504})
"""Answers after which the same question is asked again."""
MAX_WAIT = 60.0
"""Seconds waited before the next attempt, at most, whatever Retry-After says."""
MAX_REDIRECTS = 3
CONNECT_SECONDS = 10.0
POLL_SECONDS = 0.1
LEAVING_SECONDS = 1.0

Question = TypeVar("Question")
Found = TypeVar("Found")
_Piece: TypeAlias = tuple[Found] | BaseException | None
"""What was found, the error that ended it, or None at its end."""


class NoSuchName(LookupFailed):
    """The service's own name does not exist in the DNS."""


@dataclass(frozen=True, slots=True)
class Manners:
    """How a service is asked. `timeout`: seconds for one whole answer; `pause`: waited first where it is busy."""

    timeout: float
    most_bytes: int
    rate: float = 10.0
    tries: int = 3
    pause: float = 2.0


@dataclass(frozen=True, slots=True)
class Reply:
    """A service's answer. `is_whole` is False where it went on beyond what is read; `wait` is its Retry-After."""

    status: int
    body: bytes
    is_whole: bool = True
    wait: float | None = None

    def json(self, module: str) -> Any:
        """The body, read as JSON. Raises `OutputNotUnderstood`."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            raise OutputNotUnderstood(
                f"{module}: the service's answer is not JSON, or it was cut off",
                hint="the service may be ill: try later",
            ) from None


class Turns:
    """Lets questions pass one after another, so many in a second."""

    def __init__(self, rate: float) -> None:
        self._gap = 1 / rate
        self._next = 0.0

    async def take(self) -> None:
        """Wait for the next turn."""
        now = time.monotonic()
        turn = max(now, self._next)
        self._next = turn + self._gap
        await asyncio.sleep(turn - now)


class Outside(AbstractAsyncContextManager["Outside"]):
    """Asks services on behalf of a module, through the installation's proxy; never follows them to another host."""

    def __init__(self, module: str, settings: Settings, manners: Manners) -> None:
        self._module = module
        self._proxy = settings.proxy
        self._manners = manners
        self._turns = Turns(manners.rate)
        self._http: httpx.AsyncClient | None = None

    async def __aenter__(self) -> Self:
        try:
            self._http = httpx.AsyncClient(
                timeout=httpx.Timeout(self._manners.timeout, connect=min(CONNECT_SECONDS, self._manners.timeout)),
                proxy=self._proxy,
                trust_env=False,
                headers={"User-Agent": USER_AGENT, "Accept-Encoding": "gzip"},
            )
        except (ValueError, ImportError, httpx.InvalidURL):
            raise PlatformError(
                f"{self._module}: the proxy cannot be used", hint="correct PULSAR_PROXY: http://proxy.example:3128"
            ) from None
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._http:
            await self._http.aclose()

    async def get(self, url: str, params: Mapping[str, str] | None = None, *, cut: bool = False) -> Reply:
        """Ask, again where the service is busy or away. With `cut` the beginning of an endless answer will do.

        Raises `NoSuchName`, `LookupFailed` where no answer is to be had, `OutputTooLarge`.
        """
        asked = httpx.URL(url, params=params) if params else httpx.URL(url)
        wait = self._manners.pause
        for attempt in range(1, self._manners.tries + 1):
            await self._turns.take()
            reply, said = await self._attempt(asked, cut=cut)
            if reply is not None and reply.status not in BUSY:
                return reply
            if attempt < self._manners.tries:
                told = reply.wait if reply else None
                await asyncio.sleep(min(MAX_WAIT, max(wait, told or 0)))
                wait *= 2
        raise LookupFailed(
            f"{self._module}: {asked.host} {said}",
            hint="try later; where this worker reaches it through a proxy only, name that in PULSAR_PROXY",
        )

    async def _attempt(self, url: httpx.URL, *, cut: bool) -> tuple[Reply | None, str]:
        """One answer, or None and what went wrong."""
        try:
            async with asyncio.timeout(self._manners.timeout):
                reply = await self._read(url, MAX_REDIRECTS, cut=cut)
        except (TimeoutError, httpx.TimeoutException):
            return None, f"gave no whole answer within {self._manners.timeout:g} s"
        except httpx.TransportError as error:
            if _is_unknown_name(error):
                raise NoSuchName(
                    f"{self._module}: {url.host} does not exist", hint="see PULSAR_* for its address"
                ) from None
            return None, f"could not be asked ({type(error).__name__})"
        except httpx.DecodingError:
            return None, "sent what cannot be unpacked"
        return reply, f"answered {reply.status}"

    async def _read(self, url: httpx.URL, redirects: int, *, cut: bool) -> Reply:
        assert self._http is not None
        async with self._http.stream("GET", url) as answer:
            onward = answer.next_request.url if answer.next_request else None
            if onward is None or not redirects or not _is_same_place(url, onward):
                return await self._body(url, answer, cut=cut)
        return await self._read(onward, redirects - 1, cut=cut)

    async def _body(self, url: httpx.URL, answer: httpx.Response, *, cut: bool) -> Reply:
        body, most = bytearray(), self._manners.most_bytes
        async for piece in answer.aiter_bytes():
            body += piece
            if len(body) > most:
                if not cut:
                    raise OutputTooLarge(f"{self._module}: {url.host} sent more than {most >> 10} KiB")
                break
        wait = _seconds(answer.headers.get("Retry-After", ""))
        return Reply(answer.status_code, bytes(body[:most]), len(body) <= most, wait)


def side_by_side(
    questions: Sequence[Question],
    ask: Callable[[Question], Awaitable[Found]],
    asking: Asking,
    *,
    parallel: int,
    around: AbstractAsyncContextManager[Any],
) -> Iterator[Found]:
    """Ask `parallel` questions at once, inside of `around`, and pass on what comes, until all are done or it is over.

    The first error that asking raises ends it, and is raised once all that came before has been passed on.
    """
    inbox: SimpleQueue[_Piece[Found]] = SimpleQueue()
    over = Event()

    def run() -> None:
        try:
            asyncio.run(_all(questions, ask, lambda found: inbox.put((found,)), over.is_set, parallel, around))
            inbox.put(None)
        except BaseException as error:
            inbox.put(error)

    thread = Thread(target=run, name="outside", daemon=True)
    thread.start()
    try:
        while not asking.is_over():
            try:
                piece = inbox.get(timeout=POLL_SECONDS)
            except Empty:
                continue
            if not isinstance(piece, tuple):
                if piece is not None:
                    raise piece
                return
            yield piece[0]
    finally:
        over.set()
        # No longer: the system's resolver cannot be interrupted, and a stopped scan does not wait for it.
        thread.join(LEAVING_SECONDS)


async def _all(
    questions: Sequence[Question],
    ask: Callable[[Question], Awaitable[Found]],
    put: Callable[[Found], None],
    is_over: Callable[[], bool],
    parallel: int,
    around: AbstractAsyncContextManager[Any],
) -> None:
    rest = iter(questions)

    async def work() -> None:
        for question in rest:
            put(await ask(question))

    async with around:
        pending = {asyncio.create_task(work()) for _ in range(min(parallel, len(questions)))}
        failed: BaseException | None = None
        while pending and not failed and not is_over():
            done, pending = await asyncio.wait(pending, timeout=POLL_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            failed = next((error for task in done if (error := task.exception())), None)
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)
        if failed:
            raise failed


def why_not(asking: Asking) -> str:
    """Why something was not asked, in a note's words."""
    return "the scan was stopped" if asking.is_stopped() else "the time for this unit ran out"


def _is_same_place(url: httpx.URL, onward: httpx.URL) -> bool:
    return onward.host == url.host and (onward.scheme == url.scheme or onward.scheme == "https")


def _is_unknown_name(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, socket.gaierror):
            return error.errno == socket.EAI_NONAME
        error = error.__cause__ or error.__context__
    return False


def _seconds(text: str) -> float | None:
    """Retry-After in seconds (RFC 9110, 10.2.3: a number, or a date)."""
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())
