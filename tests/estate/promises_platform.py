"""A platform beside the estate as a writer of policies reaches it: curl for the API, Prefect, counters of the wire."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx

from tests.e2e.conftest import TERMINAL, PrefectClient, take_csrf_token
from tests.estate.account import until
from tests.estate.estate import Estate

API, PREFECT = "http://127.0.0.1:8000", "http://127.0.0.1:4200/api"
"""Where they are in a namespace that is nobody else's."""
SCAN_SECONDS = 600.0
LISTS = ("domains", "hosts", "services", "findings", "technologies", "certificates", "web-pages", "dns-records")
OF_THE_LOOK = ("first_seen", "last_seen", "os")
"""What differs from scan to scan although the same was found: dates, and a guess at a system from a single try."""
PASSING = re.compile(r"uptime \d+ seconds")
Scan = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Answer:
    """What curl got: the status, and the body read as JSON (None where there is none)."""

    status: int
    body: Any


@dataclass(frozen=True, slots=True)
class TaskRun:
    """A task run in Prefect: its name, and when it ran, in seconds since 1970."""

    name: str
    begin: float
    end: float


class Curl:
    """The API by curl, from the scanner's side."""

    def __init__(self, estate: Estate, home: Path) -> None:
        self._estate = estate
        self._token = (home / "token").read_text().strip()

    def __call__(self, method: str, path: str, body: Any = None) -> Answer:
        argv = ["curl", "-sS", "-X", method, f"{API}/api/{path}", "-H", f"Authorization: Token {self._token}"]
        argv += [] if body is None else ["-H", "Content-Type: application/json", "-d", json.dumps(body)]
        done = self._estate.scanner.run([*argv, "-w", "\n%{http_code}"], check=True)
        text, _, status = done.stdout.rpartition("\n")
        return Answer(int(status), json.loads(text) if text else None)

    def made(self, method: str, path: str, body: Any = None) -> Any:
        """The body of an answer that says that it went well; `RuntimeError` else."""
        answer = self(method, path, body)
        if answer.status >= httpx.codes.BAD_REQUEST:
            raise RuntimeError(f"{method} {path}: {answer.status} {answer.body}")
        return answer.body

    def all_of(self, path: str) -> list[dict[str, Any]]:
        """All pages of a list."""
        found: list[dict[str, Any]] = []
        for page in range(1, 1000):
            told = self.made("GET", f"{path}?page_size=100&page={page}")
            found += told["results"]
            if not told["next"]:
                break
        return found

    def ended(self, scan: Scan, seconds: float = SCAN_SECONDS) -> Scan:
        """The scan, once it has ended; `TimeoutError` where it does not."""

        def look() -> Scan | None:
            told: Scan = self.made("GET", f"scans/{scan['id']}/")
            return told if told["status"] in TERMINAL else None

        return until(look, f"the scan of {scan['target']} has not ended", seconds) or scan

    def found_by(self, scan: Scan) -> dict[str, list[str]]:
        """What a scan found, by list, without what tells one look from another."""
        return {name: sorted(map(_thing, self.all_of(f"scans/{scan['id']}/{name}/"))) for name in LISTS}


def _thing(item: Mapping[str, Any]) -> str:
    kept = {key: value for key, value in item.items() if key not in OF_THE_LOOK}
    return PASSING.sub("", json.dumps(kept, sort_keys=True))


class Runs:
    """Prefect's own account of a scan."""

    def __init__(self, prefect: PrefectClient) -> None:
        self._prefect = prefect

    def tasks_of(self, scan: Scan) -> Sequence[TaskRun]:
        """The units that ran, in the order in which they began."""
        wanted = {"flow_runs": {"id": {"any_": [scan["task_id"]]}}, "limit": 200}
        told = self._prefect.post("/task_runs/filter", json=wanted).raise_for_status().json()
        ran = [one for one in told if one["start_time"] and one["end_time"]]
        runs = [TaskRun(one["name"], _moment(one["start_time"]), _moment(one["end_time"])) for one in ran]
        return sorted(runs, key=lambda run: run.begin)

    def state_of(self, scan: Scan) -> str:
        """The name of the state of a scan's run."""
        return str(self._prefect.get(f"/flow_runs/{scan['task_id']}").raise_for_status().json()["state_name"])


def at_once(runs: Sequence[TaskRun]) -> int:
    """The most that ran at one moment."""
    edges = sorted([(run.begin, 1) for run in runs] + [(run.end, -1) for run in runs])
    most = running = 0
    for _, step in edges:
        running += step
        most = max(most, running)
    return most


def _moment(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


@contextmanager
def prefect_of(home: Path) -> Iterator[Runs]:
    """Prefect's API of the platform of this home, which runs in this thread's namespace."""
    user, _, password = (home / "prefect-auth").read_text().strip().partition(":")
    with PrefectClient(base_url=PREFECT, auth=(user, password), timeout=30, trust_env=False) as prefect:
        take_csrf_token(prefect)
        yield Runs(prefect)
