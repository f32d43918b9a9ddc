"""What a scan knows around one record: its own scan's, complete, and nobody else's."""

from __future__ import annotations

from uuid import UUID

from footprint.records import DomainName, Host, Record, Service
from footprint.store import Store
from footprint.store.surroundings import Surroundings, surroundings_of
from tests.seen import seen_by_a_scan

NAMES = (
    Host("192.0.2.1", name="www.a.example"),
    Host("192.0.2.1", name="a.example"),
    Host("192.0.2.10", name="a.example"),
)
OPEN = (Service("192.0.2.10", 80), Service("192.0.2.1", 443), Service("192.0.2.1", 22, name="ssh"))
KNOWN = (Service("192.0.2.1", 443, name="https", product="nginx"), Service("192.0.2.9", 25, name="smtp"))


def _around(store: Store, scan: UUID, record: Record) -> Surroundings:
    with store.read() as session:
        return surroundings_of(session, scan, record)


def test_a_host_has_its_names_and_its_services_as_they_are_known_in_the_end(store: Store) -> None:
    scan = seen_by_a_scan(store, NAMES, OPEN, KNOWN)
    seen_by_a_scan(store, (Host("192.0.2.1", name="old.example"),), (Service("192.0.2.1", 8080),))
    around = _around(store, scan, Host("192.0.2.1"))
    assert (around.names, around.addresses) == (("a.example", "www.a.example"), ("192.0.2.1",))
    assert [(one.port, one.name, one.product) for one in around.services] == [
        (22, "ssh", None),
        (443, "https", "nginx"),
    ]
    assert around == _around(store, scan, Service("192.0.2.1", 22))


def test_a_domain_has_the_addresses_it_leads_to_and_what_answers_there(store: Store) -> None:
    scan = seen_by_a_scan(store, NAMES, OPEN, KNOWN)
    around = _around(store, scan, DomainName("a.example"))
    assert around.addresses == ("192.0.2.1", "192.0.2.10")
    assert [(one.address, one.port) for one in around.services] == [
        ("192.0.2.1", 22), ("192.0.2.1", 443), ("192.0.2.10", 80)
    ]  # fmt: skip
    assert _around(store, scan, DomainName("b.example")) == Surroundings(("b.example",))
