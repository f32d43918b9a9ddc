"""`pulsar feeds`: the vulnerability feeds of this home's store."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deployments import show
from deployments.answers import FeedState
from deployments.home import home_store, read_settings
from footprint.errors import RequestError

if TYPE_CHECKING:
    from footprint.store import Store

feeds_app = typer.Typer(help="Vulnerability feeds: NVD, EPSS, KEV.", no_args_is_help=True)


@feeds_app.command("update")
def update(
    source: Annotated[
        Path | None,
        typer.Option("--from", help="A directory with the feeds' files, for machines without the internet."),
    ] = None,
) -> None:
    """Bring the feeds up to date; an interrupted update goes on where it was."""
    if source is not None and not source.is_dir():
        raise RequestError("there is no such directory", hint="give the directory that holds the feeds' files")
    from tasks.feeds import Fetcher

    settings = read_settings()
    with home_store(settings) as store:
        with show.counting() as tell:
            problems = Fetcher(settings, store, tell).update(source.absolute() if source else None)
        states = _states(store)
    show.feed_list(states)
    raise typer.Exit(1 if problems else 0)


@feeds_app.command("status")
def status() -> None:
    """Show how far each feed was read, and when."""
    with home_store(read_settings()) as store:
        states = _states(store)
    show.feed_list(states)


def _states(store: Store) -> list[FeedState]:
    from footprint.store.feeds import feeds_known

    with store.read() as session:
        return [
            FeedState(
                name=row.name,
                source=row.source,
                entries=row.entries,
                updated_at=row.updated_at.isoformat() if row.updated_at else None,
                error=row.error,
            )
            for row in feeds_known(session)
        ]
