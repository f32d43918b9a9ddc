"""What is read of technologies, certificates, web pages and DNS records: of a scan as it saw them, of an asset now."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from footprint.records import Certificate, DnsRecord, Technology, WebPage
from footprint.store.asset_views import asset_by_id
from footprint.store.packing import unpack
from footprint.store.tables import DetailRow, Sighting
from footprint.store.views import count_of, scan_by_id


@dataclass(frozen=True, slots=True, kw_only=True)
class TechnologyView(Technology):
    """A product that a service shows to be made with."""

    first_seen: datetime
    last_seen: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateView(Certificate):
    """A certificate that a service presents."""

    first_seen: datetime
    last_seen: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class WebPageView(WebPage):
    """What a web service answered for its first page."""

    first_seen: datetime
    last_seen: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class DnsRecordView(DnsRecord):
    """A DNS record other than an address or an alias."""

    first_seen: datetime
    last_seen: datetime


View = TypeVar("View", TechnologyView, CertificateView, WebPageView, DnsRecordView)


def details_of_scan(
    session: Session, scan_id: UUID, view: type[View], offset: int, limit: int
) -> tuple[list[View], int]:
    """A page of what a scan saw of one kind, by subject, as it last saw it. Raises `NotFound`."""
    scan_by_id(session, scan_id)
    own = select(Sighting.entity_id, Sighting.facts).where(Sighting.scan_id == scan_id, Sighting.kind == view.kind)
    wanted = select(DetailRow).where(DetailRow.id.in_(own.with_only_columns(Sighting.entity_id)))
    rows = _page(session, wanted, offset, limit)
    seen: dict[int, dict[str, Any]] = {}
    of_page = own.where(Sighting.entity_id.in_([row.id for row in rows])).order_by(Sighting.module_run_id)
    for entity_id, facts in session.execute(of_page):
        seen[entity_id] = facts[-1]
    return [_shown(view, seen[row.id], row) for row in rows], count_of(session, wanted)


def details_of_asset(
    session: Session, asset_id: UUID, view: type[View], offset: int, limit: int
) -> tuple[list[View], int]:
    """A page of what is known of an asset of one kind, by subject. Raises `NotFound`."""
    asset_by_id(session, asset_id)
    wanted = select(DetailRow).where(DetailRow.asset_id == asset_id, DetailRow.kind == view.kind)
    rows = _page(session, wanted, offset, limit)
    return [_shown(view, row.facts, row) for row in rows], count_of(session, wanted)


def _page(session: Session, wanted: Any, offset: int, limit: int) -> list[DetailRow]:
    ordered = wanted.order_by(DetailRow.subject, DetailRow.key).offset(offset).limit(limit)
    return list(session.scalars(ordered))


def _shown(view: type[View], facts: dict[str, Any], row: DetailRow) -> View:
    fields: dict[str, Any] = asdict(unpack(facts))
    return view(**fields, first_seen=row.first_seen, last_seen=row.last_seen)
