"""What NVD, EPSS and KEV publish, as records: read from their formats, pure.

NVD: JSON of the CVE API 2.0 (the yearly files have the same shape). EPSS: CSV with a comment line on top. KEV: JSON.
Whatever lacks what it must have is left out and counted by the caller, not guessed.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from footprint.cpe import Cpe, Range, parse_cpe
from footprint.records import Severity
from footprint.text import clean

CVE = re.compile(r"CVE-\d{4}-\d{4,19}")
METRICS = ("cvssMetricV40", "cvssMetricV31", "cvssMetricV30", "cvssMetricV2")
"""Where NVD keeps its scores, the newest version of CVSS first."""


@dataclass(frozen=True, slots=True)
class Advisory:
    """A CVE and the products it concerns. A rejected one is to be forgotten."""

    id: str
    rejected: bool = False
    summary: str = ""
    published: datetime | None = None
    modified: datetime | None = None
    cvss: str | None = None
    score: float | None = None
    severity: Severity = Severity.NONE
    affected: tuple[tuple[Cpe, Range], ...] = ()


@dataclass(frozen=True, slots=True)
class Exploit:
    """What is known of a CVE's exploitation, by EPSS or by KEV."""

    cve_id: str
    epss: float | None = None
    percentile: float | None = None
    known_since: str | None = None
    ransomware: bool = False


def read_nvd(document: Any) -> Iterator[Advisory]:
    """The CVEs of one page of NVD's answer, or of one of its files."""
    for entry in _list(document, "vulnerabilities"):
        cve = entry.get("cve") if isinstance(entry, dict) else None
        if isinstance(cve, dict) and CVE.fullmatch(str(cve.get("id", ""))):
            yield _advisory(cve)


def _advisory(cve: dict[str, Any]) -> Advisory:
    if cve.get("vulnStatus") == "Rejected":
        return Advisory(cve["id"], rejected=True)
    vector, score, severity = _rating(cve.get("metrics") or {})
    told = (text["value"] for text in _list(cve, "descriptions") if text.get("lang") == "en" and text.get("value"))
    return Advisory(
        cve["id"],
        summary=clean(next(told, ""), 2000),
        published=_time(cve.get("published")),
        modified=_time(cve.get("lastModified")),
        cvss=vector,
        score=score,
        severity=severity,
        affected=tuple(dict.fromkeys(_affected(cve))),
    )


def _rating(metrics: dict[str, Any]) -> tuple[str | None, float | None, Severity]:
    for name in METRICS:
        # NVD's own rating before those of others.
        given = sorted(_list(metrics, name), key=lambda metric: metric.get("type") != "Primary")
        for data in (metric.get("cvssData") or {} for metric in given):
            if isinstance(data.get("baseScore"), int | float):
                score = float(data["baseScore"])
                return clean(str(data.get("vectorString", "")), 255) or None, score, severity_of(score, name)
    return None, None, Severity.NONE


def severity_of(score: float, metric: str = METRICS[0]) -> Severity:
    """The word for a base score: CVSS version 2 knows no critical, versions 3 and 4 do."""
    if score <= 0:
        return Severity.NONE
    bounds = [(4.0, Severity.LOW), (7.0, Severity.MEDIUM)]
    if metric != METRICS[-1]:
        bounds.append((9.0, Severity.HIGH))
    above = Severity.HIGH if metric == METRICS[-1] else Severity.CRITICAL
    return next((word for below, word in bounds if score < below), above)


def _affected(cve: dict[str, Any]) -> Iterator[tuple[Cpe, Range]]:
    for configuration in _list(cve, "configurations"):
        nodes = _list(configuration, "nodes")
        for node in nodes:
            matches = _list(node, "cpeMatch")
            conditional = (configuration.get("operator") == "AND" and len(nodes) > 1) or (
                node.get("operator") == "AND" and len(matches) > 1
            )
            for match in matches:
                cpe = parse_cpe(str(match.get("criteria", "")))
                if match.get("vulnerable") is True and cpe and not node.get("negate"):
                    yield cpe, _range(match, cpe, conditional)


def _range(match: dict[str, Any], cpe: Cpe, conditional: bool) -> Range:
    start = match.get("versionStartIncluding") or match.get("versionStartExcluding")
    end = match.get("versionEndIncluding") or match.get("versionEndExcluding")
    return Range(
        version=cpe.version,
        start=str(start) if start else None,
        start_included="versionStartExcluding" not in match,
        end=str(end) if end else None,
        end_included="versionEndIncluding" in match,
        conditional=conditional,
        narrowed=cpe.narrowed,
    )


def read_epss(lines: Iterable[str]) -> Iterator[Exploit]:
    """EPSS's scores: probability (0-1) and percentile (0-1) of each CVE."""
    for row in csv.DictReader(line for line in lines if not line.startswith("#")):
        if CVE.fullmatch(row.get("cve") or ""):
            try:
                yield Exploit(row["cve"], epss=float(row["epss"]), percentile=float(row["percentile"]))
            except (KeyError, TypeError, ValueError):
                continue


def read_kev(document: Any) -> Iterator[Exploit]:
    """CISA's catalogue: since when each CVE is listed, and whether ransomware is known to use it."""
    for entry in _list(document, "vulnerabilities"):
        if isinstance(entry, dict) and CVE.fullmatch(str(entry.get("cveID", ""))):
            known = str(entry.get("knownRansomwareCampaignUse", "")) == "Known"
            yield Exploit(entry["cveID"], known_since=str(entry.get("dateAdded", ""))[:10] or None, ransomware=known)


def _list(holder: Any, key: str) -> list[Any]:
    value = holder.get(key) if isinstance(holder, dict) else None
    return value if isinstance(value, list) else []


def _time(text: Any) -> datetime | None:
    try:
        parsed = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)
