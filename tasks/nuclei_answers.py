"""What nuclei says: a file with a line of JSON for each match, and an output of progress and text for people."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.functional_validators import BeforeValidator

from footprint.errors import OutputNotUnderstood, ToolCrashed, ToolTimedOut
from footprint.records import Coverage, Endpoint, Finding, Outcome, Severity, subject_of
from footprint.text import clean
from tasks.tool import Batch, Ending, Found, Output

FOUND = "found"
PROBE = "pulsar-answers"
"""The template that every answer matches."""
MOST = 300
"""Findings of one endpoint."""
SHOWN = 5
"""Places, and extracted values, in one finding's evidence."""
CONFIDENCE = 0.8
"""A match of a pattern that somebody wrote; some match more than they should."""

SEVERITIES = {"low": Severity.LOW, "medium": Severity.MEDIUM, "high": Severity.HIGH, "critical": Severity.CRITICAL}
"""All others, `info` and `unknown`, are none."""

Place = tuple[str, int]

_PERCENT = re.compile(r'"percent":"(\d{1,3})"')
_TEMPLATES = re.compile(r'^\{.*"templates":"(\d{1,9})"', re.MULTILINE)
_FATAL = re.compile(r"\[(?:FTL|ERR)\] ([^\n]*)")
_VECTOR = re.compile(r"CVSS:(?:3\.[01]|4\.0)(?:/[A-Za-z]{1,3}:[A-Za-z]){8,40}")
_WORD = re.compile(r"[\w.:-]{1,120}")


def _listed(value: object) -> object:
    """`null`, a text and a list of texts, as a list."""
    return [] if value is None else [value] if isinstance(value, str) else value


Texts = Annotated[list[str], BeforeValidator(_listed), Field(default_factory=list)]


class Classification(BaseModel):
    model_config = ConfigDict(extra="ignore")

    cvss: str | None = Field(default=None, alias="cvss-metrics")
    score: float | None = Field(default=None, alias="cvss-score")


class Info(BaseModel):
    name: str = ""
    severity: str = "unknown"
    reference: Texts
    classification: Classification | None = None


class Match(BaseModel):
    """One template that matched. `url` is the target, as far as it was one, `ip` the address that was asked."""

    template: str = Field(alias="template-id")
    info: Info
    matcher: str = Field(default="", alias="matcher-name")
    url: str = ""
    ip: str = ""
    matched: str = Field(default="", alias="matched-at")
    extracted: Texts = Field(alias="extracted-results")

    @property
    def rule(self) -> str | None:
        """The finding's rule, or None where its words are no words."""
        words = [word for word in (self.template, self.matcher) if word]
        sound = [word for word in words if _WORD.fullmatch(word)]
        return f"nuclei/{'/'.join(sound)}" if self.template in sound else None

    @property
    def place(self) -> Place | None:
        """Host as in its URL, without brackets, and port."""
        try:
            parts = urlsplit(self.url or self.matched)
            port = parts.port or {"http": 80, "https": 443}.get(parts.scheme, 0)
        except ValueError:
            return None
        return (parts.hostname, port) if parts.hostname else None


@dataclass(slots=True)
class Told:
    """What was found of one endpoint: its findings' matches by rule."""

    answered: bool = False
    status: str = ""
    matches: dict[str, list[Match]] = field(default_factory=dict)


def progress(piece: str) -> float | None:
    """The last percentage of a piece of the output; what it counts on may turn out to be too little."""
    said = _PERCENT.findall(piece)
    return min(float(said[-1]), 100.0) if said else None


def parse(output: Output, batch: Batch) -> Iterator[Found]:
    """Findings, and one coverage for each endpoint.

    Raises `ToolCrashed` where nuclei gave up or took none of its templates, `OutputNotUnderstood` where it did not say
    how many it took; at the end `ToolTimedOut` where the address held it up, and `ToolCrashed` where it asked another.
    """
    if output.is_complete:
        _check(output)
    told: dict[Place, Told] = {_place(record): Told() for record in batch}
    addresses, strayed = {"", *(record.address for record in batch if isinstance(record, Endpoint))}, False
    for match in _matches(output.files.get(FOUND, "")):
        strayed = strayed or match.ip not in addresses
        if match.place in told and match.ip in addresses:
            _take(told[match.place], match)
    for record in batch:
        yield from _about(subject_of(record), told[_place(record)], output)
    if strayed:
        raise ToolCrashed("nuclei: it asked another address", hint="look for a template that names a host by itself")
    if output.ending is Ending.TIMED_OUT:
        raise ToolTimedOut(
            f"nuclei: not through after {round(output.seconds)} s",
            hint="raise the module's host_timeout or rate, or choose fewer templates by severities and tags",
        )


def _check(output: Output) -> None:
    if output.returncode != 0:
        why = _FATAL.findall(output.stdout)[-1:] or output.stdout.strip().splitlines()[-1:] or [""]
        raise ToolCrashed("nuclei: it gave up", hint=clean(why[0], 200))
    counts = _TEMPLATES.findall(output.stdout)
    if not counts:
        raise OutputNotUnderstood("nuclei: it did not say what it did", hint=clean(output.stdout[-200:], 200))
    if int(counts[-1]) < 2:
        raise ToolCrashed(
            "nuclei: it took none of its templates",
            hint="widen the module's severities and tags, or fill the directory",
        )


def _place(record: object) -> Place:
    assert isinstance(record, Endpoint)
    return record.name or record.address, record.port


def _matches(text: str) -> Iterator[Match]:
    """Every line that is whole."""
    for line in text.splitlines():
        try:
            yield Match.model_validate_json(line)
        except ValidationError:
            continue


def _take(told: Told, match: Match) -> None:
    told.answered = True
    if match.template == PROBE:
        told.status = clean(" ".join(match.extracted), 10)
    elif match.rule:
        told.matches.setdefault(match.rule, []).append(match)


def _about(subject: str, told: Told, output: Output) -> Iterator[Found]:
    kept = list(told.matches.items())[:MOST]
    yield from (_finding(subject, rule, matches) for rule, matches in kept)
    if not output.is_complete:
        is_late = output.ending is Ending.TIMED_OUT
        outcome, note = Outcome.TIMED_OUT if is_late else Outcome.NOT_LOOKED_AT, "nuclei was not through with it"
    elif told.answered:
        outcome = Outcome.SAMPLED if len(kept) < len(told.matches) else Outcome.ANSWERED
        note = f"HTTP {told.status or '?'}, {len(told.matches)} templates matched"
    else:
        outcome, note = Outcome.SILENT, "no answer over HTTP"
    yield Coverage(subject, outcome, note)


def _finding(subject: str, rule: str, matches: list[Match]) -> Finding:
    info, classification = matches[0].info, matches[0].info.classification or Classification()
    score = classification.score
    return Finding(
        rule,
        subject,
        title=clean(info.name, 200) or rule,
        severity=SEVERITIES.get(info.severity, Severity.NONE),
        confidence=CONFIDENCE,
        evidence=_evidence(matches),
        reference=next((text for text in info.reference if _is_web(text)), ""),
        cvss=classification.cvss if _VECTOR.fullmatch(classification.cvss or "") else None,
        score=score if score and 0 < score <= 10 else None,
    )


def _evidence(matches: list[Match]) -> str:
    places = list(dict.fromkeys(clean(match.matched, 300) for match in matches if match.matched))
    values = list(dict.fromkeys(clean(text, 200) for match in matches for text in match.extracted))
    more = f" and {len(places) - SHOWN} more" if len(places) > SHOWN else ""
    said = f"matched at {', '.join(places[:SHOWN])}{more}" if places else "matched"
    return f"{said}: {', '.join(values[:SHOWN])}" if values else said


def _is_web(text: str) -> bool:
    return text.startswith(("https://", "http://")) and len(text) <= 500 and text.isprintable() and " " not in text
