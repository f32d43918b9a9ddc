"""What a scan has seen around one record: the names and addresses that belong with it, and what answers there."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import cast
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from footprint.records import DomainName, Host, Record, Service
from footprint.store.inventory import merge_service
from footprint.store.packing import unpack
from footprint.store.tables import HostRow, ServiceRow, Sighting

MOST_ADDRESSES, MOST_SERVICES = 50, 500


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Names in order, addresses and services in numerical order; each bounded in number."""

    names: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    services: tuple[Service, ...] = ()
    hosts: tuple[Host, ...] = ()
    """Of a domain: its addresses, each with the names that led there."""

    def known(self, record: Record) -> Record:
        """A record as it is known by now: a service that was found open has a name later."""
        return next((one for one in self.services if one == record), record)


def surroundings_of(session: Session, scan_id: UUID, record: Record) -> Surroundings:
    """What the scan knows by now of a domain's addresses, or of a host's or a service's names and its neighbours."""
    match record:
        case DomainName(name=name):
            hosts = tuple(host for host in _hosts(session, scan_id) if host.name == name)
            addresses = tuple(dict.fromkeys(host.address for host in hosts))[:MOST_ADDRESSES]
            kept = tuple(host for host in hosts if host.address in addresses)
            return Surroundings((name,), addresses, _services(session, scan_id, addresses), kept)
        case Host(address=address) | Service(address=address):
            names = {host.name for host in _hosts(session, scan_id, address) if host.name}
            return Surroundings(tuple(sorted(names)), (address,), _services(session, scan_id, (address,)))
        case _:
            return Surroundings()


def _hosts(session: Session, scan_id: UUID, address: str | None = None) -> list[Host]:
    """What each unit of the scan knew of hosts: one entry for each name that led to one."""
    wanted = (
        select(Sighting.facts)
        .join(HostRow, HostRow.id == Sighting.entity_id)
        .where(Sighting.scan_id == scan_id, Sighting.kind == Host.kind)
        .order_by(HostRow.order_key, Sighting.module_run_id)
    )
    if address is not None:
        wanted = wanted.where(HostRow.address == address)
    return [cast(Host, unpack(packed)) for facts in session.scalars(wanted) for packed in facts]


def _services(session: Session, scan_id: UUID, addresses: tuple[str, ...]) -> tuple[Service, ...]:
    wanted = (
        select(Sighting.facts)
        .join(ServiceRow, ServiceRow.id == Sighting.entity_id)
        .where(Sighting.scan_id == scan_id, Sighting.kind == Service.kind, ServiceRow.address.in_(addresses))
        .order_by(ServiceRow.order_key, ServiceRow.port, ServiceRow.protocol, Sighting.module_run_id)
    )
    groups: dict[Record, list[Service]] = defaultdict(list)
    for facts in session.scalars(wanted):
        for packed in facts:
            seen = cast(Service, unpack(packed))
            groups[seen].append(seen)
    return tuple(merge_service(group) for group in list(groups.values())[:MOST_SERVICES])
