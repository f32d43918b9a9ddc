"""The `pulsar` command. Exit codes: 0 well, 1 the scan failed, 2 refused, 3 no platform, 130 Ctrl-C."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from enum import IntEnum
from types import FrameType
from typing import Annotated, Any, NoReturn, TypeVar

import typer
from typer.core import TyperGroup

from deployments import show
from deployments.answers import Answer, Module, Policy
from deployments.diagnosis_command import doctor, explain, logs
from deployments.diff_command import diff
from deployments.extension_command import extension_app
from deployments.feeds_command import feeds_app
from deployments.home import find_api, has_token, home_store, prefect_environment, read_settings, running_api, token_of
from deployments.lifecycle_command import lifecycle_app
from deployments.maintenance_command import maintenance_app, tools_app
from deployments.policy_command import policies_here, policy_app
from deployments.policy_files import policy_given
from deployments.previewing import previewed
from deployments.scanning import Wish, ask, carry_out
from deployments.schedule_command import schedule_app
from deployments.show_preview import show_preview
from deployments.webhook_command import webhook_app
from footprint.errors import PulsarError, RequestError
from footprint.policy import DEFAULT_POLICY
from footprint.settings import Settings
from footprint.states import Status


class Exit(IntEnum):
    """What the command's exit code says."""

    WELL = 0
    FAILED = 1
    REFUSED = 2
    UNREACHABLE = 3


class Verbs(TyperGroup):
    """The verbs, with the one place where an error becomes a sentence and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        """Run a verb."""
        try:
            return super().invoke(ctx)
        except PulsarError as error:
            show.complaint(error)
            code = Exit.REFUSED if isinstance(error, RequestError) else Exit.UNREACHABLE
            raise typer.Exit(code) from None


app = typer.Typer(
    cls=Verbs,
    help="Pulsar finds what an organisation exposes: names, addresses, services, weaknesses.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(feeds_app, name="feeds")
app.add_typer(lifecycle_app)
app.add_typer(maintenance_app)
app.add_typer(tools_app, name="tools")
app.add_typer(extension_app, name="extension")
for verb in (explain, logs, doctor):
    app.command()(verb)
app.add_typer(policy_app, name="policy")
app.add_typer(schedule_app, name="schedule")
app.add_typer(webhook_app, name="webhook")
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else on stdout.")]
Found = TypeVar("Found", bound=Answer | list[Module] | list[Policy])
ScanId = Annotated[str, typer.Argument(metavar="ID", help="The scan's id, as `pulsar scans` lists it.")]


@app.command()
def up() -> None:
    """Start the platform here: Prefect server, worker, API. Ctrl-C stops all of it."""
    settings = read_settings()
    from deployments.platform import Platform

    platform = Platform(settings, on_event=show.note)
    is_first = not has_token(settings)
    with platform as addresses:
        shown = f"{token_of(settings)}  (shown this once; `pulsar token` finds it again)"
        pairs = [
            ("API", addresses.api),
            ("OpenAPI page", addresses.docs),
            ("Prefect UI", addresses.prefect_ui),
            ("API token", shown if is_first else "`pulsar token` prints it"),
            ("Prefect UI sign-in", f"the line in {settings.home / 'prefect-auth'}"),
            ("logs", str(settings.home / "logs")),
        ]
        show.addresses(pairs, "Ctrl-C stops all of it.")
        try:
            platform.wait()
        except KeyboardInterrupt:
            show.note("Stopping.")


@app.command()
def worker(name: Annotated[str | None, typer.Option(help="What the Prefect UI calls this worker.")] = None) -> None:
    """Add a worker: to this home's platform, or to the Prefect server that PREFECT_API_URL names.

    At SIGTERM running units get PULSAR_GRACE_SECONDS (10) to end, and up to
    14 s more go by until all is put back: a supervisor waits that long before
    it kills, as with `docker stop -t 30` or systemd's `TimeoutStopSec=30`.
    """
    settings = read_settings()
    # Prefect reads its environment when it is imported.
    os.environ.update(prefect_environment(settings))
    from deployments.worker import run_worker

    run_worker(settings, name=name)


@app.command()
def scan(
    target: Annotated[str, typer.Argument(help="A name, an address or a network.")],
    policy: Annotated[
        str, typer.Option(help="How it is looked at: a name that `pulsar policies` lists, or @FILE with a policy.")
    ] = DEFAULT_POLICY,
    comment: Annotated[str, typer.Option(help="A remark kept with the scan.")] = "",
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Ask for the scan and leave.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would be done, and send nothing.")] = False,
    json: AsJson = False,
) -> None:
    """Scan TARGET, wait for the end, print what was found."""
    settings, wish = read_settings(), Wish(target, policy_given(policy), comment)
    if dry_run:
        _print(previewed(settings, wish), show_preview, json=json)
        return
    if no_wait:
        _print(ask(settings, wish), show.scan_asked, json=json)
        return
    ended = carry_out(settings, wish, json=json)
    raise typer.Exit(Exit.WELL if ended.status is Status.SUCCESS else Exit.FAILED)


@app.command()
def status(scan_id: ScanId, json: AsJson = False) -> None:
    """Show one scan as it is now."""
    with running_api(read_settings()) as api:
        found = api.scan(scan_id)
    _print(found, show.scan_details, json=json)


@app.command()
def scans(
    status: Annotated[Status | None, typer.Option(help="Only those.", case_sensitive=False)] = None,
    page: Annotated[int, typer.Option(min=1, help="Which page.")] = 1,
    json: AsJson = False,
) -> None:
    """List scans, newest first."""
    with running_api(read_settings()) as api:
        found = api.scans(status.value if status else None, page)
    _print(found, show.scan_list, json=json)


app.command("diff")(diff)


@app.command()
def modules(json: AsJson = False) -> None:
    """List the modules, and whether their tools are in order."""
    settings = read_settings()
    api = find_api(settings)
    if api is None:
        found = _modules_here(settings)
    else:
        with api:
            found = api.modules()
    _print(found, show.module_list, json=json)


@app.command()
def policies(json: AsJson = False) -> None:
    """List the policies that `pulsar scan --policy` takes."""
    settings = read_settings()
    api = find_api(settings)
    if api is None:
        found = policies_here(settings)
    else:
        with api:
            found = api.policies()
    _print(found, show.policy_list, json=json)


@app.command()
def token() -> None:
    """Print this home's API token."""
    typer.echo(token_of(read_settings()))


def main() -> None:
    """Run the command line; SIGTERM and a closed terminal end it as orderly as Ctrl-C does."""
    for stream in (sys.stdout, sys.stderr):
        # A host's banner may hold what this terminal's encoding has no sign for.
        stream.reconfigure(errors="replace")  # type: ignore[union-attr]
    for number in (signal.SIGTERM, signal.SIGHUP):
        # nohup(1) has a closed terminal ignored.
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _leave)
    app(prog_name="pulsar")


def _leave(number: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)


def _print(found: Found, show_it: Callable[[Found], None], *, json: bool) -> None:
    if json:
        show.as_json([one.as_sent() for one in found] if isinstance(found, list) else found.as_sent())
    else:
        show_it(found)


def _modules_here(settings: Settings) -> list[Module]:
    from tasks.inspection import inspect_modules

    with home_store(settings) as store:
        return [Module.model_validate(found, from_attributes=True) for found in inspect_modules(settings, store)]
