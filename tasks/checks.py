"""What one check of a service is, and what it may say."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from footprint.records import Finding, Service, Severity
from tasks.talk import Place


@dataclass(frozen=True, slots=True)
class Said:
    """What came of a check: a note in any case, and a weakness (its subject is filled in later) where there is one."""

    note: str
    finding: Finding | None = None


@dataclass(frozen=True, slots=True)
class Check:
    """A question to services of certain names (nmap's), or on certain ports. It changes nothing there.

    `ask` raises what `Talk` raises. `protocol` is that of the service: `tcp`, `udp`, or both where it is empty.
    """

    name: str
    ask: Callable[[Place], Said]
    names: tuple[str, ...] = ()
    ports: tuple[int, ...] = ()
    protocol: str = "tcp"

    def matches(self, service: Service) -> bool:
        """True where a service is to be asked: one that was not looked at yet has no name, and comes again with one."""
        if service.name is None or (self.protocol and service.protocol != self.protocol):
            return False
        return service.name in self.names or service.port in self.ports


def weakness(
    rule: str, title: str, severity: Severity, evidence: str, reference: str, rating: tuple[str, float] | None = None
) -> Said:
    """What is said where a check found something. `rating` is a CVSS vector and its base score."""
    vector, score = rating or (None, None)
    finding = Finding(
        f"service_checks/{rule}",
        "",
        title=title,
        severity=severity,
        evidence=evidence,
        reference=reference,
        cvss=vector,
        score=score,
    )
    return Said(title, finding)
