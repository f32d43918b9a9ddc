"""How a flow takes its scan up: one that it was given, or one that was asked for in Prefect; or why it does not."""

from __future__ import annotations

from functools import partial
from uuid import UUID

from prefect.client.schemas.objects import State
from prefect.states import Cancelled, Crashed, Failed
from sqlalchemy.orm import Session

from flows.pausing import Waiting
from footprint.admission import admit
from footprint.errors import InvalidTarget, StoreUnavailable
from footprint.policy import ScanPolicy
from footprint.states import Status
from footprint.store.assets import scope_for
from footprint.store.cancelling import REVOKED
from footprint.store.endings import finish
from footprint.store.resumption import put_back
from footprint.store.scans import Begun, begin, insert_scan, scan_of_task
from footprint.store.schedule_turns import LONG, predecessor, waits_for
from footprint.store.tables import Scan, now
from footprint.verdict import Verdict
from footprint.windows import Closed
from tasks.authorization import require_authorization
from tasks.installation import Installation, installation
from tasks.policies import usable_policy
from tasks.strays import end_all_of


def begin_scan(
    task_id: UUID, scan_id: UUID | None, *, target: str, policy: str, comment: str
) -> Begun | Waiting | State:
    """Take up the scan of this run; one that was started from Prefect gets its row here.

    Returns what to wait for where its time window is closed, or the run's last state where the scan was cancelled, or
    the store stayed away for longer than anybody waits for it. Raises `RequestError` where the request is not to be
    carried out, `NotFound` or `Conflict` where the scan is not to be taken up.
    """

    def take_up(session: Session) -> Begun | Waiting | State:
        known = scan_id or scan_of_task(session, task_id)
        if known is None:
            known = _insert(session, installation(), task_id, target=target, policy=policy, comment=comment)
        return _hindrance(session, known, task_id) or begin(session, known, task_id)

    try:
        return installation().store.keep(take_up)
    except StoreUnavailable as away:
        # Not failed: a scan whose run crashed is taken up again, once somebody can write that down.
        return Crashed(message=f"The scan could not begin: {away}")


def _insert(session: Session, here: Installation, task_id: UUID, *, target: str, policy: str, comment: str) -> UUID:
    if not target:
        raise InvalidTarget("a scan needs a target", hint="give `target`: a domain, an address or a network")
    new = admit(
        here.settings,
        target=target,
        policy=policy,
        comment=comment,
        origin="prefect",
        task_id=task_id,
        find=partial(usable_policy, session),
        scoped=partial(scope_for, session),
    )
    require_authorization(session, here.settings, new)
    return insert_scan(session, new)[0].id


def _hindrance(session: Session, scan_id: UUID, task_id: UUID) -> Waiting | State | None:
    """Why a scan is not to be taken up now: its window is closed, it is queued, it was cancelled. None: it may be."""
    scan = session.get(Scan, scan_id)
    if scan is None or Status(scan.status) is Status.REVOKED:
        return Cancelled(message="The scan was cancelled before it began.") if scan else None
    if scan.task_id not in (None, task_id):
        return None  # it is not this run's, and `begin` refuses it
    if scan.cancelled_at is not None and not Status(scan.status).is_terminal:
        processes, left = end_all_of(scan_id)
        if not left:  # else the API, or the reconciler, goes on trying
            finish(session, scan_id, Verdict(Status.REVOKED), REVOKED, processes=processes)
        return Cancelled(message="The scan was cancelled before it went on.")
    if (before := predecessor(session, scan)) is not None:
        return _put_back(session, scan, Waiting(now() + LONG, waits_for(before)))
    stands = ScanPolicy.model_validate(scan.policy).standing_at(now())
    if not isinstance(stands, Closed) or Status(scan.status).is_terminal:
        return None
    if stands.opens_at is None:
        finish(session, scan_id, Verdict(Status.FAILURE, error=str(stands)), "Failed")
        return Failed(message=str(stands))
    return _put_back(session, scan, Waiting(stands.opens_at, str(stands)))


def _put_back(session: Session, scan: Scan, waiting: Waiting) -> Waiting:
    put_back(session, scan.id, attempt=scan.attempt, reason=waiting.reason, at=waiting.opens_at)
    return waiting
