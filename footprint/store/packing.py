"""Records as JSON and back, for the columns that keep them."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from footprint.records import (
    Certificate,
    DnsRecord,
    DomainName,
    Endpoint,
    Finding,
    Host,
    Network,
    Record,
    Service,
    Severity,
    Technology,
    WebPage,
)

KINDS: dict[str, type[Any]] = {
    record.kind: record
    for record in (
        DomainName,
        Host,
        Network,
        Service,
        Endpoint,
        DnsRecord,
        Technology,
        Certificate,
        WebPage,
        Finding,
    )
}


def pack(record: Record) -> dict[str, Any]:
    """A record as JSON, with its kind."""
    return {"kind": record.kind, **asdict(record)}


def unpack(packed: dict[str, Any]) -> Record:
    """The record that `pack` packed."""
    fields: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in packed.items()
    }
    kind = KINDS[fields.pop("kind")]
    if kind is Finding:
        fields["severity"] = Severity(fields["severity"])
    record: Record = kind(**fields)
    return record


def record_of(kind: str, value: str) -> DomainName | Host | Network:
    """The target record of a kind and its text."""
    match kind:
        case DomainName.kind:
            return DomainName(value)
        case Host.kind:
            return Host(value)
        case Network.kind:
            return Network(value)
        case _:
            raise ValueError("a target is a domain, a host or a network")
