"""How a flow gives its own run back to Prefect, to go on later without holding a worker meanwhile."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import NoReturn
from uuid import UUID

import httpx
from prefect import get_run_logger
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from prefect.exceptions import Pause, PrefectException
from prefect.runtime import flow_run
from prefect.states import Cancelled, Failed, Scheduled
from sqlalchemy.orm import Session

from footprint.policy import ScanPolicy
from footprint.states import Status
from footprint.store.endings import finish
from footprint.store.resumption import put_back
from footprint.store.tables import Scan, now
from footprint.verdict import Verdict
from footprint.windows import Closed

SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class Waiting:
    """A scan that goes on at another time, and why, in words."""

    opens_at: datetime
    reason: str


def hindrance(session: Session, scan_id: UUID) -> Waiting | State | None:
    """Why a scan is not to be taken up now: its window is closed, or it was cancelled. None where it may be."""
    scan = session.get(Scan, scan_id)
    if scan is None or Status(scan.status) is Status.REVOKED:
        return Cancelled(message="The scan was cancelled before it began.") if scan else None
    stands = ScanPolicy.model_validate(scan.policy).standing_at(now())
    if not isinstance(stands, Closed) or Status(scan.status).is_terminal:
        return None
    if stands.opens_at is None:
        finish(session, scan_id, Verdict(Status.FAILURE, error=str(stands)), "Failed")
        return Failed(message=str(stands))
    put_back(session, scan_id, attempt=scan.attempt, reason=str(stands), at=stands.opens_at)
    return Waiting(stands.opens_at, str(stands))


def is_run_cancelled() -> bool:
    """Whether somebody cancelled this run in Prefect. A Prefect that is away says nothing."""
    try:
        with get_client(sync_client=True, httpx_settings={"timeout": SECONDS}) as client:
            run = client.read_flow_run(UUID(flow_run.id))
    except (httpx.HTTPError, PrefectException):
        return False
    return run.state is not None and (run.state.is_cancelling() or run.state.is_cancelled())


def give_back(waiting: Waiting) -> NoReturn:
    """End this process and leave the run scheduled; the same run is then started again.

    `Pause` is what ends an engine without its reporting a state of its own.

    The store says the same already: where Prefect is away, the API reschedules the run when its time has come.
    """
    get_run_logger().info("the scan waits: %s", waiting.reason)
    state: State = Scheduled(scheduled_time=waiting.opens_at, message=waiting.reason)
    try:
        with get_client(sync_client=True, httpx_settings={"timeout": SECONDS}) as client:
            client.set_flow_run_state(UUID(flow_run.id), state, force=True)
        raise Pause(state=state)
    except (httpx.HTTPError, PrefectException) as away:
        get_run_logger().warning("Prefect was not told that the scan waits: %s", type(away).__name__)
    raise Pause
