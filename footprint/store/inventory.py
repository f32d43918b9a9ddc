"""What is known of an asset, and which scan saw it: records saved by their natural keys, facts beside them."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import fields
from ipaddress import ip_address
from typing import Any
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from footprint.records import (
    Certificate,
    Detail,
    DnsRecord,
    DomainName,
    Finding,
    Host,
    Record,
    Service,
    Technology,
    WebPage,
)
from footprint.store.packing import pack, unpack
from footprint.store.tables import DetailRow, Domain, FindingRow, HostRow, ServiceRow, Sighting, now
from footprint.store.upsert import upsert

HOST_FACTS = ("os", "asn", "prefix", "holder", "country")


def _last(values: Iterable[Any]) -> Any:
    """The last of these that says anything, or None."""
    return next((value for value in reversed(list(values)) if value is not None), None)


def order_key(address: str) -> str:
    """A text that sorts addresses as numbers, IPv4 before IPv6."""
    parsed = ip_address(address)
    return f"{parsed.version}{parsed.packed.hex():0>32}"


def save_records(session: Session, asset_id: UUID, scan_id: UUID, module_run_id: int, records: Iterable[Record]) -> int:
    """Save what one unit found, and that it saw it. Returns how many different things that were.

    The same records saved again change nothing but `last_seen`. Networks are questions, not findings: not kept.
    """
    facts: dict[Record, list[Record]] = defaultdict(list)
    for record in records:
        facts[record].append(record)
    total = 0
    for kind, save in _SAVERS.items():
        groups = sorted((group for group in facts.values() if group[0].kind == kind), key=lambda group: repr(group[0]))
        if groups:
            ids = save(session, asset_id, groups)
            _note_sightings(session, scan_id, module_run_id, kind, zip(ids, groups, strict=True))
            total += len(groups)
    return total


def _note_sightings(
    session: Session, scan_id: UUID, unit: int, kind: str, seen: Iterable[tuple[int, list[Record]]]
) -> None:
    rows: list[dict[str, Any]] = [
        {
            "scan_id": scan_id,
            "module_run_id": unit,
            "kind": kind,
            "entity_id": entity_id,
            "facts": _distinct(group),
        }
        for entity_id, group in seen
    ]
    rows.sort(key=lambda row: row["entity_id"])
    keys = ["module_run_id", "kind", "entity_id"]
    upsert(session, Sighting, rows, keys, lambda new: {"facts": new.facts}, [Sighting.id])


def _distinct(group: Sequence[Record]) -> list[dict[str, Any]]:
    packed: list[dict[str, Any]] = []
    for record in group:
        if (facts := pack(record)) not in packed:
            packed.append(facts)
    return packed


def _save_domains(session: Session, asset_id: UUID, groups: Sequence[list[DomainName]]) -> list[int]:
    at = now()
    rows = [
        {
            "asset_id": asset_id,
            "name": group[0].name,
            "cname": next((record.cname for record in group if record.cname), None),
            "wildcard": any(record.wildcard for record in group),
            "first_seen": at,
            "last_seen": at,
        }
        for group in groups
    ]
    saved = upsert(
        session,
        Domain,
        rows,
        ["asset_id", "name"],
        lambda new: {
            "last_seen": new.last_seen,
            "cname": func.coalesce(new.cname, Domain.cname),
            "wildcard": new.wildcard,
        },
        [Domain.name, Domain.id],
    )
    ids = {row.name: row.id for row in saved}
    return [ids[group[0].name] for group in groups]


def _save_hosts(session: Session, asset_id: UUID, groups: Sequence[list[Host]]) -> list[int]:
    at = now()
    known = _names_of(session, asset_id, [group[0].address for group in groups])
    rows = [
        {
            "asset_id": asset_id,
            "address": group[0].address,
            "order_key": order_key(group[0].address),
            "names": sorted({*known.get(group[0].address, ()), *(host.name for host in group if host.name)}),
            **{fact: _last(getattr(host, fact) for host in group) for fact in HOST_FACTS},
            "first_seen": at,
            "last_seen": at,
        }
        for group in groups
    ]
    saved = upsert(
        session,
        HostRow,
        rows,
        ["asset_id", "address"],
        lambda new: {
            "last_seen": new.last_seen,
            "names": new.names,
            **{fact: func.coalesce(new[fact], getattr(HostRow, fact)) for fact in HOST_FACTS},
        },
        [HostRow.address, HostRow.id],
    )
    ids = {row.address: row.id for row in saved}
    return [ids[group[0].address] for group in groups]


def _names_of(session: Session, asset_id: UUID, addresses: Sequence[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for start in range(0, len(addresses), 500):
        wanted = addresses[start : start + 500]
        rows = session.execute(
            select(HostRow.address, HostRow.names).where(HostRow.asset_id == asset_id, HostRow.address.in_(wanted))
        )
        found.update({row.address: row.names for row in rows})
    return found


def merge_service(group: Sequence[Service]) -> Service:
    """One service out of several sightings of it: what was said later wins, what was not said is kept."""
    merged = group[0]
    for later in group[1:]:
        merged = Service(
            merged.address,
            merged.port,
            merged.protocol,
            name=later.name or merged.name,
            product=later.product or merged.product,
            version=later.version or merged.version,
            detail=later.detail or merged.detail,
            tunnel=later.tunnel or merged.tunnel,
            cpes=later.cpes or merged.cpes,
        )
    return merged


def _save_services(session: Session, asset_id: UUID, groups: Sequence[list[Service]]) -> list[int]:
    at = now()
    merged = [merge_service(group) for group in groups]
    rows = [
        {
            "asset_id": asset_id,
            "order_key": order_key(service.address),
            "first_seen": at,
            "last_seen": at,
            **{name: value for name, value in pack(service).items() if name not in ("kind", "cpes")},
            "cpes": list(service.cpes),
        }
        for service in merged
    ]
    keep = ("name", "product", "version", "detail", "tunnel")
    saved = upsert(
        session,
        ServiceRow,
        rows,
        ["asset_id", "address", "protocol", "port"],
        lambda new: {
            "last_seen": new.last_seen,
            **{column: func.coalesce(new[column], getattr(ServiceRow, column)) for column in keep},
        },
        [ServiceRow.address, ServiceRow.protocol, ServiceRow.port, ServiceRow.id],
    )
    ids = {(row.address, row.protocol, row.port): row.id for row in saved}
    return [ids[service.address, service.protocol, service.port] for service in merged]


def _save_findings(session: Session, asset_id: UUID, groups: Sequence[list[Finding]]) -> list[int]:
    at = now()
    rows = [
        {
            "asset_id": asset_id,
            "first_seen": at,
            "last_seen": at,
            "fingerprint": fingerprint(group[-1]),
            **{name: value for name, value in pack(group[-1]).items() if name != "kind"},
        }
        for group in groups
    ]
    told = ("title", "severity", "confidence", "evidence", "reference", "cvss", "score", "module")
    changing = (*told, "last_seen")
    saved = upsert(
        session,
        FindingRow,
        rows,
        ["asset_id", "rule", "subject"],
        lambda new: {column: new[column] for column in changing},
        [FindingRow.rule, FindingRow.subject, FindingRow.id],
    )
    ids = {(row.rule, row.subject): row.id for row in saved}
    return [ids[group[0].rule, group[0].subject] for group in groups]


def fingerprint(finding: Finding) -> str:
    """A finding's stable name: the same weakness of the same thing has the same one in every scan (32 hex digits)."""
    return _digest(finding.rule, finding.subject)[:32]


def _digest(*words: str) -> str:
    return hashlib.sha256(json.dumps(words).encode()).hexdigest()


def _key(detail: Detail) -> str:
    return _digest(*(str(getattr(detail, field.name)) for field in fields(detail) if field.compare))


def _save_details(session: Session, asset_id: UUID, groups: Sequence[list[Detail]]) -> list[int]:
    at = now()
    rows = [
        {
            "asset_id": asset_id,
            "kind": group[0].kind,
            "key": _key(group[0]),
            "subject": group[0].name if isinstance(group[0], DnsRecord) else group[0].subject,
            "facts": pack(group[-1]),
            "first_seen": at,
            "last_seen": at,
        }
        for group in groups
    ]
    rows.sort(key=lambda row: row["key"])  # type: ignore[arg-type,return-value]
    saved = upsert(
        session,
        DetailRow,
        rows,
        ["asset_id", "kind", "key"],
        lambda new: {"last_seen": new.last_seen, "facts": new.facts},
        [DetailRow.key, DetailRow.id],
    )
    ids = {row.key: row.id for row in saved}
    return [ids[_key(group[0])] for group in groups]


_SAVERS: dict[str, Any] = {
    DomainName.kind: _save_domains,
    Host.kind: _save_hosts,
    Service.kind: _save_services,
    Finding.kind: _save_findings,
    **dict.fromkeys((DnsRecord.kind, Technology.kind, Certificate.kind, WebPage.kind), _save_details),
}


def records_of(session: Session, module_run_id: int) -> list[Record]:
    """What one unit found, as records."""
    rows = session.scalars(select(Sighting.facts).where(Sighting.module_run_id == module_run_id).order_by(Sighting.id))
    return [unpack(packed) for facts in rows for packed in facts]


PLURALS = {Technology.kind: "technologies"}


def counts_of(session: Session, scan_id: UUID) -> dict[str, int]:
    """How many different things of each kind a scan has seen so far."""
    rows = session.execute(
        select(Sighting.kind, func.count(func.distinct(Sighting.entity_id)).label("things"))
        .where(Sighting.scan_id == scan_id)
        .group_by(Sighting.kind)
    )
    found = dict.fromkeys(_SAVERS, 0) | {row.kind: row.things for row in rows}
    return {PLURALS.get(kind, f"{kind}s"): count for kind, count in found.items()}
