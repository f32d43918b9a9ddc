"""The verbs for scans that were asked for: `pulsar cancel`, `resume`, `rerun`, `purge`, `delete`."""

from __future__ import annotations

from typing import Annotated

import typer

from deployments import show
from deployments.answers import Scan
from deployments.home import read_settings, running_api

lifecycle_app = typer.Typer()
ScanId = Annotated[str, typer.Argument(metavar="ID", help="The scan's id, as `pulsar scans` lists it.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else on stdout.")]


@lifecycle_app.command()
def cancel(
    scan_id: ScanId,
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Do not wait until nothing of it is left.")] = False,
    json: AsJson = False,
) -> None:
    """End a scan; what it found stays."""
    with running_api(read_settings()) as api:
        scan = api.cancel(scan_id)
        if not no_wait and not scan.is_over:
            *_, scan = api.watch(scan_id, show.telling())
    _tell(scan, json=json)


@lifecycle_app.command()
def resume(
    scan_id: ScanId,
    module: Annotated[str | None, typer.Option(help="Only what this module did not do well.")] = None,
    json: AsJson = False,
) -> None:
    """Do what an ended scan did not finish, as a new scan that takes over the rest."""
    with running_api(read_settings()) as api:
        scan = api.resume(scan_id, module)
    _print_asked(scan, json=json)


@lifecycle_app.command()
def rerun(scan_id: ScanId, json: AsJson = False) -> None:
    """Do an ended scan again, all of it."""
    with running_api(read_settings()) as api:
        scan = api.rerun(scan_id)
    _print_asked(scan, json=json)


@lifecycle_app.command()
def purge(
    force: Annotated[bool, typer.Option("--force", "-f", help="Do not ask.")] = False, json: AsJson = False
) -> None:
    """End every scan that has not begun. Those that run go on."""
    with running_api(read_settings()) as api:
        if not force:
            waiting = api.scans("PENDING", 1).count
            typer.confirm(f"This ends every scan that has not begun ({waiting} now). Go on?", abort=True, err=True)
        purged = api.purge()
    if json:
        show.as_json(purged.as_sent())
    else:
        show.say(f"{purged.revoked} {'scan was' if purged.revoked == 1 else 'scans were'} revoked.")


@lifecycle_app.command()
def delete(scan_id: ScanId) -> None:
    """Forget an ended scan and what it saw; what is known of its asset stays."""
    with running_api(read_settings()) as api:
        api.delete(scan_id)
    show.note(f"Scan {scan_id} is forgotten.")


def _print_asked(scan: Scan, *, json: bool) -> None:
    if json:
        show.as_json(scan.as_sent())
    else:
        show.scan_asked(scan)


def _tell(scan: Scan, *, json: bool) -> None:
    if json:
        show.as_json(scan.as_sent())
        return
    ended = f"; {scan.processes_ended} processes were ended" if scan.processes_ended else ""
    show.say(show.verdict(scan).append(ended))
