"""What Prefect says of the pool, its queues, its workers and its runs, as far as Pulsar explains or judges it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from footprint.timing import Timing


@dataclass(frozen=True, slots=True)
class WorkerSeen:
    """A worker as Prefect knows it. It counts as online for three heartbeats, a minute and a half, after the last."""

    name: str
    is_online: bool
    heard_at: datetime | None


@dataclass(frozen=True, slots=True)
class QueueSeen:
    """A queue of the pool. `polled_at` is when a worker last asked it for runs."""

    name: str
    is_paused: bool
    limit: int | None
    polled_at: datetime | None


@dataclass(frozen=True, slots=True)
class RunSeen:
    """A flow run: the type and the name of its state and since when it has that; `due` is when it may begin."""

    id: UUID
    name: str
    state_type: str
    state: str
    message: str
    since: datetime
    due: datetime | None
    queue: str | None


@dataclass(frozen=True, slots=True)
class PoolSeen:
    """The work pool. `holders` are the runs that hold its places, or some of them; `held` counts them all."""

    name: str
    is_paused: bool
    limit: int | None
    queues: tuple[QueueSeen, ...]
    workers: tuple[WorkerSeen, ...]
    held: int
    holders: tuple[RunSeen, ...] = ()

    @property
    def is_full(self) -> bool:
        """True where no run can begin before another has ended."""
        return self.limit is not None and self.held >= self.limit

    @property
    def last_seen(self) -> WorkerSeen | None:
        """The worker that was heard of last."""
        heard = [(worker.heard_at, worker) for worker in self.workers if worker.heard_at]
        return max(heard, key=lambda pair: pair[0])[1] if heard else None

    def queue(self, name: str | None) -> QueueSeen | None:
        """The queue of that name; of a run that names none, the first."""
        return next((queue for queue in self.queues if name in (None, queue.name)), None)

    def polled_at(self) -> datetime | None:
        """When any queue of it was last asked for runs."""
        return max((queue.polled_at for queue in self.queues if queue.polled_at), default=None)

    def is_served(self, at: datetime, silence: timedelta) -> bool:
        """True where a worker is online, and one has asked for runs within `silence` before `at`."""
        polled = self.polled_at()
        return any(worker.is_online for worker in self.workers) and polled is not None and at - polled <= silence


@dataclass(frozen=True, slots=True)
class ScheduleSeen:
    """A schedule of the deployment. `ours` is the id of the schedule in the store that it was made for.

    It is not whole where Prefect has lost its parameters, as it does at each change in its UI.
    """

    prefect_id: UUID
    ours: UUID | None
    active: bool
    timing: Timing | None
    is_whole: bool = True


@dataclass(frozen=True, slots=True)
class OtherSchedule:
    """A schedule of scans that the store does not have: kept in git with `prefect.yaml`, or made in Prefect's UI.

    `deployment` is its deployment as Prefect names it; `target` is None where its parameters have none.
    """

    prefect_id: UUID
    deployment_id: UUID
    deployment: str
    slug: str | None
    active: bool
    is_deployment_paused: bool
    timing: Timing | None
    target: str | None
    policy: str
    comment: str
    created_at: datetime
    changed_at: datetime


@dataclass(frozen=True, slots=True)
class SchedulesSeen:
    """The schedules of scans, and how many of their runs are late. `known` are those of the deployment of `pulsar`.

    `others` are those that people keep in Prefect, on that deployment and on others of the same flow.
    """

    active: int
    paused: int
    is_deployment_paused: bool
    late: int
    known: tuple[ScheduleSeen, ...] = ()
    deployment_id: UUID | None = None
    others: tuple[OtherSchedule, ...] = ()


@dataclass(frozen=True, slots=True)
class PrefectSeen:
    """A Prefect server: its version, the clock of it beside ours, and what it has of Pulsar's.

    `pool` and `schedules` are None where it has none. `drift` is in seconds, ahead of ours where positive.
    """

    version: str
    drift: float | None
    pool: PoolSeen | None
    schedules: SchedulesSeen | None
