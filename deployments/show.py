"""How the `pulsar` command prints: sentences, tables, progress. Text that came from a network is never trusted here."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from ipaddress import ip_address
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from deployments.answers import FeedState, Module, Policy, Scan, Scans
from footprint.durations import duration
from footprint.errors import FaultyRequest, PulsarError
from footprint.states import Status
from footprint.text import clean

WIDE = 160
"""Columns where the output is not a terminal: lines there are read by programs, or folded by the reader's pager."""
ROOMY = 120
WORD = 120
SENTENCE = 1000
MOST_LINES = 20
COLOURS = {Status.SUCCESS: "green", Status.FAILURE: "red", Status.REVOKED: "yellow"}
MODULE_COLOURS = {"ready": "green", "degraded": "yellow", "missing": "red", "too_old": "red", "quarantined": "red"}


def paper(*, stderr: bool = False) -> Console:
    """A console for stdout or stderr that reads no markup, emoji codes or highlights out of what it prints."""
    console = Console(stderr=stderr, markup=False, emoji=False, highlight=False)
    if not console.is_terminal and not os.environ.get("COLUMNS"):
        console.width = WIDE
    return console


def one_line(text: str, limit: int) -> str:
    """Text from anywhere as one line of at most `limit` characters, with nothing in it that a terminal obeys."""
    return " ".join(clean(text).split())[:limit]


def say(sentence: str | Text, *, stderr: bool = False) -> None:
    """Print a sentence; on a terminal it is folded between words."""
    console = paper(stderr=stderr)
    console.print(sentence, soft_wrap=not console.is_terminal)


def note(sentence: str) -> None:
    """Print a sentence about what is being done, beside the results."""
    say(Text(one_line(sentence, SENTENCE), style="dim"), stderr=True)


def telling() -> Callable[[str], None]:
    """What prints notes, each only where it differs from the one before."""
    last = ""

    def tell(sentence: str) -> None:
        nonlocal last
        if sentence != last:
            last = sentence
            note(sentence)

    return tell


def complaint(error: PulsarError) -> None:
    """Print an error: what, with a log's last lines where it quotes them, and on a line of its own what to do."""
    first, *quoted = _lines_of(error)
    say(Text.assemble(("pulsar: ", "red"), one_line(first, SENTENCE)), stderr=True)
    for line in [*quoted, error.hint]:
        if line:
            say(Text(f"        {one_line(line, SENTENCE)}"), stderr=True)


def _lines_of(error: PulsarError) -> list[str]:
    """What is said of an error: of several fields at fault each bound on a line, with the fields that share it."""
    faults = error.faults if isinstance(error, FaultyRequest) else ()
    if len(faults) < 2:
        return error.detail.splitlines()[:MOST_LINES] or [""]
    by_bound: dict[str, list[str]] = {}
    for fault in faults:
        by_bound.setdefault(fault.problem, []).append(fault.field)
    lines = [f"{', '.join(fields)}: {bound}" for bound, fields in by_bound.items()]
    left = len(lines) - MOST_LINES
    return ["this is wrong with it", *lines[:MOST_LINES], *([f"and {left} more"] if left > 0 else ())]


def as_json(content: Any) -> None:
    """Print content as JSON, with nothing in it that a terminal obeys."""
    paper().file.write(json.dumps(content, indent=2) + "\n")


@contextmanager
def starting() -> Iterator[Callable[[str], None]]:
    """Tell that the platform is being started. Yields what takes each step's name; a terminal shows them in passing."""
    console = paper(stderr=True)
    first = "Starting Pulsar for this scan"
    if not console.is_terminal:
        note(f"{first} …")
        yield lambda step: None
        return
    with console.status(first) as status:
        yield lambda step: status.update(Text.assemble(f"{first}: ", one_line(step, WORD)))


def addresses(pairs: Iterable[tuple[str, str]], closing: str) -> None:
    """Print what is found where, aligned."""
    block = Table.grid(padding=(0, 2))
    for name, where in pairs:
        block.add_row(Text(name, style="bold"), Text(where))
    console = paper()
    console.print(block)
    console.print(Text(closing, style="dim"))


def scan_asked(scan: Scan) -> None:
    """Print where to look for a scan that goes on without this command."""
    say(plain(scan.id))
    note(f"The scan is under way. `pulsar status {scan.id}` shows it.")


def scan_details(scan: Scan) -> None:
    """Print one scan as it is now."""
    console = paper()
    block = Table.grid(padding=(0, 2))
    for name, value in (
        ("scan", scan.id),
        ("target", scan.target),
        ("policy", scan.policy),
        ("comment", scan.comment),
        ("schedule", scan.schedule or ""),
        ("asked for", moment(scan.created_at)),
    ):
        if value:
            block.add_row(Text(name, style="bold"), plain(value))
    console.print(block, "")
    if scan.modules:
        console.print(_module_runs(scan), "")
    warnings(console, scan)
    say(verdict(scan))


def scan_list(page: Scans) -> None:
    """Print a page of scans."""
    columns = ["id", "asked for", "status", ">ports", "target"]
    has_room = paper().width >= ROOMY
    table = table_of(*columns, *(["policy"] if has_room else []))
    for scan in page.results:
        cells = [plain(scan.id), Text(moment(scan.created_at)), _standing(scan), Text(str(scan.counts.services))]
        table.add_row(*cells, plain(scan.target), *([plain(scan.policy)] if has_room else []))
    listed(table, "There are no scans.")
    if page.next:
        note(f"{page.count} scans in all; --page shows more.")


def module_list(modules: Sequence[Module]) -> None:
    """Print the modules: what each is for, its tool's version and state, and what to do about it."""
    table = table_of("module", "risk", "version", "state", "what it does, what to do")
    for module in sorted(modules, key=lambda module: module.name):
        words = Text(one_line(module.summary, SENTENCE))
        if module.remedy:
            words.append(f"\n{one_line(module.remedy, SENTENCE)}", style="yellow")
        state = Text(one_line(module.state, WORD), style=MODULE_COLOURS.get(module.state, ""))
        table.add_row(plain(module.name), plain(module.risk), plain(module.version), state, words)
    listed(table, "There are no modules.")
    fences = {module.fence for module in modules if module.fence}
    if "off" in fences:
        note("Tools are not fenced: with PULSAR_FENCE=on the kernel keeps each to the addresses that it is given.")
    elif fences:
        note("Tools are fenced: the kernel keeps each to the addresses that it is given.")


def tool_checks(checks: Sequence[tuple[str, str | None, str, str]]) -> None:
    """Print what checks of tools came to: module, version, outcome, and what was said."""
    table = table_of("module", "version", "outcome", "what it came to")
    colours = {"good": "green", "changed": "red"}
    for module, version, outcome, said in checks:
        state = Text(one_line(outcome, WORD), style=colours.get(outcome, "yellow"))
        table.add_row(plain(module), plain(version), state, Text(one_line(said, SENTENCE)))
    listed(table, "There are no tools to check.")


def feed_list(feeds: Sequence[FeedState]) -> None:
    """Print how far each vulnerability feed was read."""
    table = table_of("feed", ">entries", "read", "from", "remark")
    for feed in feeds:
        read = moment(feed.updated_at) if feed.updated_at else "not to its end"
        remark = Text(one_line(feed.error or "", SENTENCE), style="yellow")
        table.add_row(plain(feed.name), f"{feed.entries:,}", read, plain(feed.source), remark)
    listed(table, "No feed was read yet: `pulsar feeds update`.")


@contextmanager
def counting() -> Iterator[Callable[[str, int, int | None], None]]:
    """Tell how much of each feed was read: in passing on a terminal, by a line for every tenth elsewhere."""
    console = paper(stderr=True)
    if console.is_terminal:
        with console.status("Asking the feeds") as status:
            yield lambda name, done, total: status.update(_counted(name, done, total))
        return
    tell = telling()
    yield lambda name, done, total: tell(_counted(name, done, total))


def _counted(name: str, done: int, total: int | None) -> str:
    return f"{name}: {done:,} of {total:,}" if total else f"{name}: {done:,}"


def policy_list(policies: Sequence[Policy]) -> None:
    """Print the policies by name."""
    table = table_of("policy", "what it does")
    for policy in policies:
        table.add_row(plain(policy.name), Text(one_line(policy.description, SENTENCE)))
    listed(table, "There are no policies.")


def policy_details(policy: Policy) -> None:
    """Print all that a policy says."""
    block = Table.grid(padding=(0, 2))
    for name, value in policy.as_sent().items():
        if value not in (None, "", []):
            text = value if isinstance(value, str) else json.dumps(value)
            block.add_row(Text(name, style="bold"), Text(one_line(text, SENTENCE)))
    paper().print(block)


def verdict(scan: Scan) -> Text:
    """The last line of a scan: its status, how long it took or how far it is, what was found."""
    status = Text(scan.status, style=f"bold {COLOURS.get(scan.status, '')}".strip())
    if not scan.is_over:
        unsaid = "; `pulsar explain` says what it waits for" if scan.status is Status.PENDING else ""
        waiting = f"; {one_line(scan.waiting, SENTENCE)}" if scan.waiting else unsaid
        return Text.assemble(status, f", {scan.progress:.0f} % done so far; {_found(scan)}{waiting}")
    took = _seconds(scan)
    time = f" after {duration(took)}" if took is not None else ""
    if scan.status is Status.SUCCESS:
        return Text.assemble(status, f"{time}: {_found(scan)}", f", {_number(len(scan.warnings), 'warning')}")
    if scan.status is Status.REVOKED:
        return Text.assemble(status, f"{time}: {_found(scan)} before it was cancelled")
    return Text.assemble(status, time, ": ", one_line(scan.error or "no reason was given", SENTENCE))


def plain(text: str | None) -> Text:
    """Text from anywhere as a table's cell."""
    return Text(one_line(text or "", WORD))


def moment(text: str, form: str = "%Y-%m-%d %H:%M") -> str:
    """An ISO 8601 time as the machine's clock shows it, or the text itself where it is none."""
    try:
        return datetime.fromisoformat(text).astimezone().strftime(form)
    except ValueError:
        return one_line(text, WORD)


def _standing(scan: Scan) -> Text:
    far = "" if scan.is_over else f" {scan.progress:.0f} %"
    return Text(f"{scan.status}{far}", style=COLOURS.get(scan.status, ""))


def _seconds(scan: Scan) -> float | None:
    try:
        begun = datetime.fromisoformat(scan.started_at or scan.created_at)
        return max(0.0, (datetime.fromisoformat(scan.finished_at or "") - begun).total_seconds())
    except (ValueError, TypeError):
        return None


def _found(scan: Scan) -> str:
    counts = scan.counts
    some = [_number(number, noun) for number, noun in ((counts.domains, "name"), (counts.hosts, "host")) if number]
    return ", ".join([*some, _number(counts.services, "open port"), _number(counts.findings, "finding")])


def _number(number: int, noun: str) -> str:
    return f"{number or 'no'} {noun}{'' if number == 1 else 's'}"


def table_of(*columns: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column.lstrip(">"), justify="right" if column.startswith(">") else "left", overflow="fold")
    table.columns[0].no_wrap = True
    return table


def listed(table: Table, otherwise: str) -> None:
    if table.row_count:
        paper().print(table)
    else:
        say(otherwise)


def _module_runs(scan: Scan) -> Table:
    table = table_of("module", "status", ">units", ">progress", "remark")
    for run in scan.modules:
        remark = one_line(run.error or run.waiting_for or run.detail or "", SENTENCE)
        units = f"{run.ended}/{run.units}"
        table.add_row(plain(run.name), plain(run.status), units, f"{run.progress:.0f} %", Text(remark))
    return table


def warnings(console: Console, scan: Scan) -> None:
    for warning in scan.warnings:
        console.print(Text.assemble(("! ", "yellow"), one_line(warning, SENTENCE)), soft_wrap=not console.is_terminal)


def address_order(address: str) -> tuple[int, int, str]:
    """A key that sorts addresses as numbers, IPv4 first, and anything else after them."""
    try:
        known = ip_address(address)
    except ValueError:
        return 9, 0, address
    return known.version, int(known), ""
