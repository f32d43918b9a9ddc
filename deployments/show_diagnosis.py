"""How explanations, logs and the doctor's lines are printed."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from deployments.answers import Explanation, LogLine, Part
from deployments.show import SENTENCE, listed, moment, one_line, paper, plain, say, table_of

PARAGRAPH = 8000
LEVEL_COLOURS = {"warning": "yellow", "error": "red", "critical": "red", "debug": "dim"}
PART_COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}


def explanation(found: Explanation) -> None:
    """Print why a scan is where it is: the paragraph alone, as it names every cause."""
    say(one_line(found.explanation, PARAGRAPH))


def log_lines(lines: Sequence[LogLine]) -> None:
    """Print lines of a log, each tool's last words indented below its error."""
    console = paper()
    for line in lines:
        where = f"{line.module} {line.batch}" if line.module else "scan"
        head = f"{moment(line.at, '%Y-%m-%d %H:%M:%S')} {one_line(line.level.upper(), 20):<7} {one_line(where, 60)}: "
        style = LEVEL_COLOURS.get(line.level, "")
        text = Text.assemble((head, "dim"), (one_line(line.message, PARAGRAPH), style))
        console.print(text, soft_wrap=True)
        for said in line.stderr:
            console.print(Text(f"    | {one_line(said, SENTENCE)}", style="dim"), soft_wrap=True)


def parts(found: Sequence[Part]) -> None:
    """Print the doctor's lines, with what to do below each that is not in order."""
    table = table_of("part", "status", "what is there, what to do")
    for part in found:
        words = Text(one_line(part.detail, SENTENCE))
        if part.remedy:
            words.append(f"\n{one_line(part.remedy, SENTENCE)}", style="yellow")
        table.add_row(plain(part.name), Text(one_line(part.status, 20), style=PART_COLOURS.get(part.status, "")), words)
    listed(table, "Nothing was looked at.")
