"""Who allowed assets to be looked at actively, for how long; and what is allowed at a moment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast
from uuid import UUID

from sqlalchemy import CursorResult, delete, select
from sqlalchemy.orm import Session

from footprint.area import Area
from footprint.errors import NotFound
from footprint.store.asset_tables import AuthorizationRow
from footprint.store.assets import assets_around, roots_of, scope_of_asset
from footprint.store.tables import now
from footprint.store.views import count_of
from footprint.target import Target, parse_target


@dataclass(frozen=True, slots=True)
class Authorization:
    """Who allowed it, from when to when, and for what: a target in canonical text, or None for all of the asset."""

    covers: str | None
    valid_from: datetime
    valid_until: datetime
    granted_by: str
    reference: str = ""
    comment: str = ""


@dataclass(frozen=True, slots=True)
class KnownAuthorization:
    """One that an asset carries."""

    id: int
    said: Authorization
    created_at: datetime


def add_authorization(session: Session, asset_id: UUID, said: Authorization) -> KnownAuthorization:
    """Have an asset carry an authorisation. Raises `NotFound`."""
    scope_of_asset(session, asset_id)
    row = AuthorizationRow(
        asset_id=asset_id,
        covers=said.covers,
        valid_from=said.valid_from,
        valid_until=said.valid_until,
        granted_by=said.granted_by,
        reference=said.reference,
        comment=said.comment,
    )
    session.add(row)
    session.flush()
    return _known(row)


def authorizations_page(
    session: Session, asset_id: UUID, offset: int, limit: int
) -> tuple[list[KnownAuthorization], int]:
    """The authorisations that an asset carries, the newest first. Raises `NotFound`."""
    scope_of_asset(session, asset_id)
    wanted = select(AuthorizationRow).where(AuthorizationRow.asset_id == asset_id)
    rows = session.scalars(wanted.order_by(AuthorizationRow.id.desc()).offset(offset).limit(limit))
    return [_known(row) for row in rows], count_of(session, wanted)


def delete_authorization(session: Session, asset_id: UUID, number: int) -> None:
    """Take an authorisation back: what is active stops before its next unit. Raises `NotFound`."""
    gone = delete(AuthorizationRow).where(AuthorizationRow.asset_id == asset_id, AuthorizationRow.id == number)
    if cast("CursorResult[Any]", session.execute(gone)).rowcount == 0:
        raise NotFound("the asset carries no authorisation of that number")


def permitted(session: Session, target: Target, at: datetime | None = None) -> Area:
    """What scans of this target may look at actively at a moment, by the authorisations of the assets around it."""
    moment = at or now()
    valid = select(AuthorizationRow).where(
        AuthorizationRow.asset_id.in_(assets_around(session, target)),
        AuthorizationRow.valid_from <= moment,
        AuthorizationRow.valid_until > moment,
    )
    return Area.of(parse_target(text) for row in session.scalars(valid) for text in _covered(session, row))


def _covered(session: Session, row: AuthorizationRow) -> Sequence[str]:
    if row.covers is not None:
        return (row.covers,)
    return (*roots_of(session, [row.asset_id]), *scope_of_asset(session, row.asset_id).include)


def _known(row: AuthorizationRow) -> KnownAuthorization:
    said = Authorization(row.covers, row.valid_from, row.valid_until, row.granted_by, row.reference, row.comment)
    return KnownAuthorization(row.id, said, row.created_at)
