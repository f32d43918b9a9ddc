"""What an extension is told, and what its output means: any text is one finding, JSON lines are findings each."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from footprint.manifest import Manifest, Reference, Vector
from footprint.records import DomainName, Finding, Host, Record, Service, Severity, subject_of
from footprint.store.packing import pack
from footprint.store.surroundings import Surroundings
from footprint.text import clean

MOST_FINDINGS = 100
"""Of one run."""
MOST_DATA = 96 * 1024
"""Bytes of `ALL_DATA`: the kernel takes 128 KiB for one variable."""
MISTAKES_NAMED = 3
_RATINGS = (
    (9.0, Severity.CRITICAL),
    (7.0, Severity.HIGH),
    (4.0, Severity.MEDIUM),
    (0.1, Severity.LOW),
    (0.0, Severity.NONE),
)
"""CVSS v3.1 specification, section 5."""


class Told(BaseModel):
    """One line of an extension's JSON. What it leaves out is as the manifest says."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    title: str = Field(min_length=1, max_length=1000)
    rule: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")] | None = None
    severity: Annotated[Severity, Field(strict=False)] | None = None
    score: float | None = Field(default=None, ge=0, le=10)
    cvss: Vector | None = None
    confidence: float = Field(default=1.0, ge=0, le=1)
    evidence: str = Field(default="", max_length=65536)
    reference: Reference | None = None


@dataclass(frozen=True, slots=True)
class Given:
    """What an extension is told of a record: its environment, and its input."""

    environment: dict[str, str]
    stdin: str

    def reaching(self, addresses: Iterable[str]) -> Given:
        """The same, with the addresses that it reaches: names are not resolved where it runs."""
        return replace(self, environment={**self.environment, "DOM_ADDRS": ",".join(addresses)})


@dataclass(frozen=True, slots=True)
class Reading:
    """The findings of one run, and what of its output was not taken."""

    findings: tuple[Finding, ...] = ()
    mistakes: tuple[str, ...] = ()


def told_of(record: Record, around: Surroundings) -> Given:
    """What an extension is told of a record and of what the scan has seen around it."""
    record = around.known(record)
    services = [one for one in around.services if one != record]
    if isinstance(record, Service):
        services = [record, *services]
    named = record.name if isinstance(record, DomainName | Host) else None
    address = "" if isinstance(record, DomainName) else getattr(record, "address", "")
    fqdn = named or next(iter(around.names), address)
    packed = pack(record)
    data = {"fqdn": fqdn, "record": packed, "names": list(around.names), "addresses": list(around.addresses)}
    environment = {
        "DOM_FQDN": fqdn,
        "DOM_SVCS": ",".join(f"{one.port}/{(one.name or 'unknown').upper()}" for one in services),
        "ALL_DATA": _bounded(data, services),
    }
    return Given(environment, json.dumps(packed) + "\n")


def _bounded(data: dict[str, Any], services: list[Service]) -> str:
    """The data as JSON with as many of the services as there is room for; `complete` says whether all are there."""
    room, kept = MOST_DATA, []
    for service in services:
        packed = pack(service)
        room -= len(json.dumps(packed)) + 2
        if room < 0:
            break
        kept.append(packed)
    names = data["names"][:100]
    is_complete = len(kept) == len(services) and len(names) == len(data["names"])
    return json.dumps(data | {"names": names, "services": kept, "complete": is_complete})


def read_output(text: str, manifest: Manifest, record: Record, *, ended_well: bool) -> Reading:
    """Read what an extension printed of a record.

    JSON lines count also where it was cut off or failed; other text only where it ended well, since it may be half of
    a sentence or an interpreter's complaint.
    """
    lines = [(number, line.strip()) for number, line in enumerate(text.splitlines(), start=1) if line.strip()]
    if not lines:
        return Reading()
    if lines[0][1].startswith("{"):
        return _read_lines(lines, manifest, record)
    if not ended_well:
        return Reading(mistakes=("its text was not taken, as it did not end well",))
    title = manifest.description or f"The extension {manifest.name} reports something"
    return Reading((_finding(Told(title=title, evidence=clean(text)), manifest, record),))


def _read_lines(lines: list[tuple[int, str]], manifest: Manifest, record: Record) -> Reading:
    findings: dict[str, Finding] = {}
    mistakes: list[str] = []
    for number, line in lines:
        if len(findings) == MOST_FINDINGS:
            mistakes.append(f"more than {MOST_FINDINGS} findings: the rest was not read")
            break
        try:
            finding = _finding(Told.model_validate(json.loads(line)), manifest, record)
        except (ValueError, RecursionError) as error:
            mistakes.append(f"line {number}: {_sentence(error)}")
            continue
        if finding.rule in findings:
            mistakes.append(f"line {number}: a second finding with the same rule: give each a `rule` of its own")
        findings.setdefault(finding.rule, finding)
    return Reading(tuple(findings.values()), tuple(_first(mistakes)))


def _first(mistakes: list[str]) -> Iterator[str]:
    yield from mistakes[:MISTAKES_NAMED]
    if len(mistakes) > MISTAKES_NAMED:
        yield f"and {len(mistakes) - MISTAKES_NAMED} more mistakes"


def _sentence(error: Exception) -> str:
    if not isinstance(error, ValidationError):
        return "not JSON"
    mistake = error.errors(include_input=False, include_url=False)[0]
    place = clean(".".join(str(part) for part in mistake["loc"]), 64)
    if mistake["type"] == "extra_forbidden":
        return f"a finding has no field {place}"
    return f"{place}: {clean(mistake['msg'], 200)}" if place else "a finding is an object"


def _finding(told: Told, manifest: Manifest, record: Record) -> Finding:
    rule = f"extension/{manifest.name}"
    is_rated = told.score is not None or told.cvss is not None or told.severity is not None
    score = told.score if is_rated else manifest.score
    severity = told.severity or (Severity.NONE if is_rated else manifest.severity)
    return Finding(
        rule=f"{rule}/{told.rule}" if told.rule else rule,
        subject=subject_of(record),
        title=told.title,
        severity=_rated(score) if severity is Severity.NONE and score is not None else severity,
        confidence=told.confidence,
        evidence=told.evidence,
        reference=manifest.reference if told.reference is None else told.reference,
        cvss=told.cvss if is_rated else manifest.cvss,
        score=score,
    )


def _rated(score: float) -> Severity:
    return next(severity for least, severity in _RATINGS if score >= least)
