"""Which published weaknesses concern the versions that were found: looked up in the store, nothing is sent.

Services are matched by the CPEs that nmap gave them, technologies by a small table of products that WhatWeb names. A
version is compared with NVD's ranges, so a match means "this version is listed", not "this was tried": confidence says
how exactly. Distributions mend old versions without changing their number: where a version names one, confidence
is halved. Needs `pulsar feeds update` once.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.orm import Session

from footprint.cpe import Cpe, parse_cpe
from footprint.errors import FeedMissing
from footprint.records import Coverage, Finding, Outcome, Record, Service, Technology, subject_of
from footprint.scope import Scope
from footprint.settings import Settings
from footprint.store import Store
from footprint.store.feeds import Known, concerning, has_advisories
from tasks.effort import NO_EFFORT, Effort
from tasks.tool import Asking, Batch, Found, Intake, Pace, Risk, Tool

DISTRIBUTION = re.compile(r"debian|ubuntu|\bdeb\d|\bel\d|\bfc\d|red ?hat|centos|suse|alpine|freebsd-\d", re.IGNORECASE)
BACKPORTED, GUESSED = 0.5, 0.8
"""What confidence is multiplied with: for a distribution's version, and for a product known by its name only."""

PRODUCTS: dict[str, tuple[str, str]] = {
    "nginx": ("f5", "nginx"),
    "apache": ("apache", "http_server"),
    "openssl": ("openssl", "openssl"),
    "php": ("php", "php"),
    "jquery": ("jquery", "jquery"),
    "wordpress": ("wordpress", "wordpress"),
    "drupal": ("drupal", "drupal"),
    "joomla": ("joomla", "joomla\\!"),
    "lighttpd": ("lighttpd", "lighttpd"),
    "tomcat": ("apache", "tomcat"),
    "microsoft-iis": ("microsoft", "internet_information_services"),
    "bootstrap": ("getbootstrap", "bootstrap"),
    "gitlab": ("gitlab", "gitlab"),
    "grafana": ("grafana", "grafana"),
    "jenkins": ("jenkins", "jenkins"),
    "phpmyadmin": ("phpmyadmin", "phpmyadmin"),
    "openssh": ("openbsd", "openssh"),
}
"""Technologies by their name in small letters, with NVD's vendor and product."""


class CveMatchOptions(BaseModel):
    """Which matches are worth a finding."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    min_score: float = Field(default=0, ge=0, le=10, description="CVSS base score from which a CVE is reported.")
    min_confidence: float = Field(default=0.1, ge=0, le=1, description="Confidence from which a CVE is reported.")
    most: int = Field(default=50, ge=1, le=1000, description="Findings for one product; the worst are kept.")


@dataclass(frozen=True, slots=True)
class Seen:
    """A product and version, on what ground, and how much that is worth (0-1)."""

    cpe: Cpe
    ground: str
    trust: float


def configure(options: dict[str, Any], pace: Pace) -> CveMatchOptions:
    """The policy's options; nothing is sent, so its intensity means nothing here."""
    return CveMatchOptions.model_validate(options)


def effort(batch: Batch, options: CveMatchOptions, scope: Scope) -> Effort:
    """Nothing is sent: it is looked up in what was fetched before."""
    return NO_EFFORT


def check(settings: Settings, store: Store | None) -> None:
    """Raise `FeedMissing` where no CVE is held."""
    if store is not None:
        with store.read() as session:
            if has_advisories(session):
                return
    raise FeedMissing("cve_match: no vulnerability feed was read yet", hint="pulsar feeds update")


def products_of(record: Record) -> list[Seen]:
    """The products whose version a record tells."""
    match record:
        case Service():
            told = " ".join(text for text in (record.version, record.detail, record.product) if text)
            trust = BACKPORTED if DISTRIBUTION.search(told) else 1.0
            cpes = [(parse_cpe(text), text) for text in record.cpes]
            return [Seen(cpe, text, trust) for cpe, text in cpes if cpe and cpe.version]
        case Technology(name=name, version=str(version)) if named := PRODUCTS.get(name.lower()):
            told = f"{version} {record.detail or ''}"
            trust = GUESSED * (BACKPORTED if DISTRIBUTION.search(told) else 1.0)
            number = re.match(r"[\w.]+", version)
            cpe = Cpe("a", *named, number[0].lower()) if number else None
            return [Seen(cpe, f"{name} {version}", trust)] if cpe else []
        case _:
            return []


def probe(batch: Batch, options: CveMatchOptions, asking: Asking) -> Iterator[Found]:
    """Look every product of the batch up."""
    assert asking.store is not None
    with asking.store.read() as session:
        for done, record in enumerate(batch, 1):
            if asking.is_over():
                yield Coverage(subject_of(record), Outcome.NOT_LOOKED_AT, "the time for this unit ran out")
                continue
            yield from _looked_up(session, record, options)
            asking.report(100 * done / len(batch))


def _looked_up(session: Session, record: Record, options: CveMatchOptions) -> Iterator[Found]:
    subject = record.subject if isinstance(record, Technology) else subject_of(record)
    left_out, notes = 0, []
    for seen in products_of(record):
        known = [one for one in concerning(session, seen.cpe) if _is_worth(one, seen, options)]
        yield from (_finding(subject, seen, one) for one in known[: options.most])
        left_out += max(0, len(known) - options.most)
        notes.append(f"{seen.ground}: {len(known)} CVEs")
    if left_out:
        notes.append(f"{left_out} more were left out")
    yield Coverage(subject_of(record), Outcome.SAMPLED if left_out else Outcome.ANSWERED, "; ".join(notes))


def _is_worth(known: Known, seen: Seen, options: CveMatchOptions) -> bool:
    confidence = known.range.confidence * seen.trust
    return (known.score or 0) >= options.min_score and confidence >= options.min_confidence


def _finding(subject: str, seen: Seen, known: Known) -> Finding:
    facts = [f"{seen.ground} is among the versions listed: {known.range}"]
    if known.known_since:
        facts.append(f"known to be exploited since {known.known_since} (CISA KEV)")
    if known.ransomware:
        facts.append("used by ransomware")
    if known.epss is not None:
        facts.append(f"EPSS {known.epss:.1%}")
    if seen.trust < GUESSED:
        facts.append("a distribution's version, perhaps mended")
    return Finding(
        f"cve_match/{known.id}",
        subject,
        title=f"{known.id}: {known.summary}"[:300],
        severity=known.severity,
        confidence=round(known.range.confidence * seen.trust, 2),
        evidence="; ".join(facts),
        reference=f"https://nvd.nist.gov/vuln/detail/{known.id}",
        cvss=known.cvss,
        score=known.score,
    )


TOOL = Tool(
    name="cve_match",
    summary="Looks up which published weaknesses concern the versions that were found (NVD, EPSS, KEV).",
    risk=Risk.PASSIVE,
    accepts=(
        Intake(Service, batch=100, key=subject_of, where=lambda record: bool(products_of(record))),
        Intake(Technology, batch=100, key=subject_of, where=lambda record: bool(products_of(record))),
    ),
    produces=(Finding,),
    options=CveMatchOptions,
    configure=configure,
    effort=effort,
    check=check,
    probe=probe,
)
