"""What one check of a service is, and what it may say."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from footprint.records import Finding, Service, Severity
from footprint.text import clean
from tasks.talk import Place

AUTH = "it asks for authentication"


@dataclass(frozen=True, slots=True)
class Said:
    """What came of a check: a note in any case, and a weakness (its subject is filled in later) where there is one."""

    note: str
    finding: Finding | None = None


@dataclass(frozen=True, slots=True)
class Check:
    """A question to services of certain names (nmap's), or on certain ports. It changes nothing there.

    `question` says what is asked, in a note's words. `ask` raises what `Talk` raises.
    """

    name: str
    question: str
    ask: Callable[[Place], Said]
    names: tuple[str, ...]
    ports: tuple[int, ...] = ()
    protocol: str = "tcp"

    def matches(self, service: Service) -> bool:
        """True where a service is to be asked: one that was not looked at yet has no name, and comes again with one."""
        if service.name is None or service.protocol != self.protocol:
            return False
        return service.name in self.names or service.port in self.ports


@dataclass(frozen=True, slots=True)
class Weakness:
    """A rule: what it is called, and how much it weighs. `cvss` is a vector and its base score."""

    rule: str
    severity: Severity
    reference: str
    cvss: tuple[str, float] | None = None

    def found(self, title: str, evidence: str) -> Said:
        """What is said where it was found."""
        vector, score = self.cvss or (None, None)
        finding = Finding(
            f"service_checks/{self.rule}",
            "",
            title=title,
            severity=self.severity,
            evidence=clean(evidence, 600),
            reference=self.reference,
            cvss=vector,
            score=score,
        )
        return Said(title, finding)


def shown(text: object, limit: int = 60) -> str:
    """What a service said, for a note or evidence; `unknown` for what is no text, or nothing."""
    if isinstance(text, bytes):
        text = text.decode(errors="replace")
    return (clean(text, limit) if isinstance(text, str) else "") or "unknown"
