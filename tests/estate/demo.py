"""`make demo`: Pulsar scans an estate of thirty hosts that is built for it, and is measured against the truth.

Everything happens in two network namespaces of this machine, with no way out of either. Needs root. Exit codes: 0 all
that is there was found and nothing was touched that must not be; 1 something was missed or touched; 2 no demo here.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from rich.text import Text

from deployments.show import note, paper, plain, say, table_of
from footprint.durations import duration
from tests.estate import addresses as at
from tests.estate.comparison import Comparison, compare
from tests.estate.estate import Estate, lacking
from tests.estate.scanning import Pulsar
from tests.estate.stand_ins import StandIns
from tests.estate.truth import truth
from tests.estate.zone import ROOT

MOST_SECONDS = 1800.0
MOST_MISSED = 30
POLICY = "full_discovery"


def main() -> int:
    """Build, scan, compare, take down."""
    if reason := lacking():
        say(f"The demo cannot run here: {reason}.", stderr=True)
        return 2
    note("Building the estate: two namespaces, a zone of a hundred names, thirty hosts with real services.")
    with (
        Estate() as estate,
        StandIns(estate.scanner) as stand_ins,
        tempfile.TemporaryDirectory(prefix="pulsar-demo-") as home,
    ):
        pulsar = Pulsar(estate, Path(home), **stand_ins.settings)
        note("Reading a sample of vulnerability feeds.")
        pulsar.read_feeds()
        say(Text(f"\n$ pulsar scan {ROOT} --policy {POLICY}", style="bold"))
        began = time.monotonic()
        code = pulsar.scan(ROOT, POLICY, seconds=MOST_SECONDS)
        took = time.monotonic() - began
        kinds = compare(pulsar.seen(), truth())
        trespasses = estate.trespasses()
    _print(kinds, trespasses, took)
    return 0 if code == 0 and not trespasses and all(kind.recall == 1 for kind in kinds) else 1


def _print(kinds: Sequence[Comparison], trespasses: dict[str, int], took: float) -> None:
    console = paper()
    console.print(Text("\nBeside the truth", style="bold"), "")
    table = table_of("kind", ">there", ">found of it", ">recall", ">precision")
    for kind in kinds:
        right = len(kind.expected & kind.found)
        style = "green" if kind.recall == 1 else "red"
        recall = Text(f"{kind.recall:.2f}", style=style)
        table.add_row(kind.kind, str(len(kind.expected)), str(right), recall, f"{kind.precision:.2f}")
    console.print(table, "")
    for kind in kinds:
        _list(f"{kind.kind} missed", kind.missed, "red")
        _list(f"{kind.kind} found, and not in the truth", kind.surplus, "yellow")
    _print_trespasses(trespasses)
    say(f"From the command to its last line: {duration(took)}.")


def _list(what: str, ones: Sequence[object], style: str) -> None:
    if not ones:
        return
    say(Text(f"{what}:", style=style))
    for one in ones[:MOST_MISSED]:
        words = [str(word) for word in one if word is not None] if isinstance(one, tuple) else [str(one)]
        say(Text.assemble("  ", plain("  ".join(words))))
    if len(ones) > MOST_MISSED:
        say(f"  and {len(ones) - MOST_MISSED} more")
    say("")


def _print_trespasses(trespasses: dict[str, int]) -> None:
    table = table_of("must not be touched", "because", ">packets")
    reasons = {
        at.EXCLUDED: "on the exclusion list",
        at.NEIGHBOUR: "behind an alias out of scope",
        at.PARTNER: "a name of ours, an address of the neighbour's",
    }
    for address in [*reasons, *sorted(trespasses.keys() - reasons.keys())]:
        count = trespasses.get(address, 0)
        why = reasons.get(address, "nobody's")
        table.add_row(address, why, Text(str(count), style="red" if count else "green"))
    paper().print(table, "")


if __name__ == "__main__":
    sys.exit(main())
