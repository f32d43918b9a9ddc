"""What changed, in lines of clean text: for reports, logs and notifications. What a host said stays data."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable, Sequence

from footprint.drift import Change, Difference, Step, described, tally
from footprint.records import Certificate, Finding
from footprint.snapshots import place_of
from footprint.text import clean, counted

VALUE = 200
_DIGEST = re.compile(r"\b([0-9a-f]{12})[0-9a-f]{52}\b")
_MOMENT = re.compile(r"\b(\d{4}-\d\d-\d\d)T(\d\d:\d\d):\d\d(?:\+00:00|Z)(?!\w)")
WORDS = {change: change.replace("_", " ") for change in Change}
SIGNS = {Change.NEW: "+", Change.BACK: "+", Change.CHANGED: "~", Change.GONE: "-", Change.NOT_LOOKED_AT: "?"}


def counts_of(differences: Iterable[Difference]) -> dict[Change, int]:
    """How many things differ, by change."""
    counts = dict.fromkeys(Change, 0)
    for (_, change), count in tally(differences).items():
        counts[change] += count
    return {change: count for change, count in counts.items() if count}


def summary(differences: Iterable[Difference]) -> str:
    """How many things differ, in words."""
    said = ", ".join(f"{count} {WORDS[change]}" for change, count in counts_of(differences).items())
    return said or "nothing changed"


def lines_of(differences: Iterable[Difference]) -> list[str]:
    """Lines of clean text, one for each difference, and one for all places of which a certificate tells the same."""
    alike: dict[Hashable, list[Difference]] = {}
    for each in differences:
        alike.setdefault(_told_once(each), []).append(each)
    return [_line_of(group) for group in alike.values()]


def _told_once(difference: Difference) -> Hashable:
    """What differences have in common that are told in one line."""
    record = difference.record
    what = record.fingerprint if isinstance(record, Certificate) else record
    return difference.change, record.kind, what, difference.steps


def _line_of(alike: Sequence[Difference]) -> str:
    first = alike[0]
    steps = f": {steps_of(first)}" if first.steps else ""
    kind = first.record.kind.replace("_", " ")
    places = f" ({_places(alike)})" if len(alike) > 1 else ""
    return f"{SIGNS[first.change]} {WORDS[first.change]} {kind} {titled(first)}{places}{steps}"


def _places(alike: Sequence[Difference]) -> str:
    """How many services show it, and by how many names beside their addresses."""
    subjects = [each.record.subject for each in alike if isinstance(each.record, Certificate)]
    places = [(place_of(subject), subject) for subject in subjects]
    services = {place.service if place else subject for place, subject in places}
    names = {place.name for place, _ in places if place and place.name}
    said = (counted(len(services), "service"), counted(len(names), "name"))
    return ", ".join(said if names else said[:1])


def brief(text: str) -> str:
    """A text for people: of SHA-256 digests, such as a certificate's, the first twelve digits; times to the minute."""
    return _MOMENT.sub(r"\1 \2 UTC", _DIGEST.sub(r"\1…", text))


def titled(difference: Difference) -> str:
    """What differs; a finding with its severity and title."""
    record = difference.record
    told = f" ({record.severity}: {record.title})" if isinstance(record, Finding) else ""
    return clean(brief(f"{described(record)}{told}"), 2 * VALUE)


def steps_of(difference: Difference) -> str:
    """The fields that changed, from what to what."""
    return "; ".join(map(_step, difference.steps))


def _step(step: Step) -> str:
    return f"{step.field} {_value(step.before)} → {_value(step.after)}"


def _value(value: object) -> str:
    if value in (None, (), ""):
        return "nothing"
    return clean(brief(", ".join(value) if isinstance(value, tuple) else str(value)), VALUE)
