"""Policies: those that are shipped, which stay as they are, and those of one's own, which the store keeps.

Scans hold a copy of the policy that they were asked for with: nothing here touches one.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

from sqlalchemy import CursorResult, String, delete, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Mapped, Session, mapped_column

from footprint.errors import Conflict, InvalidPolicy, NotFound
from footprint.faults import Fault
from footprint.policy import INLINE, PRESETS, ScanPolicy
from footprint.store.tables import Table, now


class PolicyRow(Table):
    """A policy of one's own: `body` is all that it says."""

    __tablename__ = "policies"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(64), unique=True)
    body: Mapped[dict[str, Any]]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


@dataclass(frozen=True, slots=True)
class KnownPolicy:
    """A policy, and since when it says so; a shipped one has no times."""

    policy: ScanPolicy
    created_at: datetime | None = None
    updated_at: datetime | None = None

    @property
    def is_shipped(self) -> bool:
        """True where it cannot be changed."""
        return self.created_at is None


def policies_page(session: Session, offset: int, limit: int) -> tuple[list[KnownPolicy], int]:
    """A page of policies, the shipped ones first, the others by name; and how many there are in all."""
    shipped = [KnownPolicy(policy) for policy in PRESETS.values()]
    own = PolicyRow.name.not_in(PRESETS)  # a later version may ship one of a name that was taken
    count = len(shipped) + (session.scalar(select(func.count()).select_from(PolicyRow).where(own)) or 0)
    page = shipped[offset : offset + limit]
    rows = select(PolicyRow).where(own).order_by(PolicyRow.name)
    rows = rows.offset(max(0, offset - len(shipped))).limit(limit - len(page))
    return page + [_known(row) for row in session.scalars(rows)], count


def find_policy(session: Session, name: str) -> KnownPolicy | None:
    """The policy of that name, shipped or own."""
    if name in PRESETS:
        return KnownPolicy(PRESETS[name])
    row = _row(session, name)
    return _known(row) if row else None


def policy_by_name(session: Session, name: str) -> KnownPolicy:
    """The policy of that name. Raises `NotFound`."""
    known = find_policy(session, name)
    if known is None:
        raise _missing()
    return known


def add_policy(session: Session, policy: ScanPolicy) -> KnownPolicy:
    """Keep a new policy. Raises `Conflict` where its name is taken."""
    if policy.name == INLINE:
        raise InvalidPolicy.because_of([Fault("name", "is kept for policies that come with a scan")])
    if policy.name in PRESETS:
        raise Conflict("a policy of this name is shipped with Pulsar", hint="take another name: it stays as it is")
    at = now()
    row = PolicyRow(name=policy.name, body=policy.model_dump(mode="json"), created_at=at, updated_at=at)
    try:
        with session.begin_nested():
            session.add(row)
    except IntegrityError:
        hint = "take another name, or PUT what the policy is to say from now on"
        raise Conflict("there is a policy of this name already", hint=hint) from None
    return _known(row)


def own_policy(session: Session, name: str) -> KnownPolicy:
    """A policy that may be changed, held until the transaction ends. Raises `NotFound`, and `Conflict` for others."""
    return _known(_own_row(session, name))


def replace_policy(session: Session, policy: ScanPolicy) -> KnownPolicy:
    """Have the policy of that name say this from now on. Raises `NotFound`, and `Conflict` for a shipped one."""
    row = _own_row(session, policy.name)
    row.body = policy.model_dump(mode="json")
    row.updated_at = now()
    session.flush()
    return _known(row)


def delete_policy(session: Session, name: str) -> None:
    """Forget a policy. Raises `NotFound`, and `Conflict` for a shipped one."""
    _refuse_shipped(name)
    gone = delete(PolicyRow).where(PolicyRow.name == name)
    if cast("CursorResult[Any]", session.execute(gone)).rowcount == 0:
        raise _missing()


def _own_row(session: Session, name: str) -> PolicyRow:
    _refuse_shipped(name)
    row = _row(session, name, held=True)
    if row is None:
        raise _missing()
    return row


def _row(session: Session, name: str, *, held: bool = False) -> PolicyRow | None:
    wanted = select(PolicyRow).where(PolicyRow.name == name)
    return session.scalars(wanted.with_for_update() if held else wanted).one_or_none()


def _known(row: PolicyRow) -> KnownPolicy:
    return KnownPolicy(ScanPolicy.model_validate(row.body), row.created_at, row.updated_at)


def _refuse_shipped(name: str) -> None:
    if name in PRESETS:
        raise Conflict(
            "this policy is shipped with Pulsar and stays as it is", hint="copy it under another name, and change that"
        )


def _missing() -> NotFound:
    return NotFound("there is no policy of that name", hint="`GET /api/policies/` lists them")
