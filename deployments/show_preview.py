"""How the `pulsar` command prints what a scan would do."""

from __future__ import annotations

from rich.table import Table
from rich.text import Text

from deployments.preview_answers import Amount, Need, Preview, Run, Step
from deployments.show import SENTENCE, note, one_line, paper, plain, say, table_of
from footprint.durations import duration

SINGULARS = {"packets": "packet", "requests": "request", "queries": "query", "connections": "connection"}


def show_preview(planned: Preview) -> None:
    """Print what a scan would do: its target, each module, the commands, the sums."""
    console = paper()
    console.print(_head(planned), "")
    console.print(_steps(planned), "")
    for step in planned.steps:
        for run in step.runs:
            if run.command:
                say(Text.assemble((f"{step.module}: ", "bold"), one_line(run.command, SENTENCE), (_about(run), "dim")))
        if (more := step.units - len(step.runs)) and step.runs and step.runs[0].command:
            say(Text(f"{step.module}: and {more:,} more like these", style="dim"))
    for remark in planned.remarks:
        say(Text.assemble(("! ", "yellow"), one_line(remark, SENTENCE)))
    say(_sum(planned))
    note("Nothing was sent.")


def _head(planned: Preview) -> Table:
    block = Table.grid(padding=(0, 2))
    size = f" ({planned.addresses:,} addresses)" if planned.addresses is not None else ""
    pairs = [("target", f"{planned.target}{size}"), ("policy", planned.policy), ("ports", planned.ports)]
    pairs += [("left out" if not number else "", rule) for number, rule in enumerate(planned.left_out)]
    for name, value in pairs:
        block.add_row(Text(name, style="bold"), Text(one_line(value, SENTENCE)))
    return block


def _steps(planned: Preview) -> Table:
    table = table_of("module", "risk", ">units", "at once", "then")
    for step in planned.steps:
        words = Text("\n").join(map(Text, map(_need, step.needs))) if step.needs else Text(one_line(step.why, SENTENCE))
        if step.lacking:
            words.append(f"\n{one_line(step.lacking, SENTENCE)}", style="yellow")
        table.add_row(plain(step.module), plain(step.risk), f"{step.units:,}" if step.units else "", _now(step), words)
    return table


def _now(step: Step) -> Text:
    if not step.units:
        return Text("", style="dim")
    amount = _amount(step.least, step.most, step.sends)
    pace = f", {step.rate:g} a second each" if step.rate else ""
    return Text(f"{amount}{pace}, {_time(step.seconds)}" if step.seconds >= 1 else f"{amount}{pace}")


def _need(need: Need) -> str:
    kind = need.kind.replace("_", " ")
    such = f" ({', '.join(need.such_as)})" if need.such_as else ""
    each = f"{_amount(need.least, need.most, need.sends)} for each {kind}{such}"
    most = f", {need.at_most:,} at most" if need.at_most is not None else ""
    time = f", {_time(need.seconds)} each" if need.seconds >= 1 else ""
    return one_line(f"{each}{most}{time}: found by {', '.join(need.found_by)}", SENTENCE)


def _amount(least: int, most: int | None, sends: str) -> str:
    if sends == "nothing":
        return "sends nothing"
    if most is None:
        return f"{least:,} {SINGULARS.get(sends, sends) if least == 1 else sends} or more"
    if least == most:
        return f"{least:,} {SINGULARS.get(sends, sends) if least == 1 else sends}"
    return f"{least:,}-{most:,} {sends}"


def _about(run: Run) -> str:
    more = f" and {run.records - len(run.subjects):,} more" if run.records > len(run.subjects) else ""
    return f"  # {', '.join(one_line(subject, SENTENCE) for subject in run.subjects)}{more}"


def _time(seconds: float) -> str:
    return f"{duration(seconds)} at least"


def _sum(planned: Preview) -> Text:
    said = [_total(amount) for amount in planned.totals] or ["nothing is sent"]
    time = f"; {_time(planned.seconds)}" if planned.seconds >= 1 else ""
    return Text.assemble(("At once", "bold"), f": {'; '.join(said)}{time}, before what is found.")


def _total(amount: Amount) -> str:
    whom = "that the target may notice" if amount.to_target else "to others"
    return f"{_amount(amount.least, amount.most, amount.sends)} {whom}"
