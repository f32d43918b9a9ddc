"""What a walk through a story prints: its steps, what is seen on the way, and what is not as it must be."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from typing import Any, TypeVar

from rich.text import Text

from deployments.show import plain, say

Found = TypeVar("Found")
LOOK_SECONDS = 0.5


class Account:
    """Prints as it goes, and counts what was checked and what was wrong."""

    def __init__(self) -> None:
        self.checked = 0
        self.wrong: list[str] = []
        self._began = time.monotonic()
        self._step = 0

    def step(self, title: str) -> None:
        """The next part of the story."""
        self._step += 1
        say(Text(f"\n{self._step}. {title} ({time.monotonic() - self._began:.0f} s)", style="bold"))

    def saw(self, text: str) -> None:
        """Something to read: each of its lines, set in."""
        for line in text.rstrip().splitlines():
            say(Text.assemble("     ", Text(line.replace("\x1b", ""), style="dim")))

    def holds(self, claim: str, is_so: object, otherwise: object = "") -> bool:
        """A claim, and whether it is true; `otherwise` says what is there instead."""
        self.checked += 1
        if not is_so:
            self.wrong.append(claim)
        mark = Text.assemble(("   ok  ", "green") if is_so else ("WRONG  ", "bold red"), plain(claim))
        say(mark if is_so or otherwise == "" else Text.assemble(mark, f": {otherwise}"))
        return bool(is_so)

    def same(self, claim: str, found: object, wanted: object) -> bool:
        """A claim that two things are equal."""
        return self.holds(claim, found == wanted, f"{found!r} in place of {wanted!r}")

    def same_set(self, claim: str, found: Collection[Any], wanted: Collection[Any]) -> bool:
        """A claim that the same things are in both, each once; what is only in one is listed."""
        is_so = self.holds(claim, sorted(found, key=repr) == sorted(wanted, key=repr), "see below")
        for one in found:
            if one not in wanted:
                self.saw(f"not expected: {one}")
        for one in wanted:
            if one not in found:
                self.saw(f"missing:      {one}")
        return is_so


def until(look: Callable[[], Found], what: str, seconds: float) -> Found:
    """What is seen, as soon as there is any of it; `TimeoutError` where it takes longer than `seconds`."""
    give_up = time.monotonic() + seconds
    while not (found := look()):
        if time.monotonic() > give_up:
            raise TimeoutError(f"{what}: not within {seconds:.0f} s")
        time.sleep(LOOK_SECONDS)
    return found
