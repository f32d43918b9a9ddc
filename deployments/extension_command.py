"""`pulsar extension`: the scripts of this home, listed, checked, and tried by hand in the sandbox that scans use."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from deployments import show
from deployments.home import read_settings
from footprint.errors import InvalidTarget
from footprint.extensions import Broken, Extension, extension_named, installed
from footprint.manifest import Manifest
from footprint.records import DomainName, Finding, Host, Network, Service
from footprint.target import canonical_address, parse_target

if TYPE_CHECKING:
    from tasks.extension_trial import Trial

extension_app = typer.Typer(help="Scanner extensions of your own, run in a sandbox.", no_args_is_help=True)
PRINTED_LINES = 200
MEBIBYTE = 1024 * 1024
_SERVICE = re.compile(r"\[?(?P<address>[0-9A-Fa-f.:]+?)\]?:(?P<port>[0-9]{1,5})(?:/(?P<name>[a-z0-9_.+-]{1,64}))?")
Called = Annotated[
    str, typer.Argument(metavar="NAME", help="The extension's name, as `pulsar extension list` shows it.")
]


@extension_app.command("list")
def list_extensions() -> None:
    """List the extensions of this home, and what is wrong with those that cannot be run."""
    settings = read_settings()
    table = show.table_of("extension", "accepts", "network", ">seconds", ">MiB", "what it does, what to do")
    found = installed(settings.home)
    for one in found:
        if isinstance(one, Broken):
            said = Text(show.one_line(one.error.detail, show.SENTENCE), style="yellow")
            table.add_row(show.plain(one.name), "", "", "", "", said)
        else:
            table.add_row(show.plain(one.name), *_cells(one.manifest))
    show.listed(table, f"No extension is installed: a folder each in {settings.home / 'extensions'}.")
    if any(isinstance(one, Extension) and one.manifest.is_scoped for one in found):
        from tasks.extension import reduced

        if unheld := reduced(settings):
            show.note(show.one_line(unheld, show.SENTENCE))


def _cells(manifest: Manifest) -> tuple[Text, ...]:
    accepts = ", ".join(manifest.accepts)
    only = [*manifest.services, *map(str, manifest.ports)]
    kinds = f"{accepts} ({', '.join(only)})" if only else accepts
    cells = (kinds, manifest.network, str(manifest.timeout), str(manifest.memory))
    return (*map(show.plain, cells), show.plain(manifest.description))


@extension_app.command("check")
def check_extension(name: Called) -> None:
    """Check an extension's manifest, and whether this machine can hold it; nothing of it is run."""
    from tasks.extension_reach import check_reach
    from tasks.sandbox import check_sandbox

    settings = read_settings()
    extension = extension_named(settings.home, name)
    check_sandbox(settings.home, settings.work_dir)
    if extension.manifest.is_scoped:
        check_reach(settings.work_dir)
    show.say("In order.")


@extension_app.command("run")
def run_extension(
    name: Called,
    target: Annotated[str, typer.Argument(help="A name, an address, or address:port/service: whatever it accepts.")],
) -> None:
    """Run an extension once, as a scan would: its output, its findings, the time and the memory that it took.

    One whose network is scoped sends to the target: that must be in this installation's scope.
    """
    from footprint.store.surroundings import Surroundings
    from tasks.extension_answers import told_of
    from tasks.extension_reach import check_reach
    from tasks.extension_trial import try_extension
    from tasks.runner import Limits
    from tasks.sandbox import check_sandbox

    settings = read_settings()
    extension = extension_named(settings.home, name)
    record = _record(target, extension.manifest)
    check_sandbox(settings.home, settings.work_dir)
    limits = Limits(extension.manifest.timeout, settings.work_dir)
    reach, around = None, Surroundings()
    if extension.manifest.is_scoped:
        from deployments.extension_reach import reach_by_hand

        check_reach(settings.work_dir)
        reach, around = reach_by_hand(record, settings)
        show.note(f"It reaches {', '.join(reach.addresses)}.")
    trial = try_extension(extension, record, told_of(record, around), limits, extension.manifest.memory, reach)
    _print(extension, trial)
    raise typer.Exit(1 if trial.error else 0)


def _record(text: str, manifest: Manifest) -> DomainName | Host | Service:
    """What a scan would give the extension for this text. Raises `InvalidTarget`."""
    match = _SERVICE.fullmatch(text)
    address = canonical_address(match["address"]) if match else None
    record: DomainName | Host | Service | Network
    if match and address and 0 < int(match["port"]) < 65536 and ("." in text or text.startswith("[")):
        record = Service(address, int(match["port"]), name=match["name"])
    else:
        record = parse_target(text)
    if isinstance(record, Network) or not manifest.takes(record):
        wanted = ", ".join([*manifest.accepts, *manifest.services, *map(str, manifest.ports)])
        raise InvalidTarget(
            "the extension is not run for such a target",
            hint=f"it accepts: {wanted}; a service is written 192.0.2.1:80/http or [2001:db8::1]:80/http",
        )
    return record


def _print(extension: Extension, trial: Trial) -> None:
    output, manifest = trial.held.output, extension.manifest
    for text, stderr in ((output.stdout, False), (output.stderr, True)):
        lines = text.splitlines()
        for line in lines[:PRINTED_LINES]:
            show.say(Text(show.one_line(line, show.SENTENCE)), stderr=stderr)
        if len(lines) > PRINTED_LINES:
            show.note(f"… and {len(lines) - PRINTED_LINES} more lines")
    show.listed(_findings(trial.reading.findings), "It found nothing.")
    for sentence in trial.notes:
        show.note(sentence)
    memory = f"{trial.held.memory / MEBIBYTE:.0f} of {manifest.memory} MiB"
    show.note(f"{output.seconds:.1f} of {manifest.timeout} s, {memory}, exit code {output.returncode}")


def _findings(findings: tuple[Finding, ...]) -> Table:
    table = show.table_of("severity", ">score", "rule", "finding")
    for one in findings:
        words = show.plain(one.title)
        words.append(f"\n{show.one_line(one.evidence, show.SENTENCE)}" if one.evidence else "", style="dim")
        table.add_row(
            show.plain(one.severity), "" if one.score is None else f"{one.score:.1f}", show.plain(one.rule), words
        )
    return table
