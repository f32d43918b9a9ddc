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
from prefect.states import Scheduled

from footprint.windows import EARLINESS

SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class Waiting:
    """A scan that goes on at another time, and why, in words."""

    opens_at: datetime
    reason: str


def is_run_cancelled() -> bool:
    """Whether somebody cancelled this run in Prefect. A Prefect that is away says nothing."""
    try:
        with get_client(sync_client=True, httpx_settings={"timeout": SECONDS}) as client:
            run = client.read_flow_run(UUID(flow_run.id))
    except (httpx.HTTPError, PrefectException):
        return False
    return run.state is not None and (run.state.is_cancelling() or run.state.is_cancelled())


def step_aside() -> NoReturn:
    """End this process and leave the run as it is: another attempt carries it out, and it is not ours to end."""
    get_run_logger().warning("another worker has taken the scan over")
    raise Pause


def give_back(waiting: Waiting) -> NoReturn:
    """End this process and leave the run scheduled; the same run is then started again.

    `Pause` is what ends an engine without its reporting a state of its own.

    The store says the same already: where Prefect is away, the API reschedules the run when its time has come.
    """
    get_run_logger().info("the scan waits: %s", waiting.reason)
    state: State = Scheduled(scheduled_time=waiting.opens_at + EARLINESS, message=waiting.reason)
    try:
        with get_client(sync_client=True, httpx_settings={"timeout": SECONDS}) as client:
            client.set_flow_run_state(UUID(flow_run.id), state, force=True)
        raise Pause(state=state)
    except (httpx.HTTPError, PrefectException) as away:
        get_run_logger().warning("Prefect was not told that the scan waits: %s", type(away).__name__)
    raise Pause
