"""The verbs by which the platform is looked after by hand: `pulsar cleanup`, `backup`, `restore`, `tools`."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deployments import show
from deployments.home import home_store, prefect_environment, read_settings
from footprint.errors import InstallationError, RequestError
from footprint.settings import Settings

if TYPE_CHECKING:
    from flows.prefect_runs import PrefectRuns

maintenance_app = typer.Typer()
tools_app = typer.Typer(help="Checks of the installed tools, and which are quarantined.", no_args_is_help=True)
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else on stdout.")]


@maintenance_app.command()
def cleanup(
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would be deleted, and delete nothing.")
    ] = False,
    json: AsJson = False,
) -> None:
    """Forget old scans, their runs in Prefect, and what was left behind."""
    settings, at = read_settings(), datetime.now(UTC)
    with home_store(settings) as store, _prefect(settings) as prefect:
        from flows.cleaning import clean_up, plan_cleanup

        plan = plan_cleanup(settings, store, prefect, at)
        if json:
            show.as_json(plan.as_json())
        else:
            for line in plan.lines(at):
                show.say(f"{'would delete' if dry_run else 'deletes'} {line}")
        if not dry_run:
            show.note(clean_up(settings, store, prefect, plan, at).summary())


@maintenance_app.command()
def backup() -> None:
    """Copy this home's store into its `backups`, consistent, while everything goes on."""
    settings = read_settings()
    from tasks.chores import make_backup

    with home_store(settings) as store:
        copy = make_backup(settings, store)
    show.say(str(copy.path))
    show.note(f"{copy.bytes} bytes, checked. `pulsar restore FILE` puts it back.")


@maintenance_app.command()
def restore(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A copy that `pulsar backup` made.")],
    force: Annotated[bool, typer.Option("--force", "-f", help="Do not ask.")] = False,
) -> None:
    """Put a copy in the place of this home's store; the replaced one is kept. The platform must be stopped."""
    settings = read_settings()
    if not file.is_file():
        raise RequestError("there is no such file", hint=f"the copies are in {settings.home / 'backups'}")
    from deployments.platform import claimed
    from tasks.copies import check
    from tasks.copies import restore as put_back

    settings.home.mkdir(mode=0o700, parents=True, exist_ok=True)
    with claimed(settings.home):
        check(settings, file)
        if not force:
            typer.confirm("This replaces the store with the copy. Go on?", abort=True, err=True)
        done = put_back(settings, file.absolute())
    show.say(f"Restored from {file.name}.")
    if done.replaced:
        show.note(f"What was replaced is kept: {done.replaced}")
    if done.ended:
        show.note(f"Scans that were under way in the copy, and are ended: {done.ended}")


@tools_app.command("check")
def check_tools() -> None:
    """Run each installed tool on a server of our own, and quarantine those that do not say what is there."""
    settings = read_settings()
    from tasks.chores import changed, check_all_tools

    with home_store(settings) as store:
        found = check_all_tools(settings, store)
    show.tool_checks([(one.module, one.version, one.outcome.replace("_", " "), one.said) for one in found])
    raise typer.Exit(1 if changed(found) else 0)


@tools_app.command("release")
def release(module: Annotated[str, typer.Argument(help="The module whose tool is quarantined here.")]) -> None:
    """Let a quarantined tool be run again on this machine."""
    from footprint.store.quarantine import release as let_go
    from tasks.quarantine import machine

    with home_store(read_settings()) as store, store.write() as session:
        let_go(session, machine(), module)
    show.note(f"{module} is run again. Its next check judges it anew.")


@contextlib.contextmanager
def _prefect(settings: Settings) -> Iterator[PrefectRuns | None]:
    """This home's Prefect, where its platform runs or one is named."""
    try:
        os.environ.update(prefect_environment(settings))
    except InstallationError:
        yield None
        return
    # Prefect reads its environment when it is imported.
    from flows.prefect_runs import PrefectRuns

    with PrefectRuns() as runs:
        yield runs
