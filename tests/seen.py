"""A scan in the store that has seen what a test says."""

from __future__ import annotations

from uuid import UUID, uuid4

from footprint.admission import NewScan
from footprint.policy import PRESETS
from footprint.records import Host, Network, Record
from footprint.store import Store
from footprint.store.scans import begin, insert_scan
from footprint.store.units import Settlement, Unit, begin_unit, plan_unit, settle_unit
from footprint.verdict import UnitStatus


def seen_by_a_scan(store: Store, *units: tuple[Record, ...]) -> UUID:
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
