"""Bounds on a program that the host it speaks to would otherwise set: how long it runs, how much memory it takes."""

from __future__ import annotations

STACK = 1024 * 1024
"""Bytes of each thread's stack, which count as memory taken whether they are used or not."""


def bounded(*argv: str, seconds: int, megabytes: int) -> tuple[str, ...]:
    """The argument list that runs a program for so long, with so much memory of its own, at most.

    `timeout` then exits with 124, as it does at the end of a unit's own time.
    """
    return ("timeout", str(seconds), "prlimit", f"--stack={STACK}", f"--data={megabytes * 1024 * 1024}", "--", *argv)
