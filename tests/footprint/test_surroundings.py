"""What a scan knows around one record: its own scan's, complete, and nobody else's."""

from __future__ import annotations

from uuid import UUID, uuid4

from footprint.admission import NewScan
from footprint.policy import PRESETS
from footprint.records import DomainName, Host, Network, Record, Service
from footprint.store import Store
from footprint.store.scans import begin, insert_scan
from footprint.store.surroundings import Surroundings, surroundings_of
from footprint.store.units import Settlement, Unit, begin_unit, plan_unit, settle_unit
from footprint.verdict import UnitStatus

NAMES = (
    Host("192.0.2.1", name="www.a.example"),
    Host("192.0.2.1", name="a.example"),
    Host("192.0.2.10", name="a.example"),
)
OPEN = (Service("192.0.2.10", 80), Service("192.0.2.1", 443), Service("192.0.2.1", 22, name="ssh"))
KNOWN = (Service("192.0.2.1", 443, name="https", product="nginx"), Service("192.0.2.9", 25, name="smtp"))


def _scan(store: Store, *units: tuple[Record, ...]) -> UUID:
    """A scan whose units found these."""
    with store.write() as session:
        new = NewScan(Network("192.0.2.0/24"), PRESETS["quick"], "", "api")
        scan = begin(session, insert_scan(session, new)[0].id, uuid4())
    for batch, found in enumerate(units):
        with store.write() as session:
            plan_unit(session, scan.id, scan.attempt, Unit("nmap", batch, 0, (Host("192.0.2.1"),)))
            unit_id, _ = begin_unit(session, scan.id, scan.attempt, "nmap", batch)
            settle_unit(session, scan.id, scan.attempt, unit_id, Settlement(UnitStatus.DONE, found))
    return scan.id


def _around(store: Store, scan: UUID, record: Record) -> Surroundings:
    with store.read() as session:
        return surroundings_of(session, scan, record)


def test_a_host_has_its_names_and_its_services_as_they_are_known_in_the_end(store: Store) -> None:
    scan = _scan(store, NAMES, OPEN, KNOWN)
    _scan(store, (Host("192.0.2.1", name="old.example"),), (Service("192.0.2.1", 8080),))
    around = _around(store, scan, Host("192.0.2.1"))
    assert (around.names, around.addresses) == (("a.example", "www.a.example"), ("192.0.2.1",))
    assert [(one.port, one.name, one.product) for one in around.services] == [
        (22, "ssh", None),
        (443, "https", "nginx"),
    ]
    assert around == _around(store, scan, Service("192.0.2.1", 22))


def test_a_domain_has_the_addresses_it_leads_to_and_what_answers_there(store: Store) -> None:
    scan = _scan(store, NAMES, OPEN, KNOWN)
    around = _around(store, scan, DomainName("a.example"))
    assert around.addresses == ("192.0.2.1", "192.0.2.10")
    assert [(one.address, one.port) for one in around.services] == [
        ("192.0.2.1", 22), ("192.0.2.1", 443), ("192.0.2.10", 80)
    ]  # fmt: skip
    assert _around(store, scan, DomainName("b.example")) == Surroundings(("b.example",))
