"""What is read from the store of assets and what they hold now, a page at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from footprint.errors import NotFound
from footprint.records import Certificate, DnsRecord, DomainName, Finding, Host, Service, Technology, WebPage
from footprint.store.as_of import shown_then, there_at
from footprint.store.inventory import PLURALS, merge_service
from footprint.store.tables import Asset, AssetRoot, DetailRow, Domain, FindingRow, HostRow, ServiceRow
from footprint.store.views import (
    DomainView,
    FindingView,
    HostView,
    Row,
    ServiceView,
    count_of,
    host_facts,
    shown_domain,
    shown_finding,
    shown_host,
    shown_service,
)


@dataclass(frozen=True, slots=True)
class AssetView:
    """An organisation, its roots, and how much is known of it."""

    id: UUID
    name: str
    roots: tuple[tuple[str, str], ...]
    counts: dict[str, int]
    created_at: datetime
    first_seen: datetime | None
    last_seen: datetime | None


def assets_page(session: Session, offset: int, limit: int) -> tuple[list[AssetView], int]:
    """Assets by name."""
    wanted = select(Asset)
    assets = session.scalars(wanted.order_by(Asset.name).offset(offset).limit(limit)).all()
    return [_asset(session, asset) for asset in assets], count_of(session, wanted)


def asset_by_id(session: Session, asset_id: UUID) -> AssetView:
    """One asset. Raises `NotFound`."""
    asset = session.get(Asset, asset_id)
    if asset is None:
        raise NotFound("there is no asset of that id")
    return _asset(session, asset)


def _asset(session: Session, asset: Asset) -> AssetView:
    tables = {"domains": Domain, "hosts": HostRow, "services": ServiceRow, "findings": FindingRow}
    counts: dict[str, int] = {}
    times: list[datetime] = []
    for name, table in tables.items():
        held = select(func.count(), func.min(table.first_seen), func.max(table.last_seen))  # type: ignore[attr-defined]
        count, first, last = session.execute(held.where(table.asset_id == asset.id)).one()  # type: ignore[attr-defined]
        counts[name] = count
        times += [time for time in (first, last) if time]
    for kind in (DnsRecord.kind, Technology.kind, Certificate.kind, WebPage.kind):
        of_kind = select(DetailRow.id).where(DetailRow.asset_id == asset.id, DetailRow.kind == kind)
        counts[PLURALS.get(kind, f"{kind}s")] = count_of(session, of_kind)
    roots = session.execute(
        select(AssetRoot.kind, AssetRoot.value).where(AssetRoot.asset_id == asset.id).order_by(AssetRoot.id)
    )
    return AssetView(
        asset.id,
        asset.name,
        tuple((kind, value) for kind, value in roots),
        counts,
        asset.created_at,
        min(times, default=None),
        max(times, default=None),
    )


def asset_domains(
    session: Session, asset_id: UUID, offset: int, limit: int, as_of: datetime | None = None
) -> tuple[list[DomainView], int]:
    """The names known of an asset, now or at a date. Raises `NotFound`."""
    rows, total = _held(session, asset_id, Domain, DomainName.kind, (Domain.name,), offset, limit, as_of)
    if as_of is not None:
        return shown_then(session, rows, DomainName.kind, as_of, shown_domain, _held_domain), total
    return [_held_domain(row) for row in rows], total


def _held_domain(row: Domain) -> DomainView:
    return DomainView(row.name, row.cname, row.wildcard, row.first_seen, row.last_seen)


def asset_hosts(
    session: Session, asset_id: UUID, offset: int, limit: int, as_of: datetime | None = None
) -> tuple[list[HostView], int]:
    """The addresses known of an asset, now or at a date. Raises `NotFound`."""
    rows, total = _held(session, asset_id, HostRow, Host.kind, (HostRow.order_key,), offset, limit, as_of)
    if as_of is not None:
        return shown_then(session, rows, Host.kind, as_of, shown_host, _held_host), total
    return [_held_host(row) for row in rows], total


def _held_host(row: HostRow) -> HostView:
    names = tuple(row.names)
    return HostView(row.address, names, **host_facts(row), first_seen=row.first_seen, last_seen=row.last_seen)


def asset_services(
    session: Session, asset_id: UUID, offset: int, limit: int, as_of: datetime | None = None
) -> tuple[list[ServiceView], int]:
    """The services known of an asset, now or at a date. Raises `NotFound`."""
    order = (ServiceRow.order_key, ServiceRow.protocol, ServiceRow.port)
    rows, total = _held(session, asset_id, ServiceRow, Service.kind, order, offset, limit, as_of)
    if as_of is not None:
        return shown_then(session, rows, Service.kind, as_of, _service_then, _held_service), total
    return [_held_service(row) for row in rows], total


def _held_service(row: ServiceRow) -> ServiceView:
    return shown_service(_service_record(row), row)


def _service_then(row: ServiceRow, seen: list[Service]) -> ServiceView:
    return shown_service(merge_service(seen), row)


def asset_findings(
    session: Session, asset_id: UUID, offset: int, limit: int, as_of: datetime | None = None
) -> tuple[list[FindingView], int]:
    """The weaknesses known of an asset, now or at a date. Raises `NotFound`."""
    order = (FindingRow.subject, FindingRow.rule)
    rows, total = _held(session, asset_id, FindingRow, Finding.kind, order, offset, limit, as_of)
    if as_of is not None:
        return shown_then(session, rows, Finding.kind, as_of, _finding_then, _held_finding), total
    return [_held_finding(row) for row in rows], total


def _held_finding(row: FindingRow) -> FindingView:
    return shown_finding(row, row)


def _finding_then(row: FindingRow, seen: list[Finding]) -> FindingView:
    return shown_finding(row, seen[-1])


def _held(
    session: Session,
    asset_id: UUID,
    table: type[Row],
    kind: str,
    order: Sequence[Any],
    offset: int,
    limit: int,
    as_of: datetime | None,
) -> tuple[Sequence[Row], int]:
    asset_by_id(session, asset_id)
    wanted = select(table).where(table.asset_id == asset_id)
    if as_of is not None:
        wanted = wanted.where(there_at(table, kind, as_of))
    return session.scalars(wanted.order_by(*order).offset(offset).limit(limit)).all(), count_of(session, wanted)


def _service_record(row: ServiceRow) -> Service:
    return Service(
        row.address,
        row.port,
        row.protocol,
        name=row.name,
        product=row.product,
        version=row.version,
        detail=row.detail,
        tunnel=row.tunnel,
        cpes=tuple(row.cpes),
    )
