"""What a receiver is told of a scan that has ended: whether at all, the event with its stable id, counts and lines."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from enum import StrEnum
from uuid import UUID, uuid5

from pydantic import BaseModel, ConfigDict

from footprint.change_words import counts_of, lines_of, summary
from footprint.drift import Change, Difference
from footprint.notify_rules import NotifyOn
from footprint.records import DomainName, Finding, Host, Record, Service, Severity
from footprint.text import clean

MOST_LINES = 20
SENTENCE = 1000
NAMESPACE = UUID("6f1a1c5e-43f5-5b0e-9d5c-0a4f3a1de6b7")
"""For the ids of events (RFC 9562, version 5): the same event has the same id, whoever makes it and how often."""
TOLD_OF_NAMES = frozenset({Change.NEW, Change.BACK, Change.GONE})
TOLD_OF_SERVICES = frozenset({Change.NEW, Change.BACK, Change.GONE, Change.CHANGED})
TOLD_OF_FINDINGS = frozenset({Change.NEW, Change.BACK})
SEVERITIES = tuple(Severity)


class EventType(StrEnum):
    """What happened. `scan.finished` is a scan that ended well and has no news to be had of it."""

    FAILED = "scan.failed"
    CHANGED = "scan.changed"
    FINISHED = "scan.finished"
    TEST = "test"


class ScanEnd(BaseModel):
    """A scan that has ended, as it is told of. Its texts are clean lines; `task_id` is its Prefect run."""

    model_config = ConfigDict(frozen=True)

    scan: UUID
    task_id: UUID | None
    target: str
    policy: str
    status: str
    at: datetime
    found: dict[str, int]


class Notification(ScanEnd):
    """One event of one scan. `changed` counts what differs, by change; `not_listed` lines are beyond the first few."""

    type: EventType
    summary: str
    changed: dict[str, int] = {}
    lines: tuple[str, ...] = ()
    not_listed: int = 0


def event_id(scan_id: UUID, receiver: str, kind: EventType) -> UUID:
    """The id of an event for one receiver, which is the same each time it is sent."""
    return uuid5(NAMESPACE, f"{scan_id} {receiver} {kind}")


def of_failure(end: ScanEnd, error: str, warnings: Sequence[str]) -> Notification:
    """What is told of a scan that failed."""
    lines = tuple(clean(warning, SENTENCE) for warning in warnings)
    return _notification(end, EventType.FAILED, clean(error or "no reason was given", SENTENCE), lines)


def of_nothing(end: ScanEnd, warnings: Sequence[str]) -> Notification:
    """What is told of a scan that ended well and looked at nothing."""
    lines = tuple(clean(warning, SENTENCE) for warning in warnings)
    return _notification(end, EventType.FINISHED, "nothing could be looked at", lines)


def of_unknown(end: ScanEnd) -> Notification:
    """What is told of a scan that ended well, where a defect hides what it found changed."""
    return _notification(end, EventType.FINISHED, "it could not be found out what changed", ())


def of_changes(end: ScanEnd, differences: Sequence[Difference], *, is_first: bool) -> Notification:
    """What is told of a scan that found something changed; what was not looked at is counted only."""
    lines = lines_of(each for each in differences if each.change is not Change.NOT_LOOKED_AT)
    said = summary(differences) + (", with no earlier scan to compare with" if is_first else "")
    counts = {change.value: count for change, count in counts_of(differences).items()}
    return _notification(end, EventType.CHANGED, said, lines).model_copy(update={"changed": counts})


def _notification(end: ScanEnd, kind: EventType, said: str, lines: Sequence[str]) -> Notification:
    more = max(0, len(lines) - MOST_LINES)
    return Notification(**dict(end), type=kind, summary=said, lines=tuple(lines[:MOST_LINES]), not_listed=more)


def is_worth_telling(differences: Sequence[Difference], on: NotifyOn, unheeded: Collection[Record] = ()) -> bool:
    """Whether the rules want to hear of any of these. `unheeded` are findings that were marked as false positives."""
    return any(_counts(each, on) for each in differences if each.record not in unheeded)


def _counts(difference: Difference, on: NotifyOn) -> bool:
    match difference.record:
        case DomainName() | Host():
            return on.names and difference.change in TOLD_OF_NAMES
        case Service():
            return on.services and difference.change in TOLD_OF_SERVICES
        case Finding() as finding:
            is_severe = on.findings is not None and _rank(finding.severity) >= _rank(on.findings)
            return is_severe and (difference.change in TOLD_OF_FINDINGS or _is_worse(difference))
        case _:
            return False


def _is_worse(difference: Difference) -> bool:
    steps = [step for step in difference.steps if step.field == "severity"]
    return any(_rank(str(step.after)) > _rank(str(step.before)) for step in steps)


def _rank(severity: str) -> int:
    return SEVERITIES.index(Severity(severity))
