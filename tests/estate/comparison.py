"""What was found beside what is there: recall and precision for each kind, and what was missed by name."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from footprint.store import Store, open_store
from footprint.store.views import domains_of_scan, findings_of_scan, scans_page, services_of_scan
from tests.estate.truth import Port, Truth, Version, Weakness
from tests.estate.zone import ROOT

MOST = 1_000_000


@dataclass(frozen=True, slots=True)
class Seen:
    """What one scan found."""

    names: frozenset[str]
    ports: frozenset[Port]
    versions: frozenset[Version]
    findings: frozenset[Weakness]


@dataclass(frozen=True, slots=True)
class Comparison:
    """One kind: what is there, what was found of it, and what was found beside it and is not there."""

    kind: str
    expected: frozenset[Any]
    found: frozenset[Any]
    tolerated: frozenset[Any]

    @property
    def missed(self) -> list[Any]:
        """What is there and was not found."""
        return sorted(self.expected - self.found, key=str)

    @property
    def surplus(self) -> list[Any]:
        """What was found and is not there."""
        return sorted(self.found - self.expected - self.tolerated, key=str)

    @property
    def recall(self) -> float:
        """The part of what is there that was found, 0-1."""
        return len(self.expected & self.found) / len(self.expected) if self.expected else 1.0

    @property
    def precision(self) -> float:
        """The part of what was found that is there, 0-1."""
        right = len(self.expected & self.found)
        return right / (right + len(self.surplus)) if right + len(self.surplus) else 1.0


def compare(seen: Seen, truth: Truth) -> list[Comparison]:
    """Compare each kind."""
    nothing: frozenset[Any] = frozenset()
    return [
        Comparison("names", truth.names, seen.names, truth.tolerated_names),
        Comparison("open ports", truth.ports, seen.ports, truth.tolerated_ports),
        Comparison("products and versions", truth.versions, _judged(seen.versions, truth), nothing),
        Comparison("findings", truth.findings, seen.findings, truth.tolerated_findings),
    ]


def newest_scan(url: str) -> Seen:
    """What the newest scan of a store found."""
    store = open_store(url)
    try:
        return _seen(store)
    finally:
        store.close()


def _seen(store: Store) -> Seen:
    with store.read() as session:
        scan_id: UUID = scans_page(session, status=None, target=None, offset=0, limit=1)[0][0].id
        names, _ = domains_of_scan(session, scan_id, 0, MOST)
        services, _ = services_of_scan(session, scan_id, 0, MOST)
        findings, _ = findings_of_scan(session, scan_id, 0, MOST)
    return Seen(
        # What a wildcard answers for is no name that somebody gave.
        frozenset(one.name for one in names if is_ours(one.name) and not one.wildcard),
        frozenset(Port(one.host, one.port) for one in services if one.protocol == "tcp"),
        frozenset(Version(one.host, one.port, one.product, one.version) for one in services if one.product),
        frozenset(Weakness(one.rule, one.subject) for one in findings),
    )


def _judged(found: Iterable[Version], truth: Truth) -> frozenset[Version]:
    """Only ports whose product is known for sure: what a hostile greeting claims is neither right nor wrong."""
    sure = {(one.address, one.port) for one in truth.versions}
    return frozenset(one for one in found if (one.address, one.port) in sure)


def is_ours(name: str) -> bool:
    """Whether a name is below the root."""
    return name == ROOT or name.endswith(f".{ROOT}")
