"""The verbs of an operator who wonders: `pulsar explain`, `pulsar logs`, `pulsar doctor`."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Annotated

import typer

from deployments import show, show_diagnosis
from deployments.answers import LogLine
from deployments.client import Api, patiently
from deployments.home import read_settings, running_api
from footprint.journal import Level

LOOK_SECONDS, LOOKS_AFTER_END = 1.0, 4
ARRIVAL = timedelta(seconds=30)
"""How far back a log is read again: the processes of a scan send their lines in batches, each its own."""

ScanId = Annotated[str, typer.Argument(metavar="ID", help="The scan's id, as `pulsar scans` lists it.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else on stdout.")]


def explain(scan_id: ScanId, json: AsJson = False) -> None:
    """Say why a scan is where it is: what it waits for, what it does, how it ended."""
    with running_api(read_settings()) as api:
        found = api.explanation(scan_id)
    if json:
        show.as_json(found.as_sent())
    else:
        show_diagnosis.explanation(found)


def logs(
    scan_id: ScanId,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on until the scan has ended.")] = False,
    module: Annotated[str | None, typer.Option(help="Only what this module's units said.")] = None,
    level: Annotated[Level, typer.Option(help="Lines of this level and above.", case_sensitive=False)] = Level.INFO,
) -> None:
    """Print a scan's log, each tool's last words below its error."""
    wanted = {"level": level.value} | ({"module": module} if module else {})
    with running_api(read_settings()) as api:
        for lines in _following(api, scan_id, wanted) if follow else [api.log(scan_id, **wanted)]:
            show_diagnosis.log_lines(lines)


def _following(api: Api, scan_id: str, wanted: dict[str, str]) -> Iterator[list[LogLine]]:
    """What is new in the log at each look, and what still arrives within a few seconds of the scan's end."""
    tell, seen, since, ended = show.telling(), set[str](), dict[str, str](), 0
    while ended < LOOKS_AFTER_END:
        ended += patiently(lambda: api.scan(scan_id), tell).is_over
        lines = patiently(lambda words=wanted | since: api.log(scan_id, **words), tell)  # type: ignore[misc]
        new = [line for line in lines if line.id not in seen]
        seen.update(line.id for line in new)
        yield new
        if lines:
            since = {"after": (datetime.fromisoformat(lines[-1].at) - ARRIVAL).isoformat()}
        time.sleep(LOOK_SECONDS)


def doctor(json: AsJson = False) -> None:
    """Look at every part of the platform and of this machine, and say what to do. Exit code 1 where one fails."""
    # Prefect and SQLAlchemy take a while to import: the other verbs do without them.
    from deployments.doctor import examine

    found = examine(read_settings())
    if json:
        show.as_json({"parts": [part.as_sent() for part in found]})
    else:
        show_diagnosis.parts(found)
    raise typer.Exit(1 if any(part.status == "fail" for part in found) else 0)
