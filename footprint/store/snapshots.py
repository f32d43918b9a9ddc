"""A scan as it is compared: what it saw and looked at, read from its sightings and its coverage in three queries."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from footprint.policy import ScanPolicy
from footprint.records import Outcome, Record
from footprint.snapshots import Look, Sighted, Snapshot
from footprint.store.asset_tables import LeftOutRow
from footprint.store.packing import unpack
from footprint.store.tables import CoverageRow, ModuleRun, Scan, Sighting
from footprint.verdict import UnitStatus

_LEFT_OUT = re.compile(r" --exclude-ports (\d{1,5}(?:,\d{1,5})*) ")


@dataclass(frozen=True, slots=True)
class Loaded:
    """A scan's snapshot, and the row that each thing of it has."""

    snapshot: Snapshot
    ids: Mapping[Record, int]


def snapshot_of(session: Session, scan: Scan) -> Loaded:
    """Read a scan that has ended, whole."""
    own = seen().where(Sighting.scan_id == scan.id).order_by(Sighting.module_run_id, Sighting.id)
    things: dict[Record, list[Sighted]] = {}
    ids: dict[Record, int] = {}
    for row in session.execute(own):
        for sighted in sightings_in(row):
            things.setdefault(sighted.record, []).append(sighted)
            ids[sighted.record] = row.entity_id
    looks, own_ports = _looks_of(session, scan)
    left_out = frozenset(session.scalars(select(LeftOutRow.subject).where(LeftOutRow.scan_id == scan.id)))
    policy = ScanPolicy.model_validate(scan.policy)
    return Loaded(Snapshot(policy, things, looks, own_ports, left_out), ids)


def seen() -> Select[Any]:
    """Sightings, each with the module that made it."""
    columns = (Sighting.kind, Sighting.entity_id, Sighting.facts, Sighting.module_run_id, ModuleRun.module)
    return select(*columns).join(ModuleRun, ModuleRun.id == Sighting.module_run_id)


def sightings_in(row: Any) -> list[Sighted]:
    """What a row of `seen` tells."""
    return [Sighted(row.module, row.module_run_id, unpack(packed)) for packed in row.facts]


def _looks_of(session: Session, scan: Scan) -> tuple[list[Look], dict[str, frozenset[int]]]:
    columns = (ModuleRun.module, ModuleRun.id, ModuleRun.status, ModuleRun.command)
    told = select(*columns, CoverageRow.subject, CoverageRow.outcome, CoverageRow.note)
    rows = session.execute(
        told.join(CoverageRow, CoverageRow.module_run_id == ModuleRun.id)
        .where(ModuleRun.scan_id == scan.id)
        .order_by(ModuleRun.id, CoverageRow.subject)
    )
    looks: list[Look] = []
    own_ports: dict[str, frozenset[int]] = {}
    for module, unit, status, command, subject, outcome, note in rows:
        looks.append(Look(module, unit, subject, Outcome(outcome), note, UnitStatus(status)))
        if match := _LEFT_OUT.search(command):
            own_ports[subject] = frozenset(map(int, match[1].split(",")))
    return looks, own_ports
