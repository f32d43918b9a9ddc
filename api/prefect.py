"""The one file of the API that speaks to Prefect: start a scan's run, look at runs, say how Prefect is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import TracebackType
from uuid import UUID

import httpx
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import FlowRun, State
from prefect.exceptions import ObjectNotFound, PrefectException, PrefectHTTPStatusError
from prefect.settings import PREFECT_API_URL
from prefect.states import Crashed

from footprint.errors import PlatformError, PrefectUnavailable
from footprint.reconciliation import RunState
from footprint.text import clean

DEPLOYMENT = "dispatch_scan/pulsar"
POOL = "pulsar"
SECONDS = 5.0
"""How long a look may take before Prefect counts as away."""
START_SECONDS = 15.0
"""How long it may take to create a run. A busy Prefect on SQLite writes slowly, and one after another."""
STARTS_AT_ONCE = 4
BUSY_PAUSES = (0.2, 0.5, 1.0, 2.0)
"""Seconds between tries while Prefect answers 503: its SQLite was locked."""
NAME_KEPT = 64
RUNS_AT_ONCE = 200
"""The most that Prefect returns for one filter."""


@dataclass(frozen=True, slots=True)
class PrefectHealth:
    """How Prefect is. `workers` are the names of those online; `pool` is its status, or why there is none."""

    server: bool
    detail: str
    pool: str | None = None
    workers: tuple[str, ...] = ()


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

    async def start(self, scan_id: UUID, name: str) -> UUID:
        """Create the run that carries a scan out, and return its id; the same scan always gets the same run."""
        async with _bounded(START_SECONDS), self._turn:
            for pause in BUSY_PAUSES:
                try:
                    return await self._create(scan_id, name)
                except PrefectHTTPStatusError as error:
                    if error.response.status_code != httpx.codes.SERVICE_UNAVAILABLE:
                        raise
                await asyncio.sleep(pause)
            return await self._create(scan_id, name)

    async def _create(self, scan_id: UUID, name: str) -> UUID:
        if self._deployment is None:
            self._deployment = (await self._client.read_deployment_by_name(DEPLOYMENT)).id
        try:
            run = await self._client.create_flow_run_from_deployment(
                self._deployment, parameters={"scan_id": str(scan_id)}, name=name, idempotency_key=str(scan_id)
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

    async def health(self) -> PrefectHealth:
        """Ask for the server, the pool and its workers. Never raises."""
        try:
            async with _bounded():
                pool = await self._client.read_work_pool(POOL)
                workers = await self._client.read_workers_for_work_pool(POOL)
        except PrefectUnavailable as away:
            return PrefectHealth(server=False, detail=str(away))
        online = tuple(sorted(worker.name for worker in workers if worker.status == "ONLINE"))
        state = "paused" if pool.is_paused else (pool.status.value.lower() if pool.status else "unknown")
        return PrefectHealth(server=True, detail="answers", pool=state, workers=online)


def _state(state: State, run: FlowRun) -> RunState:
    return RunState(
        run.id,
        state.type.value,
        clean(state.name or state.type.value.title(), NAME_KEPT),
        state.message or "",
        has_started=run.run_count > 0,
        ended_at=run.end_time,
    )


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
        code = error.response.status_code
        hint = "is PREFECT_API_AUTH_STRING the server's?" if code in (401, 403) else "look at the Prefect server"
        raise PrefectUnavailable(f"Prefect answers {code}", hint=hint) from error
    except httpx.HTTPError as error:
        raise PrefectUnavailable("Prefect cannot be reached", hint="is the Prefect server running?") from error
    except (ValueError, PrefectException) as error:
        # A page, or JSON of another shape. pydantic's ValidationError is a ValueError.
        hint = "PREFECT_API_URL ends in /api, and its server is of our version"
        raise PrefectUnavailable("what answers there is not the Prefect API", hint=hint) from error
