"""What is read from the store of scans and what they saw, a page at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar, cast
from uuid import UUID

from sqlalchemy import Select, func, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from footprint.errors import NotFound
from footprint.records import DomainName, Finding, Host, Record, Service
from footprint.store.inventory import HOST_FACTS, merge_service
from footprint.store.packing import unpack
from footprint.store.tables import Domain, FindingRow, HostRow, Scan, ServiceRow, Sighting

Row = TypeVar("Row", Domain, HostRow, ServiceRow, FindingRow)


@dataclass(frozen=True, slots=True)
class ServiceView:
    """An open port and what answers there. Times are those of the whole asset, not of one scan."""

    host: str
    port: int
    protocol: str
    service: str | None
    product: str | None
    version: str | None
    detail: str | None
    tunnel: str | None
    cpes: tuple[str, ...]
    first_seen: datetime
    last_seen: datetime


@dataclass(frozen=True, slots=True)
class DomainView:
    """A DNS name; `wildcard` says that its zone answers for any name."""

    name: str
    cname: str | None
    wildcard: bool
    first_seen: datetime
    last_seen: datetime


@dataclass(frozen=True, slots=True)
class HostView:
    """An address, the names that led to it, and whose it is; `os` is a guess."""

    address: str
    names: tuple[str, ...]
    os: str | None
    asn: int | None
    prefix: str | None
    holder: str | None
    country: str | None
    first_seen: datetime
    last_seen: datetime


@dataclass(frozen=True, slots=True)
class FindingView:
    """A weakness and what shows it."""

    rule: str
    subject: str
    title: str
    severity: str
    confidence: float
    evidence: str
    reference: str
    cvss: str | None
    score: float | None
    module: str | None
    fingerprint: str
    status: str
    first_seen: datetime
    last_seen: datetime


def scan_by_id(session: Session, scan_id: UUID) -> Scan:
    """One scan. Raises `NotFound`; a request in the making is not there yet."""
    scan = session.get(Scan, scan_id)
    if scan is None or scan.task_id is None:
        raise NotFound("there is no scan of that id")
    return scan


def scans_page(
    session: Session,
    *,
    status: str | None,
    target: str | None,
    schedule: UUID | None = None,
    offset: int,
    limit: int,
) -> tuple[Sequence[Scan], int]:
    """Scans, newest first, and how many there are in all."""
    wanted = select(Scan).where(Scan.task_id.is_not(None))
    if status:
        wanted = wanted.where(Scan.status == status)
    if target:
        wanted = wanted.where(Scan.target == target)
    if schedule:
        wanted = wanted.where(Scan.schedule_id == schedule)
    page = wanted.order_by(Scan.created_at.desc(), Scan.id).offset(offset).limit(limit)
    return session.scalars(page).all(), count_of(session, wanted)


def services_of_scan(session: Session, scan_id: UUID, offset: int, limit: int) -> tuple[list[ServiceView], int]:
    """The services a scan saw, by address and port, as it saw them. Raises `NotFound`."""
    order = (ServiceRow.order_key, ServiceRow.protocol, ServiceRow.port)
    rows, facts, total = _seen(session, scan_id, ServiceRow, Service.kind, order, offset, limit)
    merged = [(row, merge_service(cast("list[Service]", facts[row.id]))) for row in rows]
    return [shown_service(seen, row) for row, seen in merged], total


def domains_of_scan(session: Session, scan_id: UUID, offset: int, limit: int) -> tuple[list[DomainView], int]:
    """The names a scan saw, in order."""
    rows, facts, total = _seen(session, scan_id, Domain, DomainName.kind, (Domain.name,), offset, limit)
    return [shown_domain(row, cast("list[DomainName]", facts[row.id])) for row in rows], total


def shown_domain(row: Domain, seen: list[DomainName]) -> DomainView:
    cname = next((record.cname for record in seen if record.cname), None)
    wildcard = any(record.wildcard for record in seen)
    return DomainView(row.name, cname, wildcard, row.first_seen, row.last_seen)


def hosts_of_scan(session: Session, scan_id: UUID, offset: int, limit: int) -> tuple[list[HostView], int]:
    """The addresses a scan saw, in numerical order, with the names that led there."""
    rows, facts, total = _seen(session, scan_id, HostRow, Host.kind, (HostRow.order_key,), offset, limit)
    return [shown_host(row, cast("list[Host]", facts[row.id])) for row in rows], total


def shown_host(row: HostRow, seen: list[Host]) -> HostView:
    names = tuple(sorted({record.name for record in seen if record.name}))
    return HostView(row.address, names, **host_facts(*seen), first_seen=row.first_seen, last_seen=row.last_seen)


def host_facts(*sources: Host | HostRow) -> dict[str, Any]:
    """What is known of an address beside its names: of several sources the last that says it."""
    return {
        fact: next((said for one in reversed(sources) if (said := getattr(one, fact)) is not None), None)
        for fact in HOST_FACTS
    }


def findings_of_scan(session: Session, scan_id: UUID, offset: int, limit: int) -> tuple[list[FindingView], int]:
    """The weaknesses a scan saw."""
    order = (FindingRow.subject, FindingRow.rule)
    rows, facts, total = _seen(session, scan_id, FindingRow, Finding.kind, order, offset, limit)
    return [shown_finding(row, cast(Finding, facts[row.id][-1])) for row in rows], total


def _seen(
    session: Session,
    scan_id: UUID,
    table: type[Row],
    kind: str,
    order: Sequence[InstrumentedAttribute[Any]],
    offset: int,
    limit: int,
) -> tuple[Sequence[Row], dict[int, list[Record]], int]:
    """A page of what a scan saw of one kind, with what each unit of it knew then, and how many there are."""
    scan_by_id(session, scan_id)
    seen = select(Sighting.entity_id).where(Sighting.scan_id == scan_id, Sighting.kind == kind)
    wanted = select(table).where(table.id.in_(seen))
    rows = session.scalars(wanted.order_by(*order).offset(offset).limit(limit)).all()
    own = select(Sighting.entity_id, Sighting.facts).where(Sighting.scan_id == scan_id, Sighting.kind == kind)
    facts: dict[int, list[Record]] = {}
    of_page = own.where(Sighting.entity_id.in_([row.id for row in rows])).order_by(Sighting.module_run_id)
    for entity_id, packed in session.execute(of_page):
        facts.setdefault(entity_id, []).extend(unpack(record) for record in packed)
    return rows, facts, count_of(session, wanted)


def count_of(session: Session, statement: Select[Any]) -> int:
    return session.scalar(select(func.count()).select_from(statement.order_by(None).subquery())) or 0


def shown_service(seen: Service, row: ServiceRow) -> ServiceView:
    return ServiceView(
        host=seen.address,
        port=seen.port,
        protocol=seen.protocol,
        service=seen.name,
        product=seen.product,
        version=seen.version,
        detail=seen.detail,
        tunnel=seen.tunnel,
        cpes=seen.cpes,
        first_seen=row.first_seen,
        last_seen=row.last_seen,
    )


def shown_finding(row: FindingRow, seen: Finding | FindingRow) -> FindingView:
    return FindingView(
        rule=row.rule,
        subject=row.subject,
        title=seen.title,
        severity=str(seen.severity),
        confidence=seen.confidence,
        evidence=seen.evidence,
        reference=seen.reference,
        cvss=seen.cvss,
        score=seen.score,
        module=seen.module,
        fingerprint=row.fingerprint,
        status=row.status,
        first_seen=row.first_seen,
        last_seen=row.last_seen,
    )
