"""Settling what lost its process, without the API: scans, claims, programs and rules in the kernel, stuck runs.

The API's follower does the same for scans once a second. This goes by the same rules, and by the same fences: what
one of them has settled, the other finds settled.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from sqlalchemy import select

from flows.prefect_runs import PrefectRuns
from footprint.errors import InstallationError, PrefectUnavailable
from footprint.reconciliation import Ended, PutBack, Reschedule, Seen, Silence, Step, reconcile
from footprint.settings import Settings
from footprint.spool import Spool
from footprint.states import LIVE, TERMINAL, Status
from footprint.store import Store
from footprint.store.chores import RECONCILE, note_chore
from footprint.store.forgetting import forget_settled
from footprint.store.leftovers import clear_leftovers
from footprint.store.scans import LEASE, Live, live_scans, withdraw_forgotten
from footprint.store.spooled import clear_spool
from footprint.store.tables import Scan
from tasks.fence import remove_stale
from tasks.settling import settle
from tasks.strays import end_processes_of, marked_scans

FORGOTTEN_AFTER = timedelta(minutes=1)
PENDING_TOO_LONG = timedelta(minutes=3)
"""Between a worker's taking a run and its start are seconds."""
LOOK_SECONDS = 1.0
FORSAKEN_AFTER = timedelta(minutes=10)
"""After its scan's end a flow still writes its report."""
STRAY_AFTER = timedelta(minutes=1)
"""After a scan's end its flow ends its tools itself."""

log = logging.getLogger("pulsar.reconcile")


@dataclass(slots=True)
class Settled:
    """What was set right."""

    scans: int = 0
    runs: int = 0
    rows: int = 0
    strays: int = 0

    def __str__(self) -> str:
        return f"scans: {self.scans}, runs: {self.runs}, rows: {self.rows}, scans with strays: {self.strays}"


def reconcile_all(
    settings: Settings, store: Store, prefect: PrefectRuns, *, wait: Callable[[float], None] = time.sleep
) -> Settled:
    """Settle all that lost its process; returns what was set right. Raises `PrefectUnavailable`, `StoreUnavailable`.

    A scan counts as silent only after it was watched for as long as a lease is: clocks may differ.
    """
    settled = Settled()
    silent = _watch(store, wait)
    live = _live(store)
    runs = prefect.states([scan.task_id for scan in live])
    for scan in live:
        step = reconcile(scan, runs.get(scan.task_id), silent.get(scan.id, 0.0), datetime.now(UTC))
        if step is not None and _carry_out(settings, store, prefect, scan, step):
            settled.scans += not isinstance(step, Seen)
    settled.runs = _free_stuck_runs(prefect) + _end_forsaken_runs(store, prefect)
    settled.rows = forget_settled(store, datetime.now(UTC))
    settled.strays = _end_strays(store)
    clear_leftovers(store, settings.work_dir)
    clear_spool(store, Spool(settings.spool_dir))
    _remove_rules(settings)
    with store.write() as session:
        note_chore(session, RECONCILE, str(settled))
    return settled


def _live(store: Store) -> list[Live]:
    with store.write() as session:
        withdraw_forgotten(session, FORGOTTEN_AFTER)
        return live_scans(session)


def _watch(store: Store, wait: Callable[[float], None]) -> dict[UUID, float]:
    """For how long running scans were silent, by our own looks: one look will do where no lease is over."""
    silence, silent = Silence(), {}
    until = time.monotonic() + 2 * LEASE.total_seconds()
    while time.monotonic() < until:
        with store.read() as session:
            suspects = [scan for scan in live_scans(session) if scan.lease_until and _is_over(scan.lease_until)]
        silent = silence.look(suspects)
        if all(seconds > LEASE.total_seconds() for seconds in silent.values()):
            break
        wait(LOOK_SECONDS)
    return silent


def _is_over(lease_until: datetime) -> bool:
    return lease_until < datetime.now(UTC)


def _carry_out(settings: Settings, store: Store, prefect: PrefectRuns, scan: Live, step: Step) -> bool:
    match step:
        case Reschedule():
            # Somebody else may have done so since it was read, and a worker begun.
            if not _still_waits(store, scan):
                return False
            prefect.reschedule(scan.task_id)
        case Ended(verdict=verdict, lost=True):
            with suppress(PrefectUnavailable):
                if verdict.status is Status.REVOKED:
                    prefect.cancel(scan.task_id)
                else:
                    prefect.crash(scan.task_id, verdict.error or "")
        case PutBack(reason=reason, lost=True):
            prefect.crash(scan.task_id, reason)
    return settle(store, scan, step, settings.work_dir)


def _still_waits(store: Store, scan: Live) -> bool:
    with store.read() as session:
        waits = select(Scan.id).where(Scan.id == scan.id, Scan.resume_at.is_not(None), Scan.attempt == scan.attempt)
        return session.scalar(waits) is not None


def _free_stuck_runs(prefect: PrefectRuns) -> int:
    """Give runs to the workers again that one took and did not start."""
    stuck = prefect.stuck(datetime.now(UTC) - PENDING_TOO_LONG)
    for run in stuck:
        prefect.reschedule(run, "The worker that took it did not start it.")
    return len(stuck)


def _end_forsaken_runs(store: Store, prefect: PrefectRuns) -> int:
    """End runs that claim to go on though their scan has ended, or never was: they would hold a place for ever."""
    at = datetime.now(UTC) - FORSAKEN_AFTER
    runs = prefect.running_scans(at)
    with store.read() as session:
        goes_on = Scan.status.in_(LIVE) | (Scan.finished_at > at)
        known = set(session.scalars(select(Scan.task_id).where(Scan.task_id.in_(runs), goes_on)))
    forsaken = [run for run in runs if run not in known]
    for run in forsaken:
        prefect.crash(run, "Its scan does not go on: the process of this run is gone.")
    return len(forsaken)


def _end_strays(store: Store) -> int:
    """End programs on this machine that work for scans which ended a while ago."""
    marked: Sequence[UUID] = marked_scans()
    if not marked:
        return 0
    with store.read() as session:
        over = select(Scan.id).where(Scan.id.in_(marked), Scan.status.in_(TERMINAL))
        ended = session.scalars(over.where(Scan.finished_at < datetime.now(UTC) - STRAY_AFTER)).all()
    for scan_id in ended:
        if not end_processes_of(scan_id):
            log.warning("programs of scan %s cannot be ended", scan_id)
    return len(ended)


def _remove_rules(settings: Settings) -> None:
    """Take down the fences whose unit was killed. Where no program can be started none was fenced either."""
    if os.geteuid() == 0:
        with suppress(InstallationError):
            remove_stale(settings.work_dir)
