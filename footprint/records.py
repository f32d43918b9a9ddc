"""What a scan finds: frozen records, equal by what they are and not by what is known of them.

A record's identity is its compared fields; descriptive ones carry `compare=False`, so that a host found twice is
one host. Records are what modules accept and produce, what the frontier deduplicates and the store keeps.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class DomainName:
    """A DNS name, lower-case A-labels, no trailing dot. `cname` is the name it is an alias of, if any."""

    kind: ClassVar[str] = "domain"

    name: str
    cname: str | None = field(default=None, compare=False)
    wildcard: bool = field(default=False, compare=False)
    """True where the zone answers any name at this level the same way (RFC 4592): the name proves nothing."""


@dataclass(frozen=True, slots=True)
class Host:
    """An address (IPv4 or IPv6, canonical text). `name` is the DNS name that led to it; `via` the last alias."""

    kind: ClassVar[str] = "host"

    address: str
    name: str | None = field(default=None, compare=False)
    via: str | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Network:
    """A network in CIDR notation with no host bits set."""

    kind: ClassVar[str] = "network"

    cidr: str


@dataclass(frozen=True, slots=True)
class Service:
    """An open port of a host and what answers there. `cpes` are CPE 2.2 URIs as the tool printed them."""

    kind: ClassVar[str] = "service"

    address: str
    port: int
    protocol: str = "tcp"
    name: str | None = field(default=None, compare=False)
    product: str | None = field(default=None, compare=False)
    version: str | None = field(default=None, compare=False)
    detail: str | None = field(default=None, compare=False)
    tunnel: str | None = field(default=None, compare=False)
    cpes: tuple[str, ...] = field(default=(), compare=False)


class Severity(StrEnum):
    """CVSS v3.1 qualitative ratings (specification, section 5)."""

    NONE = "none"
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"


@dataclass(frozen=True, slots=True)
class Finding:
    """A weakness of a domain, host or service. `rule` names the check; with `subject` it is the identity."""

    kind: ClassVar[str] = "finding"

    rule: str
    subject: str
    title: str = field(default="", compare=False)
    severity: Severity = field(default=Severity.NONE, compare=False)
    confidence: float = field(default=1.0, compare=False)
    """From 0 (a guess) to 1 (proved)."""
    evidence: str = field(default="", compare=False)
    reference: str = field(default="", compare=False)


Record = DomainName | Host | Network | Service | Finding


class Outcome(StrEnum):
    """What became of one target of a unit: "nothing found" must say what was looked at."""

    ANSWERED = "answered"
    SAMPLED = "sampled"
    """It answered with more than means anything (a tarpit, a wildcard): a sample was kept."""
    SILENT = "silent"
    """It was looked at, and nothing came back: no port answered, the name does not exist."""
    TIMED_OUT = "timed_out"
    REFUSED = "refused"
    """Scope forbade it just before the tool was started."""
    NOT_LOOKED_AT = "not_looked_at"


@dataclass(frozen=True, slots=True)
class Coverage:
    """What a module says of one target it was given. `subject` is the target as in its record."""

    subject: str
    outcome: Outcome
    note: str = field(default="", compare=False)


def subject_of(record: Record) -> str:
    """Name a record in one word, as coverage and findings refer to it."""
    match record:
        case DomainName():
            return record.name
        case Host():
            return record.address
        case Network():
            return record.cidr
        case Service():
            host = f"[{record.address}]" if ":" in record.address else record.address
            return f"{host}:{record.port}/{record.protocol}"
        case Finding():
            return f"{record.rule} {record.subject}"
