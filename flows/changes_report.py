"""What changed, as the Prefect UI shows it: a table, and the top of a scan's report. Values are data, never markup."""

from __future__ import annotations

import re
from uuid import UUID

from prefect.artifacts import create_table_artifact

from footprint.change_words import VALUE, WORDS, lines_of, steps_of, summary, titled
from footprint.drift import Change
from footprint.store.differences import Drift
from footprint.text import clean

LINES_SHOWN = 50
ROWS_SHOWN = 500


def publish_changes(scan_id: UUID, drift: Drift) -> None:
    """Make the table of what changed, if anything did."""
    rows = [
        {
            "change": WORDS[each.change],
            "kind": each.record.kind.replace("_", " "),
            "what": titled(each),
            "fields": steps_of(each),
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
    lines = lines_of(each for each in drift.differences if each.change is not Change.NOT_LOOKED_AT)
    more = [f"and {len(lines) - LINES_SHOWN} more"] if len(lines) > LINES_SHOWN else []
    listed = [fenced("\n".join([*lines[:LINES_SHOWN], *more])), ""] if lines else []
    if drift.against is None:
        return ["## Changes", "", "There was no earlier scan to compare with.", "", *listed]
    return ["## Changes", "", f"Against scan {drift.against.id}: {summary(drift.differences)}.", "", *listed]


def fenced(text: str) -> str:
    """A text as a Markdown code block that it cannot break out of."""
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", text)), default=0))
    return f"{fence}text\n{text}\n{fence}"
