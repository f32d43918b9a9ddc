"""The Prefect flows by which the platform looks after itself: cleanup, reconcile, refresh_feeds, check_tools, backup.

Their schedules are in prefect.yaml. What they do is in plain functions, and most of it can be asked for by hand.
"""

from __future__ import annotations

from datetime import UTC, datetime

from prefect import flow, get_run_logger
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from flows.cleaning import clean_up, plan_cleanup
from flows.prefect_runs import PrefectRuns
from flows.reconciling import reconcile_all
from tasks.chores import changed, check_all_tools, make_backup, refresh_all_feeds, tally
from tasks.feeds import is_to_be_refreshed
from tasks.installation import installation


@flow(name="cleanup", persist_result=False)
def cleanup(dry_run: bool = False) -> State:
    """Forget old scans, with their runs in Prefect, and what was left behind.

    Args:
        dry_run: Only say what would be deleted, in the log.
    """
    here, at = installation(), datetime.now(UTC)
    with PrefectRuns() as prefect:
        plan = plan_cleanup(here.settings, here.store, prefect, at)
        for line in plan.lines(at):
            get_run_logger().info("%s %s", "would delete" if dry_run else "deletes", line)
        if dry_run:
            return Completed(message=f"Would delete {plan.summary()}")
        return Completed(message=clean_up(here.settings, here.store, prefect, plan, at).summary())


@flow(name="reconcile", persist_result=False)
def reconcile() -> State:
    """Settle scans whose run is gone, and what else lost its process, also where no API runs."""
    here = installation()
    with PrefectRuns() as prefect:
        return Completed(message=str(reconcile_all(here.settings, here.store, prefect)))


@flow(name="refresh_feeds", persist_result=False)
def refresh_feeds() -> State:
    """Bring the vulnerability feeds up to date, where this installation fetches them; what was known is kept."""
    here = installation()
    if not is_to_be_refreshed(here.settings, here.store):
        return Completed(message="Nothing was asked: PULSAR_REFRESH_FEEDS is not on, or no feed was ever fetched.")
    problems = refresh_all_feeds(here.settings, here.store)
    return Failed(message="; ".join(problems.values())) if problems else Completed(message="All are up to date.")


@flow(name="check_tools", persist_result=False)
def check_tools() -> State:
    """Run each installed tool on what is known, and quarantine those that no longer say what is there."""
    here = installation()
    found = check_all_tools(here.settings, here.store)
    for checked in found:
        get_run_logger().info("%s %s: %s, %s", checked.module, checked.version or "", checked.outcome, checked.said)
    if held := changed(found):
        return Failed(message=f"quarantined: {', '.join(held)} ({tally(found)})")
    return Completed(message=tally(found))


@flow(name="backup", persist_result=False)
def backup() -> State:
    """Copy the store into the home, and remove the oldest copies."""
    here = installation()
    copy = make_backup(here.settings, here.store)
    return Completed(message=f"{copy.path.name}, {copy.bytes} bytes")
