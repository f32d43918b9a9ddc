"""How bad it is, from a finding up to the asset, in one formula: 0.0 (nothing known) to 10.0.

A finding weighs its CVSS base score times the confidence in it; without a vector it has the middle of its severity's
range (CVSS v3.1 specification, section 5). Whatever is made of parts has the mean of the mean and the maximum of its
parts: one bad thing shows, and many are worse than one. Findings make hosts, hosts and a domain's own findings make
domains, and domains with the hosts that no domain leads to make the asset. What somebody marked as a false positive
does not count. A part without a finding counts as 0.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from footprint.records import Severity

MIDDLE: dict[Severity, float] = {
    Severity.NONE: 0.0,
    Severity.LOW: 2.0,
    Severity.MEDIUM: 5.5,
    Severity.HIGH: 8.0,
    Severity.CRITICAL: 9.5,
}

_PLACE = re.compile(r"(?:(?P<name>[^@\s]+)@)?(?P<host>\[[^\]]+\]|[^:\s]+):\d+/\w+")


@dataclass(frozen=True, slots=True)
class Weight:
    """What a finding is about, as its subject says, and how much it weighs (0-10)."""

    subject: str
    value: float


@dataclass(frozen=True, slots=True)
class Scores:
    """The score of an asset, of its domains by name, and of its hosts by address."""

    asset: float = 0.0
    domains: Mapping[str, float] = field(default_factory=dict)
    hosts: Mapping[str, float] = field(default_factory=dict)


def weigh(severity: Severity, score: float | None, confidence: float) -> float:
    """How much one finding weighs, 0-10."""
    base = MIDDLE[severity] if score is None else score
    return max(0.0, min(10.0, base)) * max(0.0, min(1.0, confidence))


def combine(parts: Iterable[float]) -> float:
    """The score of what is made of these parts: the mean of their mean and their maximum; 0 for none."""
    values = list(parts)
    return (sum(values) / len(values) + max(values)) / 2 if values else 0.0


def place_of(subject: str) -> str:
    """The address or the domain that a finding's subject belongs to."""
    match = _PLACE.fullmatch(subject)
    return match["host"].strip("[]") if match else subject


def roll_up(weights: Iterable[Weight], hosts: Mapping[str, Iterable[str]], domains: Iterable[str] = ()) -> Scores:
    """Score everything: `hosts` are the known addresses with the names that lead to them, `domains` all known names."""
    found: dict[str, list[float]] = defaultdict(list)
    for weight in weights:
        found[place_of(weight.subject)].append(weight.value)
    names = {*domains, *(name for led in hosts.values() for name in led)}
    # A finding about something that was never seen as a host or a name stands for itself.
    alone = [place for place in found if place not in names]
    by_host = {address: combine(found.get(address, ())) for address in (*hosts, *alone)}
    behind: dict[str, list[float]] = {name: list(found.get(name, ())) for name in names}
    unnamed = []
    for address, score in by_host.items():
        led = list(hosts.get(address, ()))
        for name in led:
            behind[name].append(score)
        if not led:
            unnamed.append(score)
    by_domain = {name: combine(parts) for name, parts in behind.items()}
    asset = combine([*by_domain.values(), *unnamed])
    return Scores(
        round(asset, 2),
        {name: round(score, 2) for name, score in by_domain.items()},
        {address: round(score, 2) for address, score in by_host.items()},
    )
