"""How many packets a second arrive at the estate's side of the cable: counted by the kernel, looked at every 10 ms.

    with Meter(made) as meter:
        ...
    assert meter.reading().peak(after=1.0) <= 300

What counts is every packet that the scanner's side sends, whatever its destination; neighbour discovery and ARP too.
"""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import dataclass
from typing import Any, Self

from tests.estate.namespaces import CABLE, Namespaces

STEP = 0.01
COUNTER = f"/sys/class/net/{CABLE[1]}/statistics/rx_packets"
SAMPLER = f"""
import select, sys, time
with open({COUNTER!r}) as counter:
    def look():
        counter.seek(0)
        return time.time(), int(counter.read())
    print(*look(), flush=True)
    samples = []
    while not select.select([sys.stdin], [], [], {STEP})[0]:
        samples.append(look())
    print("".join(f"{{at}} {{count}}\\n" for at, count in samples))
"""
"""A process of its own: what is measured must not keep it from looking."""


@dataclass(frozen=True, slots=True)
class Reading:
    """Moments (seconds since 1970) and how many packets had come by then, from the first packet to the last."""

    moments: tuple[tuple[float, int], ...]

    @property
    def seconds(self) -> float:
        """From the first packet to the last."""
        return self.moments[-1][0] - self.moments[0][0] if self.moments else 0.0

    @property
    def packets(self) -> int:
        """All that came."""
        return self.moments[-1][1] - self.moments[0][1] if self.moments else 0

    def between(self, begin: float, end: float) -> Reading:
        """What came between two moments."""
        return Reading(tuple(moment for moment in self.moments if begin <= moment[0] <= end))

    def peak(self, window: float = 1.0, after: float = 0.0) -> int:
        """The most packets that came within any `window` seconds that begins `after` seconds or more."""
        first = self.moments[0][0] + after if self.moments else 0.0
        moments, most, last = self.between(first, float("inf")).moments, 0, 0
        for number, (begin, count) in enumerate(moments):
            last = max(last, number)
            while last + 1 < len(moments) and moments[last + 1][0] <= begin + window:
                last += 1
            most = max(most, moments[last][1] - count)
        return most

    @property
    def rate(self) -> float:
        """Packets a second."""
        return self.packets / self.seconds if self.seconds else 0.0


class Meter:
    """Counts while its context is open."""

    def __init__(self, made: Namespaces) -> None:
        self._made = made

    def __enter__(self) -> Self:
        argv = [sys.executable, "-c", SAMPLER]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self._sampler: subprocess.Popen[Any] = self._made.estate.popen(argv, **pipes)
        assert self._sampler.stdout is not None
        self._lines = [self._sampler.stdout.readline()]
        return self

    def __exit__(self, *_: object) -> None:
        time.sleep(5 * STEP)  # so that what was sent last is counted
        rest, _ = self._sampler.communicate("", timeout=10)
        self._lines += rest.splitlines()

    def reading(self) -> Reading:
        """What came while the context was open, from the look before its first packet to the first after its last."""
        samples = [(float(at), int(count)) for at, count in (line.split() for line in self._lines if line.strip())]
        least, most = samples[0][1], samples[-1][1]
        kept = [sample for sample in samples if least < sample[1] < most]
        begin = [sample for sample in samples if sample[1] == least][-1:]
        return Reading(
            (*begin, *kept, *[sample for sample in samples if sample[1] == most][:1]) if most > least else ()
        )
