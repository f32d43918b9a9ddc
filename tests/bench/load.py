"""A load of a few clients on one address: how long answers take, and how many come a second."""

from __future__ import annotations

import http.client
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from statistics import median, quantiles
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True)
class Load:
    """What came of a load: seconds of the median and the 95th percentile, answers a second, and errors."""

    median: float
    p95: float
    rate: float
    errors: int

    def __str__(self) -> str:
        ms = f"median {self.median * 1000:6.1f} ms, p95 {self.p95 * 1000:6.1f} ms"
        return f"{ms}, {self.rate:7.1f} requests/s, {self.errors} errors"


def load(urls: Sequence[str], headers: dict[str, str], *, clients: int = 10, seconds: float = 5) -> Load:
    """Ask over and over from this many clients, each for one of the addresses and on one connection."""
    own = [urls[client % len(urls)] for client in range(clients)]
    with ProcessPoolExecutor(clients) as pool:
        parts = list(pool.map(_client, own, [headers] * clients, [seconds] * clients))
    times = [taken for part, _ in parts for taken in part]
    errors = sum(wrong for _, wrong in parts)
    return Load(median(times), quantiles(times, n=20)[-1], len(times) / seconds, errors)


def _client(url: str, headers: dict[str, str], seconds: float) -> tuple[list[float], int]:
    place = urlsplit(url)
    connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=30)
    times: list[float] = []
    errors = 0
    until = time.monotonic() + seconds
    while (began := time.monotonic()) < until:
        connection.request("GET", f"{place.path}?{place.query}", headers=headers)
        answer = connection.getresponse()
        answer.read()
        errors += answer.status != 200
        times.append(time.monotonic() - began)
    connection.close()
    return times, errors
