"""What a process holds of the machine, looked at again and again, and whether that grows."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

SPARE_DESCRIPTORS, SPARE_THREADS, SPARE_MEGABYTES = 48, 16, 40
"""What may be more at the end than it was before: a pool of 15 connections to SQLite, each with its log and its shared
memory, the pool's threads, and memory that is kept for reuse."""
GROWTH = 1.15
FEWEST = 24
"""Samples that are enough to tell growth from chance."""


@dataclass(frozen=True, slots=True)
class Held:
    """What a process held at one moment; memory in megabytes."""

    descriptors: int
    threads: int
    megabytes: float

    def __str__(self) -> str:
        return f"{self.descriptors} descriptors, {self.threads} threads, {self.megabytes:.0f} MB"


def held_by(pid: int) -> Held | None:
    """What a process holds now, None where it has ended (proc(5))."""
    try:
        descriptors = sum(1 for _ in os.scandir(f"/proc/{pid}/fd"))
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return None
    told = dict(line.partition(":")[::2] for line in lines)
    if "VmRSS" not in told:
        return None
    return Held(descriptors, int(told["Threads"]), int(told["VmRSS"].split()[0]) / 1024)


def growth_in(name: str, samples: Sequence[Held]) -> list[str]:
    """Where a process held clearly more in the last quarter of its time than in the second: what it leaks."""
    if len(samples) < FEWEST:
        return []
    quarter = len(samples) // 4
    before, after = _most(samples[quarter : 2 * quarter]), _most(samples[-quarter:])
    found = []
    if after.descriptors > before.descriptors * GROWTH + SPARE_DESCRIPTORS:
        found.append("descriptors")
    if after.threads > before.threads * GROWTH + SPARE_THREADS:
        found.append("threads")
    if after.megabytes > before.megabytes * GROWTH + SPARE_MEGABYTES:
        found.append("memory")
    return [f"{name}: its {what} grew: {before}, later {after}" for what in found]


def _most(samples: Sequence[Held]) -> Held:
    return Held(
        max(one.descriptors for one in samples),
        max(one.threads for one in samples),
        max(one.megabytes for one in samples),
    )
