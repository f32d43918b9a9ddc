"""Writing down what comparing a scan's row with its run came to: for the API, and for the flow that does without it."""

from __future__ import annotations

import logging
import shutil
from contextlib import suppress
from pathlib import Path

from footprint.errors import Conflict
from footprint.reconciliation import Ended, PutBack, Reschedule, Step
from footprint.states import Status
from footprint.store.cancelling import note_stuck, request_cancel
from footprint.store.endings import finish
from footprint.store.engine import Store
from footprint.store.resumption import note_rescheduled, put_back
from footprint.store.scans import Live, observe
from tasks.strays import end_all_of, end_processes_of

log = logging.getLogger("pulsar.settling")


def settle(store: Store, scan: Live, step: Step, work_dir: Path) -> bool:
    """Change a scan's row as the step says, in one transaction; Prefect was told before. False: it had moved on.

    What a killed flow could not take with it is removed, where it was on this machine; and what one that only stands
    still has at work is ended, which the next attempt does anew.
    """
    processes = None
    if isinstance(step, Ended) and step.verdict.status is Status.REVOKED:
        processes, left = end_all_of(scan.id)
        if left:
            _say_stuck(store, scan, left)
            return False  # its receipt must not say so; who looks next tries again
    changed, said = _written(store, scan, step, processes)
    if changed and said:
        log.warning("scan %s %s", scan.id, said)
    # Of one that was not put back another attempt has it, and the directory is that one's.
    if isinstance(step, Ended) or (isinstance(step, PutBack) and changed):
        end_processes_of(scan.id)
        shutil.rmtree(work_dir / str(scan.id), ignore_errors=True)
    return changed


def _say_stuck(store: Store, scan: Live, left: set[int]) -> None:
    with store.write() as session:
        said = note_stuck(session, scan.id, left)
    log.error("scan %s is not revoked yet: %s", scan.id, said)


def _written(store: Store, scan: Live, step: Step, processes: int | None) -> tuple[bool, str]:
    with store.write() as session:
        match step:
            case Ended(verdict, state, at):
                reason = verdict.error or verdict.status
                is_ended = finish(session, scan.id, verdict, state, at=at, processes=processes)
                return is_ended, f"ended outside its flow: {reason}"
            case PutBack(reason, resume_at):
                back = put_back(session, scan.id, attempt=scan.attempt, reason=reason, at=resume_at, losses=scan.losses)
                return back, f"is resumed: {reason}"
            case Reschedule():
                note_rescheduled(session, scan.id)
                return True, ""
            case _:
                observed = observe(session, scan.id, step.status, step.state)
                if step.is_cancelled:
                    # In the Prefect UI. The flow hears of it from us too, should its worker be gone.
                    with suppress(Conflict):
                        request_cancel(session, scan.id)
                return observed, ""
