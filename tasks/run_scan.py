"""The Prefect task of a scan: one module against one batch of its records."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed
from sqlalchemy.orm import Session

from footprint.admission import scope_of
from footprint.budget import Share
from footprint.errors import StoreUnavailable, StrayedOutOfScope, ToolQuarantined
from footprint.failpoints import failpoint
from footprint.spool import Spooled
from footprint.store.ledger import Owner, share_of
from footprint.store.scans import Begun
from footprint.store.tables import now
from footprint.store.units import Settlement, Unit, begin_unit, report_progress
from footprint.verdict import UnitStatus
from tasks.authorization import InForce, in_force
from tasks.installation import Installation, installation
from tasks.quarantine import quarantine_of
from tasks.results import keep_result
from tasks.stopping import stop_flag
from tasks.unit import Circumstances, carry_out

REPORT_SECONDS = 1.0


@task(name="run_scan", task_run_name="{module} batch {batch}", persist_result=False, cache_policy=NO_CACHE)
def run_scan(scan: Begun, module: str, batch: int) -> State:
    """Carry one planned unit out and keep what it found; the state says how many records that were, or what failed.

    Raises `ScanStopped` where the scan is no longer this attempt's.
    """
    here = installation()
    keep = partial(here.store.keep, until=time.monotonic() + scan.policy.scan_timeout, stopped=stop_flag(scan.id))
    begin = partial(_begin, here=here, scan=scan, module=module, batch=batch)
    unit_id, unit, now_in_force, quarantine = keep(begin)
    share = keep(partial(share_of, owner=Owner(scan.id, scan.attempt, module, batch)))
    begun_at = now()
    log = get_run_logger()
    log.info("%s batch %d began: %d targets", module, batch, len(unit.records))
    under = _circumstances(here, scan, unit_id, now_in_force, share)
    settled = carry_out(unit, replace(under, quarantine=quarantine))
    failpoint("after-tool")
    kept = keep_result(here, scan, unit_id, Spooled(unit, scan.attempt, settled, begun_at, now()), log)
    failpoint("after-commit")
    _tell(log, unit, settled, len(settled.records) if kept is None else kept)
    if settled.status is UnitStatus.FAILED:
        return Failed(message=settled.error)
    waits = f", {len(settled.records)} records for when the store is back"
    return Completed(message=f"{settled.status}{waits if kept is None else f', {kept} records'}")


def _begin(
    session: Session, here: Installation, scan: Begun, module: str, batch: int
) -> tuple[int, Unit, InForce, ToolQuarantined | None]:
    unit_id, unit = begin_unit(session, scan.id, scan.attempt, module, batch)
    return unit_id, unit, in_force(session, scan, here.settings), quarantine_of(session, module)


def _circumstances(
    here: Installation, scan: Begun, unit_id: int, now_in_force: InForce, share: Share | None
) -> Circumstances:
    return Circumstances(
        scan_id=scan.id,
        policy=scan.policy,
        scope=scope_of(here.settings, scan.target, scan.policy, now_in_force.scope),
        settings=here.settings,
        store=here.store,
        work_dir=here.settings.work_dir / str(scan.id),
        stopped=stop_flag(scan.id),
        report=_reporter(here, unit_id),
        share=share,
        permitted=now_in_force.permitted,
    )


def _reporter(here: Installation, unit_id: int) -> Callable[[float], None]:
    last = time.monotonic()

    def report(percent: float) -> None:
        nonlocal last
        if time.monotonic() - last < REPORT_SECONDS:
            return
        last = time.monotonic()
        # A percentage that is not written is no reason to end the tool.
        with suppress(StoreUnavailable), here.store.write() as session:
            report_progress(session, unit_id, percent)

    return report


def _tell(
    log: logging.Logger | logging.LoggerAdapter[logging.Logger], unit: Unit, settled: Settlement, kept: int
) -> None:
    if settled.command:
        log.info("%s", settled.command)
    if settled.containment:
        log.info("%s: held by %s", unit.module, settled.containment)
    if settled.degraded:
        log.warning("%s: %s", unit.module, settled.degraded)
    level = logging.INFO if settled.status is UnitStatus.DONE else logging.WARNING
    if settled.error_code == StrayedOutOfScope.code:
        level = logging.ERROR
    reason = f": {settled.error}" if settled.error else ""
    log.log(level, "%s batch %d ended %s, %d records%s", unit.module, unit.batch, settled.status, kept, reason)
