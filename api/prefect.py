"""The one file of the API that speaks to Prefect: start, look at, cancel and resume runs, say how Prefect is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from importlib.metadata import version
from types import TracebackType
from typing import TypeVar
from uuid import UUID

import httpx
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import FlowRun, State
from prefect.exceptions import ObjectNotFound, PrefectException, PrefectHTTPStatusError
from prefect.settings import PREFECT_API_URL
from prefect.states import Cancelled, Cancelling, Crashed, Scheduled

from api import prefect_looks, prefect_schedules
from footprint.errors import PlatformError, PrefectRefuses, PrefectUnavailable
from footprint.journal import Said
from footprint.platform_facts import PoolSeen, PrefectSeen, RunSeen
from footprint.reconciliation import RunState
from footprint.text import clean
from footprint.timing import Timing

T = TypeVar("T")
VERSION = version("prefect")
DEPLOYMENT = "dispatch_scan/pulsar"
POOL = "pulsar"
SECONDS = 5.0
"""How long a look may take before Prefect counts as away."""
START_SECONDS = 15.0
"""How long it may take to create a run. A busy Prefect on SQLite writes slowly, and one after another."""
LOG_SECONDS = 15.0
STARTS_AT_ONCE = 4
BUSY_PAUSES = (0.2, 0.5, 1.0, 2.0)
"""Seconds between tries while Prefect answers 503: its SQLite was locked."""
NAME_KEPT = 64
CANCELLED = "The scan was cancelled."
CHANGES_AT_ONCE = 20
"""Runs that Prefect changes for one request, in one transaction; it takes 50 at most."""
RUNS_AT_ONCE = 200
"""The most that Prefect returns for one filter."""


@dataclass(frozen=True, slots=True)
class PrefectHealth:
    """How Prefect is. `seen` is what it says of itself where it answers; `refused`, that it takes us for a stranger."""

    server: bool
    detail: str
    seen: PrefectSeen | None = None
    refused: bool = False


class PrefectGateway:
    """Prefect as the API needs it; every call is bounded, and raises `PrefectUnavailable` when it is not answered."""

    def __init__(self) -> None:
        if not PREFECT_API_URL.value():
            # Prefect's client would start a server of its own, without a password.
            raise PlatformError("PREFECT_API_URL is not set", hint="`pulsar up` sets it for its parts")
        self._client: PrefectClient = get_client(httpx_settings={"timeout": START_SECONDS})
        self._deployment: UUID | None = None
        self._turn = asyncio.Semaphore(STARTS_AT_ONCE)

    async def __aenter__(self) -> PrefectGateway:
        await self._client.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.__aexit__(kind, error, trace)

    async def start(self, scan_id: UUID, name: str, at: datetime | None = None) -> UUID:
        """Create the run that carries a scan out, now or at a time; the same scan always gets the same run.

        Returns its id.
        """
        async with _bounded(START_SECONDS), self._turn:
            return await _patiently(partial(self._create, scan_id, name, at))

    async def _create(self, scan_id: UUID, name: str, at: datetime | None) -> UUID:
        if self._deployment is None:
            self._deployment = (await self._client.read_deployment_by_name(DEPLOYMENT)).id
        try:
            run = await self._client.create_flow_run_from_deployment(
                self._deployment,
                parameters={"scan_id": str(scan_id)},
                state=Scheduled(scheduled_time=at),
                name=name,
                idempotency_key=str(scan_id),
            )
        except ObjectNotFound:
            self._deployment = None  # deployed anew since: the next try asks for its id
            raise
        return run.id

    async def runs(self, ids: Sequence[UUID]) -> dict[UUID, RunState]:
        """Look at many runs at once; those that Prefect does not know are left out."""
        found: dict[UUID, RunState] = {}
        for start in range(0, len(ids), RUNS_AT_ONCE):
            some = list(ids[start : start + RUNS_AT_ONCE])
            wanted = FlowRunFilter(id=FlowRunFilterId(any_=some))
            async with _bounded():
                runs = await self._client.read_flow_runs(flow_run_filter=wanted, limit=RUNS_AT_ONCE)
            found |= {run.id: _state(run.state, run) for run in runs if run.state is not None}
        return found

    async def crash(self, run_id: UUID, message: str) -> None:
        """End a run whose process is gone."""
        async with _bounded():
            await self._client.set_flow_run_state(run_id, Crashed(message=message), force=True)

    async def cancel(self, run_id: UUID, *, is_over: bool) -> None:
        """Have a run stopped by its worker; one that `is_over`, as nobody is at work on it, is called cancelled."""
        state: State = Cancelled(message=CANCELLED) if is_over else Cancelling(message=CANCELLED)
        async with _bounded():
            await self._client.set_flow_run_state(run_id, state, force=is_over)

    async def cancel_all(self, ids: Sequence[UUID]) -> list[UUID]:
        """Call many runs cancelled that nobody is at work on; returns those of which that was not confirmed.

        One piece after another, and none after one that failed: side by side, and again while the server still was at
        work on them, they kept each other out of its SQLite for minutes, and everybody else too.
        """
        for start in range(0, len(ids), CHANGES_AT_ONCE):
            if await self._cancel_some(list(ids[start : start + CHANGES_AT_ONCE])):
                return list(ids[start:])
        return []

    async def _cancel_some(self, ids: list[UUID]) -> list[UUID]:
        body = {
            "flow_runs": {"id": {"any_": [str(one) for one in ids]}},
            "state": {"type": "CANCELLED", "name": "Cancelled", "message": CANCELLED},
            "force": True,  # a third faster, as no rule has to be asked
        }
        try:
            async with self._turn, _bounded(START_SECONDS):
                # Prefect's client has no method for this; what it speaks through has its retries and its password.
                answer = await self._client._client.post("/flow_runs/bulk_set_state", json=body)
                answer.raise_for_status()
        except PrefectUnavailable:
            return ids
        return []

    async def reschedule(self, run_id: UUID) -> None:
        """Give a run to the workers again: the same run, whose count of starts goes on."""
        async with _bounded():
            await self._client.set_flow_run_state(run_id, Scheduled(message="The scan is resumed."), force=True)

    async def put_schedule(self, schedule_id: UUID, timing: Timing, *, active: bool, what: str) -> tuple[UUID, UUID]:
        """Make a schedule that starts scans of `what`, or change it; returns its id in Prefect and the deployment's."""
        async with _bounded(START_SECONDS), self._turn:
            deployment = (await self._client.read_deployment_by_name(DEPLOYMENT)).id
            put = partial(prefect_schedules.put, self._client, deployment, schedule_id, timing)
            return await _patiently(partial(put, active=active, what=what)), deployment

    async def switch_schedule(self, deployment: UUID, prefect_id: UUID, *, active: bool) -> None:
        """Pause or resume a schedule, and leave what else it says. Raises `NotFound` where it is gone."""
        async with _bounded(START_SECONDS), self._turn:
            await _patiently(partial(prefect_schedules.switch, self._client, deployment, prefect_id, active=active))

    async def remove_schedule(self, deployment: UUID, prefect_id: UUID) -> None:
        """Remove a schedule and the runs that it made; one that is not there is removed already."""
        async with _bounded(START_SECONDS), self._turn:
            await _patiently(partial(prefect_schedules.remove, self._client, deployment, prefect_id))

    async def run_and_pool(self, run_id: UUID) -> tuple[RunSeen | None, PoolSeen | None, int]:
        """A run, the pool with the runs that hold its places, and how many runs come before this one."""
        async with _bounded():
            return await prefect_looks.run_and_pool(self._client, run_id, POOL)

    async def log(self, run_id: UUID, level: int, after: datetime | None) -> list[Said]:
        """What a run and its tasks said, oldest first, at most `journal.MOST_LINES` lines."""
        async with _bounded(LOG_SECONDS):
            return await prefect_looks.log(self._client, run_id, level, after)

    async def task_names(self, ids: Sequence[UUID]) -> dict[UUID, str]:
        """What task runs are called; those that Prefect does not list yet are left out."""
        async with _bounded(LOG_SECONDS):
            return await prefect_looks.task_names(self._client, ids)

    async def health(self) -> PrefectHealth:
        """Ask for the server, the pool, its workers and the schedules. Never raises."""
        try:
            async with _bounded():
                seen = await prefect_looks.prefect(self._client, POOL, DEPLOYMENT)
        except PrefectUnavailable as away:
            return PrefectHealth(server=False, detail=str(away), refused=isinstance(away, PrefectRefuses))
        return PrefectHealth(server=True, detail="answers", seen=seen)


def _state(state: State, run: FlowRun) -> RunState:
    return RunState(
        run.id,
        state.type.value,
        clean(state.name or state.type.value.title(), NAME_KEPT),
        state.message or "",
        has_started=run.run_count > 0,
        ended_at=run.end_time,
        since=state.timestamp,
    )


async def _patiently(ask: Callable[[], Awaitable[T]]) -> T:
    """Ask again while Prefect is busy: its SQLite was locked."""
    for pause in BUSY_PAUSES:
        try:
            return await ask()
        except PrefectHTTPStatusError as error:
            if error.response.status_code != httpx.codes.SERVICE_UNAVAILABLE:
                raise
        await asyncio.sleep(pause)
    return await ask()


@asynccontextmanager
async def _bounded(seconds: float = SECONDS) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise PrefectUnavailable("Prefect does not answer in time", hint="look at the Prefect server") from None
    except ObjectNotFound:
        raise PrefectUnavailable(
            "Prefect has no deployment or pool for scans", hint="`pulsar up`, or `prefect deploy --all`"
        ) from None
    except PrefectHTTPStatusError as error:
        raise _answered(error.response.status_code) from error
    except httpx.HTTPStatusError as error:
        # Some of the client's own calls let httpx's error through.
        raise _answered(error.response.status_code) from error
    except httpx.HTTPError as error:
        raise PrefectUnavailable("Prefect cannot be reached", hint="is the Prefect server running?") from error
    except (ValueError, PrefectException) as error:
        # A page, or JSON of another shape. pydantic's ValidationError is a ValueError.
        hint = "PREFECT_API_URL ends in /api, and its server is of our version"
        raise PrefectUnavailable("what answers there is not the Prefect API", hint=hint) from error


def _answered(code: int) -> PrefectUnavailable:
    if code in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
        return PrefectRefuses(f"Prefect answers {code}", hint="is PREFECT_API_AUTH_STRING the server's?")
    return PrefectUnavailable(f"Prefect answers {code}", hint="look at the Prefect server")
