"""How a run that a schedule made begins: skipped, or with its scan; an asset's other roots get runs of their own."""

from __future__ import annotations

from functools import partial
from uuid import UUID

import httpx
from prefect import get_run_logger
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from prefect.context import FlowRunContext
from prefect.exceptions import PrefectException
from prefect.runtime import deployment, flow_run
from prefect.states import Completed

from footprint.errors import RequestError
from footprint.records import subject_of
from footprint.store.scans import Begun, attach
from footprint.store.schedule_tables import REFUSED
from footprint.store.schedule_turns import hold_schedule, note_run, schedule_of_prefect
from footprint.store.tables import Scan
from tasks.installation import Installation, installation
from tasks.scheduled import take_turn

SECONDS = 15.0
NAMING_SECONDS = 5.0
SKIPPED = "Skipped"


def schedule_of_run() -> UUID | None:
    """The schedule that made this run, if it is one of the store's.

    Prefect forgets a schedule's parameters when it is changed in its UI, and runs come without them until the API has
    put that right.
    """
    context = FlowRunContext.get()
    made_by = context.flow_run.created_by if context and context.flow_run else None
    if made_by is None or made_by.id is None:
        return None
    with installation().store.read() as session:
        return schedule_of_prefect(session, made_by.id)


def begin_scheduled(task_id: UUID, schedule_id: UUID) -> State | None:
    """Take a schedule's turn; returns the run's last state where there is nothing to scan.

    Raises `RequestError` where the schedule asks for what may not be scanned any more; that is written down.
    """
    here, due_at = installation(), flow_run.scheduled_start_time
    try:
        turn = here.store.keep(
            partial(take_turn, settings=here.settings, schedule_id=schedule_id, task_id=task_id, due_at=due_at)
        )
    except RequestError as error:
        with here.store.write() as session:
            if hold_schedule(session, schedule_id):
                note_run(session, schedule_id, REFUSED, task_id=task_id, due_at=due_at, reason=error.detail)
        raise
    if turn.skipped is not None:
        get_run_logger().info("skipped: %s", turn.skipped)
        return Completed(name=SKIPPED, message=turn.skipped)
    for scan_id in turn.scans[1:]:
        _hand_over(here, scan_id)
    return None


def name_run(scan: Begun) -> None:
    """Call a run that a schedule made by what it scans: Prefect gives it a random name, and the API names its own."""
    context = FlowRunContext.get()
    run = context.flow_run if context else None
    name = f"{subject_of(scan.target)} {scan.policy.name}"
    if run is None or not run.auto_scheduled or run.name == name:
        return
    try:
        with get_client(sync_client=True, httpx_settings={"timeout": NAMING_SECONDS}) as client:
            client.set_flow_run_name(run.id, name)
    except (httpx.HTTPError, PrefectException) as away:
        get_run_logger().warning("the run keeps its name: %s", type(away).__name__)


def _hand_over(here: Installation, scan_id: UUID) -> None:
    """Start a scan's own run. Where Prefect is away, the API does it later."""
    try:
        with get_client(sync_client=True, httpx_settings={"timeout": SECONDS}) as client:
            run = client.create_flow_run_from_deployment(
                UUID(deployment.id), parameters={"scan_id": str(scan_id)}, idempotency_key=str(scan_id)
            )
    except (httpx.HTTPError, PrefectException) as away:
        get_run_logger().warning("scan %s is started later: %s", scan_id, type(away).__name__)
        return
    with here.store.write() as session:
        if session.get(Scan, scan_id) is not None:
            attach(session, scan_id, run.id)
