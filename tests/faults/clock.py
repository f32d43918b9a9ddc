"""How long it takes from a fault until its scan has ended: what the fault suite's table is made of."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

PROPERTY = "fault"
Row = tuple[str, str, float | None]
"""A fault, what came of its scan, and the seconds until then."""


@dataclass
class Clock:
    """Of one test: runs from its last fault, or the end of that where it lasts, to the first end of a scan."""

    struck_at: float | None = None
    status: str = ""
    seconds: float | None = None
    is_whole: bool = False

    def strike(self, at: float | None = None) -> None:
        """A fault happens, or one that lasts is over; `at` is of the monotonic clock."""
        self.struck_at = time.monotonic() if at is None else at
        self.status, self.seconds, self.is_whole = "", None, False

    def end(self, status: str, *, is_whole: bool = False) -> None:
        """A scan was seen to have ended; it is whole where it found what it finds undisturbed."""
        self.is_whole = self.is_whole or is_whole
        if not self.status:
            self.status = status
            self.seconds = None if self.struck_at is None else time.monotonic() - self.struck_at

    def row(self, fault: str) -> Row:
        """What is told of it."""
        return fault, f"{self.status}, whole result" if self.is_whole else self.status, self.seconds


CLOCK = Clock()
"""That of the test which runs: tests of this suite run one after another."""


def table(rows: Iterable[Sequence[str | float | None]]) -> list[str]:
    """The rows as Markdown."""
    lines = ["| fault | what comes of the scan | seconds |", "|---|---|---|"]
    for fault, outcome, seconds in rows:
        lines.append(f"| {fault} | {outcome} | {'' if seconds is None else f'{seconds:.1f}'} |")
    return lines
