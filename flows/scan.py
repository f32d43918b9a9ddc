"""The Prefect flow of a scan: from the request to the verdict."""

from __future__ import annotations

from uuid import UUID

from prefect import flow, get_run_logger
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.task_runners import ThreadPoolTaskRunner

from flows.beginning import begin_scan
from flows.conduct import Conductor
from flows.pausing import Waiting, give_back, step_aside
from flows.scheduled import begin_scheduled, name_run, schedule_of_run
from footprint.errors import ScanStopped
from footprint.failpoints import failpoint
from footprint.policy import DEFAULT_POLICY

UNITS_AT_ONCE = 64
"""The most that a policy's `concurrency` may ask for."""


@flow(
    name="dispatch_scan",
    task_runner=ThreadPoolTaskRunner(max_workers=UNITS_AT_ONCE),  # type: ignore[arg-type]
    persist_result=False,
)
def dispatch_scan(
    target: str = "",
    policy: str = DEFAULT_POLICY,
    comment: str = "",
    scan_id: UUID | None = None,
    schedule_id: UUID | None = None,
) -> State:
    """Scan one target: spawn a task for each unit of work, as long as there is any, and judge what came of it.

    Args:
        target: What to scan: a domain (example.com), an address, or a network (198.51.100.0/24).
        policy: How: passive, quick, full_discovery, stealth, network_sweep, or a policy of your own.
        comment: A remark that is kept with the scan.
        scan_id: Leave this empty: the API gives it, for a scan that is written down already.
        schedule_id: Leave this empty: the API's schedules give it, and what they scan is looked up.
    """
    run_id = UUID(flow_run.id)
    if scan_id is None and not target:
        schedule_id = schedule_id or schedule_of_run()
    if schedule_id is not None and (ended := begin_scheduled(run_id, schedule_id)) is not None:
        return ended
    scan = begin_scan(run_id, scan_id, target=target, policy=policy, comment=comment)
    if isinstance(scan, Waiting):
        give_back(scan)
    if isinstance(scan, State):
        return scan
    failpoint("after-lease")
    name_run(scan)
    get_run_logger().info("scan %s began, attempt %d", scan.id, scan.attempt)
    conductor = Conductor(scan)
    try:
        with conductor:
            conductor.play()
            verdict = conductor.conclude()
    except ScanStopped:
        if conductor.is_overtaken():
            step_aside()
        raise
    if isinstance(verdict, Waiting):
        give_back(verdict)
    return verdict
