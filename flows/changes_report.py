"""What changed, as the Prefect UI shows it: a table, and the top of a scan's report. Values are data, never markup."""

from __future__ import annotations

import re
from uuid import UUID

from prefect.artifacts import create_table_artifact

from footprint.drift import Change, Difference, Step, described, tally
from footprint.records import Finding
from footprint.store.differences import Drift
from footprint.text import clean

LINES_SHOWN = 50
ROWS_SHOWN = 500
VALUE = 200
WORDS = {change: change.replace("_", " ") for change in Change}
SIGNS = {Change.NEW: "+", Change.BACK: "+", Change.CHANGED: "~", Change.GONE: "-", Change.NOT_LOOKED_AT: "?"}


def publish_changes(scan_id: UUID, drift: Drift) -> None:
    """Make the table of what changed, if anything did."""
    rows = [
        {
            "change": WORDS[each.change],
            "kind": each.record.kind.replace("_", " "),
            "what": clean(_titled(each), 2 * VALUE),
            "fields": "; ".join(map(_step, each.steps)),
            "reason": clean(each.reason, VALUE),
        }
        for each in drift.differences[:ROWS_SHOWN]
    ]
    if rows:
        shown = f"{len(rows)} of {len(drift.differences)}" if len(drift.differences) > len(rows) else str(len(rows))
        against = f" against scan {drift.against.id}" if drift.against else ""
        about = f"{shown} differences of scan {scan_id}{against}"
        create_table_artifact(rows, key=f"changes-{str(scan_id)[:8]}", description=about)


def changes_told(drift: Drift | None) -> list[str]:
    """The part of a report, as lines of Markdown, that says what changed."""
    if drift is None:
        return []
    lines = [line_of(each) for each in drift.differences if each.change is not Change.NOT_LOOKED_AT]
    more = [f"and {len(lines) - LINES_SHOWN} more"] if len(lines) > LINES_SHOWN else []
    listed = [fenced("\n".join([*lines[:LINES_SHOWN], *more])), ""] if lines else []
    if drift.against is None:
        return ["## Changes", "", "There was no earlier scan to compare with.", "", *listed]
    return ["## Changes", "", f"Against scan {drift.against.id}: {summary(drift)}.", "", *listed]


def summary(drift: Drift) -> str:
    """How many things differ, in words."""
    counts = dict.fromkeys(Change, 0)
    for (_, change), count in tally(drift.differences).items():
        counts[change] += count
    said = ", ".join(f"{count} {WORDS[change]}" for change, count in counts.items() if count)
    return said or "nothing changed"


def line_of(difference: Difference) -> str:
    """A difference in one line of clean text."""
    steps = f": {'; '.join(map(_step, difference.steps))}" if difference.steps else ""
    kind = difference.record.kind.replace("_", " ")
    sign, word = SIGNS[difference.change], WORDS[difference.change]
    return f"{sign} {word} {kind} {clean(_titled(difference), 2 * VALUE)}{steps}"


def _titled(difference: Difference) -> str:
    record = difference.record
    told = f" ({record.severity}: {record.title})" if isinstance(record, Finding) else ""
    return f"{described(record)}{told}"


def _step(step: Step) -> str:
    return f"{step.field} {_value(step.before)} → {_value(step.after)}"


def _value(value: object) -> str:
    if value in (None, (), ""):
        return "nothing"
    return clean(", ".join(value) if isinstance(value, tuple) else str(value), VALUE)


def fenced(text: str) -> str:
    """A text as a Markdown code block that it cannot break out of."""
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", text)), default=0))
    return f"{fence}text\n{text}\n{fence}"
