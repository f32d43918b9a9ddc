"""Who takes what of which destination: claims of running units, which count while their scan's lease does.

A claim is not renewed and not waited for: it counts as long as its scan is live, of that attempt, and its lease is not
over. So a worker that dies leaves nothing behind that anybody would have to clean up.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from sqlalchemy import ColumnElement, and_, delete, select, text, update
from sqlalchemy.orm import Session

from footprint.budget import Claim, Held, Request, Share, decide
from footprint.states import LIVE
from footprint.store.claim_table import ClaimRow
from footprint.store.tables import Scan, now

ALL_CLAIMS = 0x50554C53
"""PostgreSQL's advisory lock for who decides on claims. SQLite has one writer at a time anyway."""

ECHO = timedelta(seconds=1)
"""How long a burst counts after its unit has ended: a budget is of any second, and it may have come in the last."""


@dataclass(frozen=True, slots=True)
class Owner:
    """The unit that claims, and the attempt of its scan (the fencing token)."""

    scan_id: UUID
    attempt: int
    module: str
    batch: int


def claims_now(session: Session) -> list[Claim]:
    """All claims that count, in a stable order."""
    is_running = and_(
        ClaimRow.released_at.is_(None),
        Scan.status.in_(LIVE),
        Scan.attempt == ClaimRow.attempt,
        Scan.lease_until > now(),
    )
    counted = select(ClaimRow).join(Scan, Scan.id == ClaimRow.scan_id).order_by(ClaimRow.id)
    return [
        Claim(row.key, Share(row.packets, row.connections), row.is_sweep, row.scan_id, row.module, row.batch)
        for row in session.scalars(counted.where(is_running | (ClaimRow.released_at > now() - ECHO)))
    ]


def acquire(session: Session, owner: Owner, request: Request) -> Share | Held:
    """Claim what a unit is to get of each of its keys, or nothing: in one transaction that writes. Safe to repeat."""
    if session.get_bind().dialect.name == "postgresql":
        # Until the transaction ends. What was committed before is seen: each statement looks anew (READ COMMITTED).
        session.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": ALL_CLAIMS})
    session.execute(delete(ClaimRow).where(_of(owner)))
    share = decide(request, claims_now(session))
    if isinstance(share, Share):
        session.add_all(
            ClaimRow(
                scan_id=owner.scan_id,
                attempt=owner.attempt,
                module=owner.module,
                batch=owner.batch,
                key=key,
                packets=share.packets,
                connections=share.connections,
                is_sweep=request.load.is_sweep,
                is_burst=request.load.is_burst and bool(request.networks),
            )
            for key in request.keys
        )
    return share


def _of(owner: Owner) -> ColumnElement[bool]:
    return and_(
        ClaimRow.scan_id == owner.scan_id,
        ClaimRow.attempt == owner.attempt,
        ClaimRow.module == owner.module,
        ClaimRow.batch == owner.batch,
    )


def share_of(session: Session, owner: Owner) -> Share | None:
    """What a unit was given of each of its destinations; None where it claimed none."""
    row = session.scalars(select(ClaimRow).where(_of(owner), ClaimRow.key.startswith("net:"))).first()
    return Share(row.packets, row.connections) if row else None


def release(session: Session, owner: Owner) -> None:
    """Give back what a unit claimed; safe to repeat. A burst is given back in a second."""
    session.execute(delete(ClaimRow).where(_of(owner), ClaimRow.is_burst.is_(False)))
    session.execute(update(ClaimRow).where(_of(owner), ClaimRow.released_at.is_(None)).values(released_at=now()))
    session.execute(delete(ClaimRow).where(ClaimRow.scan_id == owner.scan_id, ClaimRow.released_at < now() - ECHO))


def release_all(session: Session, scan_id: UUID) -> None:
    """Give back what the units of a scan claimed: it has ended, or begins anew."""
    session.execute(delete(ClaimRow).where(ClaimRow.scan_id == scan_id))
