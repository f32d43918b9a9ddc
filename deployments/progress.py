"""A scan's progress while it runs: a live bar on a terminal, now and then a plain line elsewhere."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, Task, TextColumn, TimeElapsedColumn
from rich.table import Column
from rich.text import Text

from deployments.answers import ModuleRun, Scan
from deployments.show import SENTENCE, WORD, one_line, paper
from footprint.durations import duration
from footprint.states import Status

STEP = 10
"""Per cent between two plain lines."""
IDLE = {Status.PENDING: "waiting for a worker", Status.RETRY: "waiting for another try"}


class Watching(Protocol):
    """What shows a scan at work. Both words may come at any time; a `trouble` lasts until the next `update`."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None: ...

    def update(self, scan: Scan) -> None: ...

    def trouble(self, sentence: str) -> None: ...


def watching() -> Watching:
    """The bar where stderr is a terminal, plain lines where it is not."""
    console = paper(stderr=True)
    return Bar(console) if console.is_terminal else Lines(console)


class Bar:
    """A live bar: per cent, time since it appeared, the module at work."""

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.percentage:>3.0f} %"),
            BarColumn(bar_width=24),
            TimeElapsedColumn(),
            AtWork(table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis")),
            console=console,
            transient=True,
            expand=True,
        )
        self._task = self._progress.add_task("", total=100, words=Text("asking"))

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._progress.stop()

    def update(self, scan: Scan) -> None:
        """Show the scan as it is now."""
        self._progress.update(self._task, completed=scan.progress, words=Text(at_work(scan)))

    def trouble(self, sentence: str) -> None:
        """Show why nothing new is known."""
        self._progress.update(self._task, words=Text(one_line(sentence, SENTENCE), style="yellow"))


class AtWork(ProgressColumn):
    """The column that says which module is at work."""

    def render(self, task: Task) -> Text:
        """The words of the last update."""
        words: Text = task.fields["words"]
        return words


class Lines:
    """A line whenever other modules are at work, or another tenth is done."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._begun = time.monotonic()
        self._last: tuple[object, ...] = ()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        return

    def update(self, scan: Scan) -> None:
        """Print the scan as it is now, where that is news."""
        busy = tuple(run.name for run in scan.modules if run.running)
        self._tell((scan.status, busy, scan.waiting, scan.progress // STEP), f"{scan.progress:3.0f} %  {at_work(scan)}")

    def trouble(self, sentence: str) -> None:
        """Print, once, why nothing new is known."""
        self._tell(("trouble",), one_line(sentence, SENTENCE))

    def _tell(self, news: tuple[object, ...], line: str) -> None:
        if news != self._last:
            self._last = news
            passed = duration(time.monotonic() - self._begun)
            self._console.print(f"{passed:>10}  {line}", soft_wrap=True)


def at_work(scan: Scan) -> str:
    """Which modules are at work, how far each is: `nmap 2 of 8 units, 41 %`."""
    if scan.is_over:
        return scan.status.value
    busy = [_part(run) for run in scan.modules if run.running] or [
        _wait(run) for run in scan.modules if run.waiting_for
    ]
    waits = scan.waiting or (None if busy else IDLE.get(scan.status, "preparing the next step"))
    return "; ".join([*busy, *([one_line(waits, SENTENCE)] if waits else [])])


def _wait(run: ModuleRun) -> str:
    return f"{one_line(run.name, WORD)} waits for {one_line(run.waiting_for or '', SENTENCE)}"


def _part(run: ModuleRun) -> str:
    units = f" {run.ended} of {run.units} units," if run.units > 1 else ""
    detail = f" ({one_line(run.detail, WORD)})" if run.detail else ""
    return f"{one_line(run.name, WORD)}{units} {run.progress:.0f} %{detail}"
