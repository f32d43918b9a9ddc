"""Prefect as maintenance needs it: runs looked at, ended, given to workers again, and forgotten with all they left."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from types import TracebackType
from typing import Self
from uuid import UUID

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas import filters
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.client.schemas.sorting import FlowRunSort
from prefect.exceptions import ObjectNotFound, PrefectException
from prefect.states import Cancelled, Crashed, Scheduled

from footprint.errors import PrefectUnavailable
from footprint.reconciliation import RunState
from footprint.text import clean

SECONDS = 15.0
PAGE, DELETED_AT_ONCE = 200, 50
"""The most that Prefect returns for one filter, and that it deletes for one request."""
NAME_KEPT = 64
SCANS, TAG = "dispatch_scan", "pulsar"
"""The flow of scans, and the tag of all our deployments, which their runs have too."""
TERMINAL = [StateType.COMPLETED, StateType.FAILED, StateType.CRASHED, StateType.CANCELLED]


class PrefectRuns:
    """Runs of Pulsar's deployments. Every call raises `PrefectUnavailable` where it is not answered well."""

    def __init__(self) -> None:
        self._client: SyncPrefectClient = get_client(sync_client=True, httpx_settings={"timeout": SECONDS})

    def __enter__(self) -> Self:
        self._client.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.__exit__(kind, error, trace)

    def states(self, ids: Sequence[UUID]) -> dict[UUID, RunState]:
        """How many runs are; those that Prefect does not know are left out."""
        found: dict[UUID, RunState] = {}
        for start in range(0, len(ids), PAGE):
            wanted = filters.FlowRunFilter(id=filters.FlowRunFilterId(any_=list(ids[start : start + PAGE])))
            found |= {run.id: _state(run.state, run) for run in self._read(wanted) if run.state is not None}
        return found

    def crash(self, run_id: UUID, message: str) -> None:
        """End a run whose process is gone."""
        self._set(run_id, Crashed(message=message))

    def cancel(self, run_id: UUID) -> None:
        """Call a run cancelled that nobody is at work on."""
        self._set(run_id, Cancelled(message="The scan was cancelled."))

    def reschedule(self, run_id: UUID, message: str = "The scan is resumed.") -> None:
        """Give a run to the workers again."""
        self._set(run_id, Scheduled(message=message))

    def stuck(self, before: datetime) -> list[UUID]:
        """Our runs that a worker took before a time and has not started since: it died as it did."""
        pending = filters.FlowRunFilterState(type=filters.FlowRunFilterStateType(any_=[StateType.PENDING]))
        wanted = filters.FlowRunFilter(state=pending, tags=filters.FlowRunFilterTags(all_=[TAG]))
        return [run.id for run in self._read(wanted) if run.state and run.state.timestamp < before]

    def running_scans(self, before: datetime) -> list[UUID]:
        """Runs of the flow of scans that have run, or been stopped, since before a time."""
        active = filters.FlowRunFilterStateType(any_=[StateType.RUNNING, StateType.CANCELLING])
        wanted = filters.FlowRunFilter(
            state=filters.FlowRunFilterState(type=active), tags=filters.FlowRunFilterTags(all_=[TAG])
        )
        scans = self._flow_of_scans()
        runs = [run for run in self._read(wanted) if run.flow_id == scans]
        return [run.id for run in runs if run.state and run.state.timestamp < before]

    def over(self, before: datetime) -> Iterator[tuple[UUID, bool]]:
        """Our runs that ended before a time, the oldest first, each with whether it is one of a scan's flow."""
        ended = filters.FlowRunFilter(
            state=filters.FlowRunFilterState(type=filters.FlowRunFilterStateType(any_=TERMINAL)),
            end_time=filters.FlowRunFilterEndTime(before_=before),
            tags=filters.FlowRunFilterTags(all_=[TAG]),
        )
        scans = self._flow_of_scans()
        offset = 0
        while runs := self._read(ended, offset=offset):
            yield from ((run.id, run.flow_id == scans) for run in runs)
            offset += len(runs)
            if len(runs) < PAGE:
                return

    def forget(self, ids: Sequence[UUID]) -> int:
        """Delete runs with their task runs, logs and artifacts; returns how many runs there were."""
        count = 0
        for start in range(0, len(ids), DELETED_AT_ONCE):
            count += self._forget_some(list(ids[start : start + DELETED_AT_ONCE]))
        return count

    def _forget_some(self, ids: list[UUID]) -> int:
        of_runs = filters.ArtifactFilter(flow_run_id=filters.ArtifactFilterFlowRunId(any_=ids))
        with _translated():
            # Prefect deletes the logs of a run that is deleted, and leaves its artifacts.
            while artifacts := self._client.read_artifacts(artifact_filter=of_runs, limit=PAGE):
                for artifact in artifacts:
                    self._delete_artifact(artifact.id)
            # Prefect's client has no method for this; what it speaks through has its retries and its password.
            body = {"flow_runs": {"id": {"any_": [str(one) for one in ids]}}, "limit": DELETED_AT_ONCE}
            answer = self._client._client.post("/flow_runs/bulk_delete", json=body)
            answer.raise_for_status()
            return len(answer.json()["deleted"])

    def _delete_artifact(self, artifact_id: UUID) -> None:
        try:
            self._client.delete_artifact(artifact_id)
        except ObjectNotFound:
            return  # somebody else did

    def _flow_of_scans(self) -> UUID | None:
        named = filters.FlowFilter(name=filters.FlowFilterName(any_=[SCANS]))
        with _translated():
            return next((flow.id for flow in self._client.read_flows(flow_filter=named)), None)

    def _read(self, wanted: filters.FlowRunFilter, offset: int = 0) -> list[FlowRun]:
        with _translated():
            return self._client.read_flow_runs(
                flow_run_filter=wanted, sort=FlowRunSort.START_TIME_ASC, limit=PAGE, offset=offset
            )

    def _set(self, run_id: UUID, state: State) -> None:
        with _translated():
            self._client.set_flow_run_state(run_id, state, force=True)


def _state(state: State, run: FlowRun) -> RunState:
    return RunState(
        run.id,
        state.type.value,
        clean(state.name or state.type.value.title(), NAME_KEPT),
        state.message or "",
        has_started=run.run_count > 0,
        ended_at=run.end_time,
    )


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (httpx.HTTPError, PrefectException, ValueError) as error:
        said = f"Prefect did not do what it was asked: {type(error).__name__}"
        raise PrefectUnavailable(said, hint="look at the Prefect server") from error
