"""`pulsar diff`: what changed since an earlier scan, as the API tells it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Annotated, Any

import typer
from rich.text import Text

from deployments import show
from deployments.answers import Diff, Difference
from deployments.home import read_settings, running_api
from footprint.change_words import brief

COLOURS = {"new": "green", "back": "green", "changed": "yellow", "gone": "red"}
MOST_ROWS = 200
"""Differences that are printed; the rest is counted. `--json` and the API have all."""
UNSEEN = "not_looked_at"


def diff(
    scan_id: Annotated[str, typer.Argument(metavar="ID", help="The scan's id, as `pulsar scans` lists it.")],
    against: Annotated[
        str | None, typer.Option(metavar="ID", help="An earlier scan of the same asset; else the last comparable one.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else on stdout.")] = False,
) -> None:
    """Show what changed since an earlier scan: new, back, changed, gone."""
    with running_api(read_settings()) as api:
        found = api.diff(scan_id, against)
    if json:
        show.as_json({name: value for name, value in found.as_sent().items() if name not in ("next", "previous")})
    else:
        differences(found)


def differences(found: Diff) -> None:
    """Print what differs, what was not looked at as a count with the commonest reasons, and the sum."""
    told = [each for each in found.results if each.change != UNSEEN]
    table = show.table_of("change", "kind", "what", "from what to what, or how it is known")
    for each in told[:MOST_ROWS]:
        change = Text(show.one_line(each.change, 10), style=COLOURS.get(each.change, ""))
        kind = show.one_line(each.kind, show.WORD).replace("_", " ")
        table.add_row(change, kind, _titled(each), Text(show.one_line(_said(each), show.SENTENCE)))
    show.listed(table, "Nothing changed in what was looked at.")
    if len(told) > MOST_ROWS:
        show.say(f"{len(told) - MOST_ROWS} more: `--json` prints all of them.")
    _unseen(each for each in found.results if each.change == UNSEEN)
    show.note(f"Compared with scan {found.against.id} of {show.moment(found.against.created_at)}.")


def _titled(difference: Difference) -> Text:
    told = f": {difference.title}" if difference.title else ""
    return Text(show.one_line(brief(f"{difference.subject}{told}"), show.SENTENCE))


def _said(difference: Difference) -> str:
    steps = (f"{step.field} {_value(step.before)} → {_value(step.after)}" for step in difference.fields)
    return brief("; ".join(steps) or difference.reason)


def _value(value: Any) -> str:
    if value in (None, "", []):
        return "nothing"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _unseen(differences: Iterable[Difference]) -> None:
    reasons = Counter(each.reason for each in differences)
    if reasons:
        show.say(f"Not looked at this time: {reasons.total()}, so nothing is known to have become of them.")
    for reason, count in reasons.most_common(5):
        show.note(f"{count} times: {reason}")
