"""How a Prefect client is asked for what Pulsar explains and judges: runs, pool, workers, schedules, logs.

`api.prefect` calls these, and bounds and translates what they raise.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TypedDict
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas import filters
from prefect.client.schemas.objects import DeploymentSchedule, FlowRun, StateType, WorkQueue
from prefect.client.schemas.responses import DeploymentResponse
from prefect.exceptions import ObjectNotFound

from api import prefect_schedules
from footprint.journal import MOST_LINES, Said
from footprint.platform_facts import OtherSchedule, PoolSeen, PrefectSeen, QueueSeen, RunSeen, SchedulesSeen, WorkerSeen
from footprint.text import clean

MAINTENANCE = "maintenance"
"""The queue of maintenance, as prefect.yaml names it."""
PAGE = 200
HOLDERS = 200
WORD = 255
HOLDING = [StateType.PENDING, StateType.RUNNING]
"""The states in which Prefect counts a run against a limit of its pool or queue."""


class _Place(TypedDict):
    """Arguments of Prefect's client."""

    work_pool_filter: filters.WorkPoolFilter
    work_queue_filter: filters.WorkQueueFilter


async def prefect(client: PrefectClient, pool: str, deployment: str) -> PrefectSeen:
    """What a server says of itself and of what is Pulsar's in it."""
    begun = datetime.now(UTC)
    version = await client.request("GET", "/admin/version")
    ended = datetime.now(UTC)
    return PrefectSeen(
        version=clean(str(version.json()), WORD),
        drift=_drift(version.headers.get("date"), begun, ended),
        pool=await _pool(client, pool),
        schedules=await _schedules(client, deployment),
    )


def _drift(date: str | None, begun: datetime, ended: datetime) -> float | None:
    """Seconds that the server is ahead of us. Its time is cut to a second, and read somewhere between ours."""
    if date is None:
        return None
    told = parsedate_to_datetime(date)
    behind, ahead = told + timedelta(seconds=1) - begun, told - ended
    if behind < timedelta():
        return behind.total_seconds()
    return max(0.0, ahead.total_seconds())


async def _pool(client: PrefectClient, name: str) -> PoolSeen | None:
    """The pool as scans have it: without the queue of maintenance, which has places of its own."""
    try:
        found = await client.read_work_pool(name)
        workers = await client.read_workers_for_work_pool(name)
        queues = [queue for queue in await client.read_work_queues(name) if queue.name != MAINTENANCE]
    except ObjectNotFound:
        return None
    limits = [limit for limit in (found.concurrency_limit, *_limit_of(queues)) if limit is not None]
    return PoolSeen(
        name=name,
        is_paused=found.is_paused,
        limit=min(limits, default=None),
        queues=tuple(
            QueueSeen(queue.name, queue.is_paused, queue.concurrency_limit, queue.last_polled) for queue in queues
        ),
        workers=tuple(
            WorkerSeen(clean(worker.name, WORD), worker.status == "ONLINE", worker.last_heartbeat_time)
            for worker in sorted(workers, key=lambda worker: worker.name)
        ),
        held=await client.count_flow_runs(flow_run_filter=_in_states(HOLDING), **_of(name, queues)),
    )


def _limit_of(queues: Sequence[WorkQueue]) -> list[int | None]:
    """What scans are limited to where they have one queue only, as on a platform of ours."""
    return [queues[0].concurrency_limit] if len(queues) == 1 else []


async def _schedules(client: PrefectClient, name: str) -> SchedulesSeen | None:
    try:
        deployment = await client.read_deployment_by_name(name)
    except ObjectNotFound:
        return None
    flow = filters.FlowFilter(id=filters.FlowFilterId(any_=[deployment.flow_id]))
    deployments = await client.read_deployments(flow_filter=flow, limit=PAGE)
    late = filters.FlowRunFilter(
        state=filters.FlowRunFilterState(name=filters.FlowRunFilterStateName(any_=["Late"])),
        deployment_id=filters.FlowRunFilterDeploymentId(any_=[each.id for each in deployments]),
    )
    schedules = [(schedule, each) for each in deployments for schedule in each.schedules]
    active = sum(schedule.active for schedule, _ in schedules)
    count = await client.count_flow_runs(flow_run_filter=late)
    return SchedulesSeen(
        active,
        len(schedules) - active,
        deployment.paused,
        count,
        known=tuple(map(prefect_schedules.seen, deployment.schedules)),
        deployment_id=deployment.id,
        others=_others(schedules, deployment.id, name.partition("/")[0]),
    )


def _others(
    schedules: Sequence[tuple[DeploymentSchedule, DeploymentResponse]], deployment: UUID, flow: str
) -> tuple[OtherSchedule, ...]:
    """Those that the store did not make, the oldest first."""
    found = [
        prefect_schedules.other(schedule, each, f"{flow}/{clean(each.name, WORD)}")
        for schedule, each in schedules
        if each.id != deployment or prefect_schedules.seen(schedule).ours is None
    ]
    return tuple(sorted(found, key=lambda other: (other.created_at, other.prefect_id)))


async def run_and_pool(client: PrefectClient, run_id: UUID, pool: str) -> tuple[RunSeen | None, PoolSeen | None, int]:
    """A run, the pool with the other runs that hold its places, and how many runs come before this one."""
    try:
        run = _run(await client.read_flow_run(run_id))
    except ObjectNotFound:
        run = None
    found = await _pool(client, pool)
    if found is None or run is None or run.state_type != "SCHEDULED":
        return run, found, 0
    holders = await client.read_flow_runs(flow_run_filter=_in_states(HOLDING), limit=HOLDERS, **_of(pool, found.queues))
    seen = tuple(filter(None, map(_run, holders)))
    held = PoolSeen(found.name, found.is_paused, found.limit, found.queues, found.workers, found.held, seen)
    return run, held, await _ahead_of(client, run, pool, found.queues)


async def _ahead_of(client: PrefectClient, run: RunSeen, pool: str, queues: Sequence[QueueSeen]) -> int:
    if run.due is None:
        return 0
    earlier = filters.FlowRunFilterNextScheduledStartTime(before_=run.due)
    waiting = _in_states([StateType.SCHEDULED]).model_copy(update={"next_scheduled_start_time": earlier})
    # The filter takes its bound in, and so this run itself.
    return max(0, await client.count_flow_runs(flow_run_filter=waiting, **_of(pool, queues)) - 1)


def _run(run: FlowRun) -> RunSeen | None:
    if run.state is None:
        return None
    return RunSeen(
        id=run.id,
        name=clean(run.name, WORD),
        state_type=run.state.type.value,
        state=clean(run.state.name or run.state.type.value.title(), WORD),
        message=clean(run.state.message or ""),
        since=run.state.timestamp,
        due=run.next_scheduled_start_time or run.expected_start_time,
        queue=run.work_queue_name,
    )


def _in_states(types: list[StateType]) -> filters.FlowRunFilter:
    return filters.FlowRunFilter(state=filters.FlowRunFilterState(type=filters.FlowRunFilterStateType(any_=types)))


def _of(pool: str, queues: Sequence[WorkQueue | QueueSeen]) -> _Place:
    """The filters of runs that go through these queues of a pool."""
    names = [queue.name for queue in queues]
    return {
        "work_pool_filter": filters.WorkPoolFilter(name=filters.WorkPoolFilterName(any_=[pool])),
        # A run's own column for its queue is empty, whatever Prefect shows.
        "work_queue_filter": filters.WorkQueueFilter(name=filters.WorkQueueFilterName(any_=names)),
    }


async def log(client: PrefectClient, run_id: UUID, level: int, after: datetime | None) -> list[Said]:
    """What a run and its tasks said at that level and above, oldest first, at most `MOST_LINES` lines."""
    wanted = filters.LogFilter(
        flow_run_id=filters.LogFilterFlowRunId(any_=[run_id]),
        level=filters.LogFilterLevel(ge_=level),
        timestamp=filters.LogFilterTimestamp(after_=after) if after else None,
    )
    said: list[Said] = []
    while len(said) < MOST_LINES:
        page = await client.read_logs(wanted, limit=PAGE, offset=len(said))
        said += [Said(line.id, line.timestamp, line.level, line.message, line.task_run_id) for line in page]
        if len(page) < PAGE:
            break
    return said


async def task_names(client: PrefectClient, ids: Sequence[UUID]) -> dict[UUID, str]:
    """What task runs are called; those that Prefect does not list are left out."""
    named: dict[UUID, str] = {}
    for start in range(0, len(ids), PAGE):
        wanted = filters.TaskRunFilter(id=filters.TaskRunFilterId(any_=list(ids[start : start + PAGE])))
        named |= {task.id: task.name for task in await client.read_task_runs(task_run_filter=wanted, limit=PAGE)}
    return named
