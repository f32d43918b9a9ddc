"""The life of a scan's row: asked for, attached to its Prefect run, begun, kept alive, ended. No step goes back."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, cast
from uuid import UUID

from sqlalchemy import CursorResult, Update, delete, func, select, update
from sqlalchemy.orm import Session

from footprint.admission import NewScan
from footprint.asset_scope import NOTHING_SAID, AssetScope
from footprint.errors import Conflict, InvalidPolicy, NotAuthorized, NotFound, ScanStopped
from footprint.policy import ScanPolicy
from footprint.records import DomainName, Host, Network, subject_of
from footprint.states import LIVE, Status
from footprint.store.assets import asset_of
from footprint.store.ledger import release_all
from footprint.store.packing import record_of
from footprint.store.tables import ModuleRun, Scan, now
from footprint.verdict import UNFINISHED
from footprint.windows import Closed, Open

LEASE = timedelta(seconds=60)
"""How long a running scan may be silent before it counts as lost; longer than a writer waits for the store."""
UNIT_LOST = "unit_lost"
"""The error code of a unit whose result was not kept."""
ASKED_ANEW = (UNIT_LOST, ScanStopped.code, NotAuthorized.code)
"""What a unit is begun anew for in a later attempt, though it was over."""


@dataclass(frozen=True, slots=True)
class Begun:
    """What a flow needs to carry a scan out. `attempt` is its fencing token.

    `batches` are the last numbers that an earlier attempt gave out, by module; `scope` is what assets said of its scope
    when it was asked for; `spent` is for how many seconds earlier attempts ran.
    """

    id: UUID
    asset_id: UUID
    target: DomainName | Host | Network
    policy: ScanPolicy
    attempt: int
    batches: dict[str, int]
    scope: AssetScope = NOTHING_SAID
    spent: float = 0.0


@dataclass(frozen=True, slots=True)
class Live:
    """A scan that has not ended, as the store knows it."""

    id: UUID
    task_id: UUID
    status: Status
    state: str
    lease_until: datetime | None
    attempt: int = 0
    losses: int = 0
    resume_at: datetime | None = None
    is_cancelled: bool = False


def insert_scan(session: Session, new: NewScan) -> tuple[Scan, bool]:
    """Save a request; the same request under the same idempotency key is found again (then the flag is False).

    Raises `Conflict` where the key was used for another request, `InvalidPolicy` where none of its windows opens.
    """
    if new.idempotency_key and (known := scan_of_key(session, new.idempotency_key, new.digest)):
        return known, False
    scan = Scan(
        asset_id=asset_of(session, new.target),
        target=subject_of(new.target),
        target_kind=new.target.kind,
        policy_name=new.policy.name,
        policy=new.policy.model_dump(mode="json"),
        comment=new.comment,
        origin=new.origin,
        idempotency_key=new.idempotency_key,
        request_digest=new.digest,
        task_id=new.task_id,
        waiting=waiting_for(new.policy),
        scope=new.scope.pack(),
        schedule_id=new.schedule[0] if new.schedule else None,
        schedule_run=new.schedule[1] if new.schedule else None,
    )
    session.add(scan)
    session.flush()
    return scan, True


def waiting_for(policy: ScanPolicy) -> str | None:
    """What a new scan waits for, in words; None where it only waits for a worker.

    Raises `InvalidPolicy` where none of the policy's windows opens.
    """
    match policy.standing_at(now()):
        case Closed(opens_at=None) as never:
            raise InvalidPolicy(str(never), hint="look at its windows and blackouts")
        case Closed() as closed:
            return str(closed)
        case Open():
            return None


def scan_of_key(session: Session, key: str, digest: str) -> Scan | None:
    """The scan that was asked for under this key. Raises `Conflict` where that was another request."""
    known = session.scalars(select(Scan).where(Scan.idempotency_key == key)).one_or_none()
    if known and known.request_digest != digest:
        raise Conflict("this Idempotency-Key was used for a different request", hint="take a new key")
    return known


def attach(session: Session, scan_id: UUID, task_id: UUID) -> bool:
    """Give a scan its Prefect run. False where the scan is gone or has another run."""
    return _changed(
        session,
        update(Scan).where(Scan.id == scan_id, (Scan.task_id.is_(None)) | (Scan.task_id == task_id)),
        task_id=task_id,
    )


def withdraw(session: Session, scan_id: UUID) -> None:
    """Take back a request that got no Prefect run: the caller was told so."""
    session.execute(delete(Scan).where(Scan.id == scan_id, Scan.task_id.is_(None)))


def withdraw_forgotten(session: Session, older_than: timedelta) -> int:
    """Take back requests whose caller never got an answer (the API died between its two steps).

    What a schedule asked for has no caller, and is not taken back.
    """
    gone = delete(Scan).where(Scan.task_id.is_(None), Scan.schedule_id.is_(None), Scan.created_at < now() - older_than)
    return cast("CursorResult[Any]", session.execute(gone)).rowcount


def begin(session: Session, scan_id: UUID, task_id: UUID) -> Begun:
    """Take a scan up: STARTED, a new attempt, a lease. Raises `NotFound`, or `Conflict` where it has ended."""
    scan = session.scalars(select(Scan).where(Scan.id == scan_id).with_for_update()).one_or_none()
    if scan is None:
        raise NotFound("there is no such scan: its request was withdrawn")
    if Status(scan.status).is_terminal:
        raise Conflict(f"the scan has ended already: {scan.status}")
    if scan.task_id not in (None, task_id):
        raise Conflict("the scan belongs to another run")
    scan.task_id, scan.status, scan.state = task_id, Status.STARTED, "Running"
    scan.attempt += 1
    scan.started_at = scan.started_at or now()
    scan.lease_until, scan.resume_at, scan.waiting = now() + LEASE, None, None
    release_all(session, scan.id)
    forget_unfinished(session, scan.id)
    return Begun(
        id=scan.id,
        asset_id=scan.asset_id,
        target=record_of(scan.target_kind, scan.target),
        policy=ScanPolicy.model_validate(scan.policy),
        attempt=scan.attempt,
        batches=_batches_of(session, scan.id),
        scope=AssetScope.unpack(scan.scope),
        spent=scan.spent_seconds or 0.0,
    )


def forget_unfinished(session: Session, scan_id: UUID) -> None:
    """What an earlier attempt left unfinished is begun anew; what it finished stays."""
    unfinished = ModuleRun.status.in_(UNFINISHED) | ModuleRun.error_code.in_(ASKED_ANEW)
    session.execute(delete(ModuleRun).where(ModuleRun.scan_id == scan_id, unfinished))


def _batches_of(session: Session, scan_id: UUID) -> dict[str, int]:
    numbered = select(ModuleRun.module, func.max(ModuleRun.batch)).where(ModuleRun.scan_id == scan_id)
    return {module: batch for module, batch in session.execute(numbered.group_by(ModuleRun.module))}  # noqa: C416


def scan_of_task(session: Session, task_id: UUID) -> UUID | None:
    """The scan that a Prefect run carries out, if there is one."""
    return session.scalars(select(Scan.id).where(Scan.task_id == task_id)).one_or_none()


def hold(session: Session, scan_id: UUID, attempt: int) -> UUID:
    """Make sure that this attempt still owns the scan, and keep it so until the transaction ends.

    Returns the asset's id. Raises `ScanStopped` where the scan has ended or another attempt took it over.
    """
    own = (Scan.id == scan_id, Scan.attempt == attempt, Scan.status == Status.STARTED)
    owner = select(Scan.asset_id).where(*own)
    asset_id = session.scalars(owner.with_for_update(key_share=True)).one_or_none()
    if asset_id is None:
        raise ScanStopped("the scan has ended, or another worker has taken it over")
    return asset_id


def keep_alive(
    session: Session, scan_id: UUID, attempt: int, progress: int, modules: list[dict[str, Any]], spent: float = 0.0
) -> None:
    """Renew the lease and publish the digest; progress never falls. Raises `ScanStopped`.

    `spent` is for how many seconds the scan has run in all of its attempts: what a killed one took counts up to here.
    """
    higher = func.max if session.get_bind().dialect.name == "sqlite" else func.greatest
    alive = update(Scan).where(Scan.id == scan_id, Scan.attempt == attempt, Scan.status == Status.STARTED)
    signs = {"lease_until": now() + LEASE, "progress": higher(Scan.progress, progress)}
    if not _changed(session, alive, modules=modules, spent_seconds=spent or Scan.spent_seconds, **signs):
        raise ScanStopped("the scan has ended, or another worker has taken it over")


def observe(session: Session, scan_id: UUID, status: Status, state: str) -> bool:
    """Note what Prefect says of a scan that has not ended.

    A scan that its flow has begun is not put back, and one that is to be resumed is begun by its flow alone.
    """
    seen = update(Scan).where(Scan.id == scan_id, Scan.status.in_(LIVE))
    if status is Status.RETRY:
        return _changed(session, seen.where(Scan.status == status), state=state)
    before = (Status.PENDING,) if status is Status.PENDING else (Status.PENDING, Status.STARTED)
    if status is Status.STARTED:
        seen = seen.where(Scan.resume_at.is_(None))
    return _changed(session, seen.where(Scan.status.in_(before)), status=status, state=state)


def live_scans(session: Session) -> list[Live]:
    """All scans that have a Prefect run and have not ended, oldest first."""
    columns = (Scan.id, Scan.task_id, Scan.status, Scan.state, Scan.lease_until, Scan.attempt, Scan.losses)
    more = (Scan.resume_at, Scan.cancelled_at.is_not(None).label("is_cancelled"))
    rows = session.execute(
        select(*columns, *more).where(Scan.status.in_(LIVE), Scan.task_id.is_not(None)).order_by(Scan.created_at)
    )
    return [
        Live(
            row.id,
            row.task_id,
            Status(row.status),
            row.state,
            row.lease_until,
            attempt=row.attempt,
            losses=row.losses,
            resume_at=row.resume_at,
            is_cancelled=row.is_cancelled,
        )
        for row in rows
    ]


def _changed(session: Session, statement: Update, **values: Any) -> bool:
    return cast("CursorResult[Any]", session.execute(statement.values(**values))).rowcount == 1
