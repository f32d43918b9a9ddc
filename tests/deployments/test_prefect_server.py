"""What a platform asks of its Prefect server: again while it is busy, and only what is not as it should be."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from deployments.blueprint import SET_DIRECTORY
from deployments.prefect_server import PrefectServer, fingerprint
from footprint.errors import PlatformError

POOL = "/work_pools/pulsar"
Answer = tuple[int, dict[str, Any]]


@contextlib.contextmanager
def answering(answers: dict[str, list[Answer]]) -> Iterator[tuple[str, list[str]]]:
    """A server that gives these answers in turn, the last for ever; yields its address and what it was asked."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            what = f"{self.command} {self.path.partition('?')[0]}"
            asked.append(what)
            left = answers[what]
            code, body = left.pop(0) if len(left) > 1 else left[0]
            content = json.dumps(body).encode()
            self.send_response(code)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PATCH = answer  # noqa: N815 - names of http.server

        def log_message(self, *_: object) -> None:
            """Nothing is logged."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", asked
        finally:
            server.shutdown()
            thread.join()


def test_a_server_that_is_busy_is_asked_again() -> None:
    answers: dict[str, list[Answer]] = {
        "GET /csrf-token": [(200, {"token": "t"})],
        f"GET {POOL}": [(503, {}), (404, {})],
        "POST /work_pools/": [(503, {}), (201, {})],
        f"GET {POOL}/queues/default": [(200, {"concurrency_limit": None})],
        f"PATCH {POOL}/queues/default": [(503, {}), (204, {})],
        f"GET {POOL}/queues/maintenance": [(404, {})],
        f"POST {POOL}/queues": [(409, {})],
        f"PATCH {POOL}/queues/maintenance": [(204, {})],
    }
    with answering(answers) as (url, asked), PrefectServer(url, "pulsar:x") as server:
        server.ensure_pool(3)
    making = [f"GET {POOL}", f"GET {POOL}", "GET /csrf-token", "POST /work_pools/", "POST /work_pools/"]
    limiting = [f"GET {POOL}/queues/default", *[f"PATCH {POOL}/queues/default"] * 2]
    queue = f"{POOL}/queues/maintenance"
    assert asked == [*making, *limiting, f"GET {queue}", f"POST {POOL}/queues", f"PATCH {queue}"]


def test_what_is_as_it_should_be_is_only_read() -> None:
    limits = {POOL: 5, f"{POOL}/queues/default": 3, f"{POOL}/queues/maintenance": 2}
    answers: dict[str, list[Answer]] = {
        f"GET {path}": [(200, {"concurrency_limit": limit})] for path, limit in limits.items()
    }
    with answering(answers) as (url, asked), PrefectServer(url, "pulsar:x") as server:
        server.ensure_pool(3)
    assert asked == list(answers)


@pytest.mark.parametrize(
    ("directory", "note", "deployed"), [("/here", "mark", True), ("/elsewhere", "mark", False), ("/here", "old", False)]
)
def test_only_what_changed_is_deployed_again(directory: str, note: str, deployed: bool) -> None:
    answers: dict[str, list[Answer]] = {
        "GET /deployments/name/dispatch_scan/pulsar": [
            (200, {"pull_steps": [{SET_DIRECTORY: {"directory": directory}}]})
        ],
        "GET /variables/name/pulsar_deployed": [(200, {"value": note})],
    }
    with answering(answers) as (url, _), PrefectServer(url, "") as server:
        assert server.has_deployed("mark", Path("/here")) is deployed


def test_a_token_that_a_busy_server_mixed_up_is_asked_for_again() -> None:
    answers: dict[str, list[Answer]] = {
        "GET /csrf-token": [(200, {"token": "lost"}), (200, {"token": "good"})],
        "POST /variables/": [(403, {}), (201, {})],
    }
    with answering(answers) as (url, asked), PrefectServer(url, "") as server:
        server.note_deployed("mark")
        assert asked == ["GET /csrf-token", "POST /variables/"] * 2
        answers["POST /variables/"] = [(403, {})]
        with pytest.raises(PlatformError, match="403"):
            server.note_deployed("mark")


def test_a_fingerprint_changes_with_the_flow_and_the_place(tmp_path: Path) -> None:
    marks = set()
    for place, flow, chores in (("one", "a", "a"), ("one", "b", "a"), ("two", "b", "a"), ("two", "b", "b")):
        root = tmp_path / place
        (root / "flows").mkdir(parents=True, exist_ok=True)
        (root / "prefect.yaml").write_text("name: pulsar")
        (root / "flows" / "scan.py").write_text(flow)
        (root / "flows" / "maintenance.py").write_text(chores)
        marks.add(fingerprint(root))
    assert len(marks) == 4
