"""What ssh-audit says of services: JSON objects, with lines of plain text between them where something went wrong."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, Field

from footprint.errors import OutputNotUnderstood, ToolCrashed, ToolTimedOut
from footprint.records import Coverage, Finding, Outcome, Service, Severity, Technology, subject_of
from footprint.text import clean
from tasks.tool import Batch, Ending, Found, Output

OPTIONS = "options"
"""The file in which a unit's options travel to where its answer is read."""

ALGORITHMS_SHOWN = 20
TRIES = 1000
"""How often an object is looked for: a service may have its own text written into the report."""

Place = tuple[str, int]

_CVE = re.compile(r"CVE-\d{4}-\d{4,7}")
_SOFTWARE = re.compile(r"([A-Za-z][\w.+]*?)[_-]v?(\d\S*)")
_UNREACHED = re.compile(r"cannot connect to (\S+) port (\d+): ([^\n]*)")
_ADVICE = ("post-quantum", "suspected as being backdoored", "112-bits of symmetric strength")
"""Notes on what nearly every service offers and no authority calls broken: told with `strict` only."""
_TERRAPIN = "CVE-2023-48795"
_TERRAPIN_CVSS, _TERRAPIN_SCORE = "CVSS:3.1/AV:N/AC:H/PR:N/UI:N/S:U/C:N/I:H/A:N", 5.9


@dataclass(frozen=True, slots=True)
class Category:
    """One kind of algorithm: how its weak ones are told of, and how bad broken ones are."""

    rule: str
    title: str
    broken: Severity
    reference: str


CATEGORIES = {
    "kex": Category(
        "weak-key-exchange", "Weak key exchanges are offered", Severity.MEDIUM, "https://www.rfc-editor.org/rfc/rfc9142"
    ),
    "key": Category(
        "weak-host-key", "Weak host keys are offered", Severity.MEDIUM, "https://www.rfc-editor.org/rfc/rfc8332"
    ),
    "enc": Category(
        "weak-cipher", "Weak ciphers are offered", Severity.MEDIUM, "https://www.rfc-editor.org/rfc/rfc8758"
    ),
    "mac": Category("weak-mac", "Weak MACs are offered", Severity.LOW, "https://www.rfc-editor.org/rfc/rfc6668"),
}


class Notes(BaseModel):
    fail: list[str] = Field(default_factory=list)
    warn: list[str] = Field(default_factory=list)


class Algorithm(BaseModel):
    algorithm: str
    notes: Notes = Field(default_factory=Notes)
    keysize: int | None = None


class Banner(BaseModel):
    protocol: str | None = None
    software: str | None = None
    comments: str | None = None


class Audit(BaseModel):
    """One service. `kex` is None where no key exchange came about."""

    target: str
    banner: Banner = Field(default_factory=Banner)
    kex: list[Algorithm] | None = None
    key: list[Algorithm] = Field(default_factory=list)
    enc: list[Algorithm] = Field(default_factory=list)
    mac: list[Algorithm] = Field(default_factory=list)

    @property
    def place(self) -> Place:
        """Address and port."""
        address, _, port = self.target.rpartition(":")
        return address.strip("[]"), int(port) if port.isdigit() and len(port) < 6 else 0


@dataclass(frozen=True, slots=True)
class Answers:
    """Everything that was told: audits with what was said after each, and connections that did not come about."""

    audits: dict[Place, tuple[Audit, str]]
    unreached: dict[Place, str]


def read(text: str) -> Answers:
    """Pick the objects out of the text. Where two are about one service, the first counts."""
    decoder, audits, at = json.JSONDecoder(), dict[Place, tuple[Audit, str]](), 0
    for _ in range(TRIES):
        if (start := text.find('{"', at)) < 0:
            break
        try:
            document, at = decoder.raw_decode(text, start)
            audit = Audit.model_validate(document)
        except (ValueError, RecursionError):
            at = max(at, start + 2)
            continue
        after = text[at:].partition('{"')[0]
        audits.setdefault(audit.place, (audit, clean(after.strip(" ,]\n"), 200)))
    unreached = {
        (found[1], int(found[2])): clean(found[3].partition(', {"')[0].rstrip("]"), 200)
        for found in _UNREACHED.finditer(text)
        if len(found[2]) < 6
    }
    return Answers(audits, unreached)


def parse(output: Output, batch: Batch) -> Iterator[Found]:
    """Software, findings by category, and one coverage for each service.

    Raises `OutputNotUnderstood` where nothing was written, `ToolCrashed` where it is nothing of ssh-audit's, and
    `ToolTimedOut` at the end where an address held it up.
    """
    services = [record for record in batch if isinstance(record, Service)]
    is_over_time = output.ending is Ending.TIMED_OUT
    answers = read(output.stdout)
    if output.is_complete and not output.stdout.startswith("["):
        if not output.stdout.strip():
            raise OutputNotUnderstood("ssh_audit: it wrote nothing", hint=clean(output.stderr, 200))
        raise ToolCrashed(f"ssh_audit: it gave up: {clean(output.stdout.strip()[-200:], 200)}")
    is_strict = bool(_options(output).get("strict"))
    for service in services:
        place = (service.address, service.port)
        if place in answers.audits:
            yield from _audited(subject_of(service), *answers.audits[place], is_strict=is_strict)
        elif place in answers.unreached:
            yield Coverage(subject_of(service), *_unreached(answers.unreached[place]))
        else:
            outcome = Outcome.TIMED_OUT if is_over_time else Outcome.NOT_LOOKED_AT
            yield Coverage(subject_of(service), outcome, _given_up(output))
    if is_over_time:
        raise ToolTimedOut(
            f"ssh_audit: an address held it up for {round(output.seconds)} s",
            hint="raise the module's host_timeout if the address is only slow",
        )


def _options(output: Output) -> dict[str, Any]:
    options = json.loads(output.files.get(OPTIONS, "{}"))
    return options if isinstance(options, dict) else {}


def _given_up(output: Output) -> str:
    """Why it was not through with all: some answers end the whole program, with a line in plain text."""
    said = clean(output.stdout.rpartition("[exception] ")[2].strip(), 100) if output.is_complete else ""
    return f"ssh-audit gave up: {said}" if said else "ssh-audit was not through with it"


def _unreached(said: str) -> tuple[Outcome, str]:
    return (Outcome.TIMED_OUT if "timed out" in said else Outcome.SILENT), said


def _audited(subject: str, audit: Audit, after: str, *, is_strict: bool) -> Iterator[Found]:
    if software := audit.banner.software:
        yield _technology(subject, software, audit.banner.comments)
    if audit.kex is None:
        why = after.removeprefix("[exception] ") or "it does not speak SSH"
        yield Coverage(subject, *_unreached(f"no key exchange: {why}"))
        return
    for name, category in CATEGORIES.items():
        yield from _weak(subject, category, getattr(audit, name), is_strict=is_strict)
    yield from _known_flaws(subject, audit)
    if (audit.banner.protocol or "").startswith("1."):
        yield Finding(
            "ssh_audit/protocol-1",
            subject,
            title="SSH version 1 is offered",
            severity=Severity.HIGH,
            evidence=f"it greets with protocol {audit.banner.protocol}",
            reference="https://www.rfc-editor.org/rfc/rfc4253#section-5.1",
        )
    counts = ", ".join(f"{len(getattr(audit, name))} {word}" for name, word in _WORDS.items())
    yield Coverage(subject, Outcome.ANSWERED, counts)


_WORDS = {"kex": "key exchanges", "key": "host keys", "enc": "ciphers", "mac": "MACs"}


def _technology(subject: str, software: str, comments: str | None) -> Technology:
    match = _SOFTWARE.fullmatch(software)
    name, version = (match[1], match[2]) if match else (software, None)
    return Technology(subject, clean(name, 200), clean(version, 100) if version else None, comments)


def _weak(subject: str, category: Category, algorithms: list[Algorithm], *, is_strict: bool) -> Iterator[Finding]:
    said, is_broken = [], False
    for algorithm in algorithms:
        broken = _told(algorithm.notes.fail, is_strict=is_strict)
        reasons = [*broken, *_told(algorithm.notes.warn, is_strict=is_strict)]
        is_broken = is_broken or bool(broken)
        if reasons:
            said.append(f"{algorithm.algorithm} ({', '.join(reasons)})")
    if said:
        more = f" and {len(said) - ALGORITHMS_SHOWN} more" if len(said) > ALGORITHMS_SHOWN else ""
        yield Finding(
            f"ssh_audit/{category.rule}",
            subject,
            title=category.title,
            severity=category.broken if is_broken else Severity.LOW,
            evidence=f"{'; '.join(said[:ALGORITHMS_SHOWN])}{more}",
            reference=category.reference,
        )


def _told(notes: list[str], *, is_strict: bool) -> list[str]:
    """The notes that count here, those on known flaws left out: they are findings of their own."""
    return [
        note for note in notes if not _CVE.search(note) and (is_strict or not any(advice in note for advice in _ADVICE))
    ]


def _known_flaws(subject: str, audit: Audit) -> Iterator[Finding]:
    """The CVEs that notes on what is offered name."""
    found: dict[str, list[str]] = {}
    for name in CATEGORIES:
        for algorithm in getattr(audit, name) or ():
            for note in (*algorithm.notes.fail, *algorithm.notes.warn):
                for cve in _CVE.findall(note):
                    found.setdefault(cve, []).append(algorithm.algorithm)
    for cve, algorithms in found.items():
        is_terrapin = cve == _TERRAPIN
        yield Finding(
            f"ssh_audit/{cve}",
            subject,
            title="Messages can be cut off unnoticed (Terrapin)" if is_terrapin else f"Open to {cve}",
            severity=Severity.MEDIUM,
            evidence=f"offered without a remedy: {', '.join(dict.fromkeys(algorithms))}",
            reference=f"https://nvd.nist.gov/vuln/detail/{cve}",
            cvss=_TERRAPIN_CVSS if is_terrapin else None,
            score=_TERRAPIN_SCORE if is_terrapin else None,
        )
