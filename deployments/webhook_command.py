"""`pulsar webhook`: signed webhooks, by way of the API."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from deployments import show
from deployments.answers import Webhook
from deployments.home import read_settings, running_api
from footprint.errors import RequestError

webhook_app = typer.Typer(help="Signed webhooks: who is told of scans.", no_args_is_help=True)
MOST_SECRET = 4096
Name = Annotated[str, typer.Argument(help="The webhook's name, as `pulsar webhook list` lists it.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else on stdout.")]


@webhook_app.command("list")
def list_webhooks(json: AsJson = False) -> None:
    """List the webhooks, without their secrets."""
    with running_api(read_settings()) as api:
        found = api.webhooks()
    if json:
        show.as_json([one.as_sent() for one in found])
        return
    table = show.table_of("webhook", "what `notify.to` calls it", "address")
    for one in found:
        table.add_row(show.plain(one.name), show.plain(one.receiver), show.plain(one.url))
    show.listed(table, "There are no webhooks.")


@webhook_app.command("add")
def add_webhook(
    name: Annotated[str, typer.Argument(help="What policies call it: `signed-webhook/NAME`.")],
    url: Annotated[str, typer.Argument(help="Where it is posted to: https://…")],
    secret_from_stdin: Annotated[
        bool, typer.Option("--secret-from-stdin", help="Take the secret from stdin instead of making one.")
    ] = False,
    json: AsJson = False,
) -> None:
    """Keep a webhook, and print the secret that its messages are signed with: it is shown this once."""
    secret = _secret() if secret_from_stdin else None
    with running_api(read_settings()) as api:
        made = api.add_webhook(name, url, secret)
    if json:
        show.as_json(made.as_sent())
    else:
        _show_made(made)


@webhook_app.command("test")
def test_webhook(name: Name) -> None:
    """Send a webhook a test. Exit code 1 where it is not taken."""
    with running_api(read_settings()) as api:
        trial = api.test_webhook(name)
    if trial.delivered:
        show.say(f"It was taken: event {show.one_line(trial.event_id, show.WORD)}.")
        return
    show.say(f"It was not taken: {show.one_line(trial.error or '', show.SENTENCE)}", stderr=True)
    raise typer.Exit(1)


@webhook_app.command("rm")
def remove_webhook(name: Name) -> None:
    """Forget a webhook."""
    with running_api(read_settings()) as api:
        api.delete_webhook(name)
    show.note("It is gone. What was due for it is tried for a day more, in case you add it again.")


def _secret() -> str:
    said = sys.stdin.read(MOST_SECRET).strip()
    if not said:
        raise RequestError("there is no secret on stdin", hint="or leave --secret-from-stdin away, and one is made")
    return said


def _show_made(made: Webhook) -> None:
    show.say(show.plain(made.secret))
    show.note(f"The secret of {made.receiver} is shown this once. Name it in a policy: notify.to.")
