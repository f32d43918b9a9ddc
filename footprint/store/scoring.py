"""Scores from what is kept, of a scan as it saw things and of an asset as it is known; what was decided of findings."""

from __future__ import annotations

from typing import Any, cast
from uuid import UUID

from sqlalchemy import CursorResult, Select, select, update
from sqlalchemy.orm import Session

from footprint.errors import NotFound
from footprint.records import DomainName, Finding, Host, Severity
from footprint.score import Scores, Weight, roll_up, weigh
from footprint.store.tables import Domain, FindingRow, HostRow, Sighting

FALSE_POSITIVE = "false_positive"
ACCEPTED = "accepted"
OPEN = "open"


def scores_of_scan(session: Session, scan_id: UUID) -> Scores:
    """The scores of what a scan saw. What was marked as a false positive does not count."""

    def seen(kind: str) -> Select[Any]:
        return select(Sighting.entity_id).where(Sighting.scan_id == scan_id, Sighting.kind == kind)

    return _scores(
        session,
        select(FindingRow).where(FindingRow.id.in_(seen(Finding.kind))),
        select(HostRow).where(HostRow.id.in_(seen(Host.kind))),
        select(Domain.name).where(Domain.id.in_(seen(DomainName.kind))),
    )


def scores_of_asset(session: Session, asset_id: UUID) -> Scores:
    """The scores of what is known of an asset."""
    return _scores(
        session,
        select(FindingRow).where(FindingRow.asset_id == asset_id),
        select(HostRow).where(HostRow.asset_id == asset_id),
        select(Domain.name).where(Domain.asset_id == asset_id),
    )


def _scores(session: Session, findings: Select[Any], hosts: Select[Any], domains: Select[Any]) -> Scores:
    weights = [
        Weight(row.subject, weigh(Severity(row.severity), row.score, row.confidence))
        for row in session.scalars(findings.where(FindingRow.status != FALSE_POSITIVE))
    ]
    names = list(session.scalars(domains))
    known = set(names)
    led = {host.address: [name for name in host.names if name in known] for host in session.scalars(hosts)}
    return roll_up(weights, led, names)


def judge_finding(session: Session, asset_id: UUID, fingerprint: str, status: str) -> None:
    """Mark a finding as accepted, as a false positive, or as open again. Raises `NotFound`."""
    marked = update(FindingRow).where(FindingRow.asset_id == asset_id, FindingRow.fingerprint == fingerprint)
    if cast("CursorResult[Any]", session.execute(marked.values(status=status))).rowcount != 1:
        raise NotFound("there is no finding of that fingerprint")
