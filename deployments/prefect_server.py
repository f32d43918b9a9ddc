"""What a platform wants of its Prefect server: that it answers, and has the pool and the deployments."""

from __future__ import annotations

import hashlib
import json
import time
import uuid
from importlib import metadata
from pathlib import Path
from typing import Any, Self

import httpx

from deployments.blueprint import POOL, SET_DIRECTORY
from footprint.errors import PlatformError

DEPLOYMENT = "dispatch_scan/pulsar"
NOTE = "pulsar_deployed"
"""The Prefect variable that holds the fingerprint of what was deployed."""
MAINTENANCE_QUEUE, MAINTENANCE_PLACES = "maintenance", 2
"""Beside those of scans; two, so that a long chore does not hold reconciling up."""
WATCH = "pulsar: maintenance that fell silent"
SILENCE = 300
"""Seconds. Ten heartbeats: a busy server notes them late."""
CONFLICT = httpx.codes.CONFLICT
SECONDS = 10.0
LOOK_SECONDS, PATIENCE_SECONDS = 0.25, 90.0
"""On SQLite, who writes while the server's own services do waits for up to a minute (its `busy_timeout`)."""
BUSY = frozenset({408, 429, 502, 503})


class PrefectServer:
    """The REST API of a Prefect server at `url` (with `/api`); `auth` is `user:password`, or empty."""

    def __init__(self, url: str, auth: str) -> None:
        user, _, password = auth.partition(":")
        self._url = url
        self._client = httpx.Client(
            base_url=url, auth=(user, password) if auth else None, timeout=SECONDS, trust_env=False
        )
        self._csrf: dict[str, str] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def is_there(self) -> bool:
        """Whether it answers that it is well."""
        try:
            return self._client.get("/health", timeout=2).status_code == httpx.codes.OK
        except httpx.HTTPError:
            return False

    def ensure_pool(self, limit: int) -> None:
        """Make the work pool and its queues, or set how many scans it lets run at once. A worker completes it.

        Maintenance has places and a queue of its own. What is there already is only read: a server that has just
        started is busy with its database, and on SQLite whoever writes waits for it.
        """
        self._ensure("/work_pools/", {"name": POOL, "type": "process"}, limit + MAINTENANCE_PLACES)
        queues = f"/work_pools/{POOL}/queues"
        self._ensure(queues, {"name": "default"}, limit)
        self._ensure(queues, {"name": MAINTENANCE_QUEUE}, MAINTENANCE_PLACES)

    def _ensure(self, where: str, thing: dict[str, str], limit: int) -> None:
        """Make what is `where` others of its kind are, or have it let so many run at once."""
        path, wanted = f"{where.rstrip('/')}/{thing['name']}", {"concurrency_limit": limit}
        there = self._read(path)
        if there is None and self._write("POST", where, thing | wanted, or_code=CONFLICT):
            return
        if there is None or there["concurrency_limit"] != limit:
            self._write("PATCH", path, wanted)

    def ensure_watch(self) -> None:
        """Have Prefect call runs of maintenance crashed whose heartbeats have stopped: by itself it only notes them.

        One of that name that is there already stays as it is: somebody may have changed it, or switched it off.
        """
        if not self._read_all("/automations/filter", {"automations": {"name": {"any_": [WATCH]}}}):
            self._write("POST", "/automations/", automation())

    def has_deployed(self, mark: str, root: Path) -> bool:
        """Whether what `fingerprint` gave as `mark` is what is deployed, for the code in `root`."""
        deployment = self._read(f"/deployments/name/{DEPLOYMENT}")
        note = self._read(f"/variables/name/{NOTE}")
        if deployment is None or note is None or note["value"] != mark:
            return False
        return bool(deployment["pull_steps"] == [{SET_DIRECTORY: {"directory": str(root)}}])

    def note_deployed(self, mark: str) -> None:
        """Remember what was deployed."""
        if not self._write("POST", "/variables/", {"name": NOTE, "value": mark}, or_code=CONFLICT):
            self._write("PATCH", f"/variables/name/{NOTE}", {"value": mark})

    def _read(self, path: str) -> dict[str, Any] | None:
        answer = self._ask("GET", path)
        if answer.status_code == httpx.codes.NOT_FOUND:
            return None
        found: dict[str, Any] = self._good(answer).json()
        return found

    def _read_all(self, path: str, wanted: dict[str, Any]) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._good(self._send("POST", path, wanted)).json()
        return found

    def _write(self, method: str, path: str, body: dict[str, Any], or_code: int = 0) -> bool:
        """Send it; False where it is answered by `or_code`."""
        answer = self._send(method, path, body)
        if answer.status_code == or_code:
            return False
        self._good(answer)
        return True

    def _send(self, method: str, path: str, body: dict[str, Any]) -> httpx.Response:
        answer = self._ask(method, path, json=body, headers=self._csrf_headers())
        if answer.status_code == httpx.codes.FORBIDDEN and self._csrf:
            # Asked twice by a client whose patience ended, a busy server may have noted the token of its lost answer.
            self._csrf = None
            answer = self._ask(method, path, json=body, headers=self._csrf_headers())
        return answer

    def _csrf_headers(self) -> dict[str, str]:
        if self._csrf is None:
            name = uuid.uuid4().hex
            answer = self._ask("GET", "/csrf-token", params={"client": name})
            # 422 says that this server does not want one.
            has_one = answer.status_code == httpx.codes.OK
            token = answer.json()["token"] if has_one else ""
            self._csrf = {"Prefect-Csrf-Client": name, "Prefect-Csrf-Token": token} if has_one else {}
        return self._csrf

    def _ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Send it until it is answered: a server that has just started is busy with its database (503)."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            trouble: httpx.HTTPError | None = None
            try:
                answer = self._client.request(method, path, **options)
                if answer.status_code not in BUSY:
                    return answer
            except httpx.TransportError as error:
                trouble = error
            if time.monotonic() > deadline:
                said = type(trouble).__name__ if trouble else "it is busy"
                raise PlatformError("the Prefect server does not answer", hint=f"{self._url}: {said}") from trouble
            time.sleep(LOOK_SECONDS)

    def _good(self, answer: httpx.Response) -> httpx.Response:
        if answer.is_success:
            return answer
        refused = answer.status_code in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN)
        hint = "is PREFECT_API_AUTH_STRING the server's?" if refused else f"asked at {self._url}"
        raise PlatformError(f"the Prefect server answers {answer.status_code}", hint=hint)


def fingerprint(root: Path) -> str:
    """What decides whether deploying again would change anything: the definition, flows, the place, the versions.

    The automation that watches them is made with them, and so is part of it.
    """
    digest = hashlib.sha256()
    for part in (root / "prefect.yaml", root / "flows" / "scan.py", root / "flows" / "maintenance.py"):
        digest.update(part.read_bytes() + b"\0")
    digest.update(f"{root}\0{metadata.version('prefect')}\0{json.dumps(automation())}".encode())
    return digest.hexdigest()


def automation() -> dict[str, Any]:
    """The automation that ends runs whose heartbeats (`flows.heartbeat_frequency` in prefect.toml) have stopped.

    Scans have a lease in our store instead, and `reconcile` ends their runs: one that is given back to wait for its
    window is silent, and a heartbeat that is noted late would have it called crashed.
    """
    ours = {"prefect.resource.role": "tag", "prefect.resource.id": "prefect.tag.maintenance"}
    silent = {
        "type": "event",
        "posture": "Proactive",
        "after": ["prefect.flow-run.heartbeat"],
        "expect": ["prefect.flow-run.*"],
        "match": {"prefect.resource.id": "prefect.flow-run.*"},
        "match_related": ours,
        "for_each": ["prefect.resource.id"],
        "threshold": 1,
        "within": SILENCE,
    }
    said = f"No sign of life for {SILENCE} seconds."
    crash = {"type": "change-flow-run-state", "name": "Crashed", "state": "CRASHED", "message": said}
    return {
        "name": WATCH,
        "description": "A run of Pulsar's maintenance whose machine or process is gone is called crashed.",
        "enabled": True,
        "trigger": silent,
        "actions": [crash],
    }
