"""The feeds in the store: pages of them saved with how far they were read, and what is known of a product's version."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import delete, func, insert, or_, select
from sqlalchemy.orm import Session

from footprint.advisories import Advisory, Exploit
from footprint.cpe import Cpe, Range, known_as
from footprint.records import Severity
from footprint.store.feed_tables import Exploitation, Feed, Vulnerability, VulnerableRange
from footprint.store.tables import now
from footprint.store.upsert import upsert

NVD, EPSS, KEV = "nvd", "epss", "kev"
IDS_AT_ONCE = 500
_BOUNDS = ("version", "start", "start_included", "end", "end_included", "conditional", "narrowed")


@dataclass(frozen=True, slots=True)
class Known:
    """A CVE that concerns a version of a product, by one range of it. `epss` is a probability, 0-1."""

    id: str
    summary: str
    cvss: str | None
    score: float | None
    severity: Severity
    range: Range
    epss: float | None
    known_since: str | None
    ransomware: bool


def feed(session: Session, name: str) -> Feed:
    """How far a feed was read; a new row where it never was."""
    found = session.get(Feed, name)
    if found is None:
        found = Feed(name=name, source="", entries=0, position={})
        session.add(found)
    return found


def advance(session: Session, name: str, *, position: dict[str, Any], entries: int = 0) -> None:
    """Note how far a feed was read, in the transaction that saved what was read."""
    row = feed(session, name)
    row.position, row.entries = position, row.entries + entries


def complete(session: Session, name: str, source: str, watermark: str | None, *, entries: int | None = None) -> None:
    """Note that a feed was read to its end."""
    row = feed(session, name)
    row.source, row.watermark, row.position, row.updated_at, row.error = source, watermark, {}, now(), None
    row.entries = _held(session, name) if entries is None else entries


def fail(session: Session, name: str, error: str) -> None:
    """Note that a feed could not be read; what was read before stays."""
    feed(session, name).error = error


def _held(session: Session, name: str) -> int:
    counted = {
        NVD: select(func.count()).select_from(Vulnerability),
        EPSS: select(func.count()).where(Exploitation.epss.is_not(None)),
        KEV: select(func.count()).where(Exploitation.known_since.is_not(None)),
    }
    return session.scalar(counted[name]) or 0


def save_advisories(session: Session, advisories: Sequence[Advisory]) -> None:
    """Save CVEs with their ranges; what was known of each before is replaced, rejected ones are forgotten."""
    latest = {advisory.id: advisory for advisory in advisories}
    kept = [latest[cve_id] for cve_id in sorted(latest) if not latest[cve_id].rejected]
    for start in range(0, len(latest), IDS_AT_ONCE):
        ids = sorted(latest)[start : start + IDS_AT_ONCE]
        session.execute(delete(VulnerableRange).where(VulnerableRange.cve_id.in_(ids)))
        session.execute(delete(Vulnerability).where(Vulnerability.id.in_(ids)))
    columns = ("id", "summary", "published", "modified", "cvss", "score", "severity")
    rows = [{column: getattr(advisory, column) for column in columns} for advisory in kept]
    if rows:
        session.execute(insert(Vulnerability), rows)
    ranges = [_range_row(advisory.id, cpe, span) for advisory in kept for cpe, span in advisory.affected]
    if ranges:
        session.execute(insert(VulnerableRange), ranges)


def _range_row(cve_id: str, cpe: Cpe, span: Range) -> dict[str, Any]:
    return {"cve_id": cve_id, "part": cpe.part, "vendor": cpe.vendor, "product": cpe.product, **asdict(span)}


def save_exploits(session: Session, exploits: Iterable[Exploit], columns: Sequence[str]) -> None:
    """Save what a feed says of exploitation; only its own `columns` change."""
    by_id = {exploit.cve_id: asdict(exploit) for exploit in exploits}
    rows = [by_id[cve_id] for cve_id in sorted(by_id)]
    upsert(
        session,
        Exploitation,
        rows,
        ["cve_id"],
        lambda new: {column: new[column] for column in columns},
        [Exploitation.cve_id],
    )


def feeds_known(session: Session) -> list[Feed]:
    """What is known of every feed, by name."""
    return list(session.scalars(select(Feed).order_by(Feed.name)))


def has_advisories(session: Session) -> bool:
    """True where any CVE is held."""
    return session.scalar(select(Vulnerability.id).limit(1)) is not None


def concerning(session: Session, cpe: Cpe) -> list[Known]:
    """The CVEs that concern this version of a product, each by the range that names it most exactly.

    A CPE without a version concerns nothing: every CVE of a product would be noise.
    """
    if cpe.version is None:
        return []
    names = or_(
        *(
            (VulnerableRange.vendor == alias.vendor) & (VulnerableRange.product == alias.product)
            for alias in known_as(cpe)
        )
    )
    rows = session.execute(
        select(VulnerableRange, Vulnerability, Exploitation)
        .join(Vulnerability, Vulnerability.id == VulnerableRange.cve_id)
        .outerjoin(Exploitation, Exploitation.cve_id == VulnerableRange.cve_id)
        .where(VulnerableRange.part == cpe.part, names)
    )
    found: dict[str, Known] = {}
    for row, cve, exploit in rows:
        span = Range(**{bound: getattr(row, bound) for bound in _BOUNDS})
        better = cve.id not in found or span.confidence > found[cve.id].range.confidence
        if better and span.holds(cpe.version):
            found[cve.id] = _known(cve, span, exploit)
    return sorted(found.values(), key=lambda known: (-(known.score or 0), known.id))


def _known(cve: Vulnerability, span: Range, exploit: Exploitation | None) -> Known:
    return Known(
        id=cve.id,
        summary=cve.summary,
        cvss=cve.cvss,
        score=cve.score,
        severity=Severity(cve.severity),
        range=span,
        epss=exploit.epss if exploit else None,
        known_since=exploit.known_since if exploit else None,
        ransomware=bool(exploit and exploit.ransomware),
    )
