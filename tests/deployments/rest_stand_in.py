"""A small HTTP server on loopback that answers like the REST API, from a script: what the command is tested against."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

TOKEN = "t0ken-of-the-stand-in"
SCAN_ID = "0190a7f4-5cc1-7a55-9a6e-2a6f2d3b7c11"

Answer = tuple[int, Any]


def scan(status: str = "STARTED", progress: float = 0, **more: Any) -> dict[str, Any]:
    """A scan as `/api/scans/{id}/` shows it."""
    over = status in ("SUCCESS", "FAILURE", "REVOKED")
    return {
        "id": SCAN_ID,
        "target": "127.0.0.1",
        "asset": None,
        "policy": "quick",
        "comment": "",
        "status": status,
        "progress": progress,
        "created_at": "2026-03-01T10:00:00Z",
        "started_at": "2026-03-01T10:00:02Z",
        "finished_at": "2026-03-01T10:01:16Z" if over else None,
        "task_id": "7f5f0d0e-6a0e-4a61-8a1c-0d7c6f9b9f10",
        "state": status.title(),
        "warnings": [],
        "error": None,
        "modules": [],
        "counts": {"domains": 0, "hosts": 1, "services": 2, "findings": 0},
        "score": 12,
    } | more


def nmap_at(progress: float, **more: Any) -> dict[str, Any]:
    """A scan in which nmap is at work on the third of eight units."""
    run = {"name": "nmap", "status": "running", "units": 8, "done": 1, "failed": 1, "running": 1, "progress": progress}
    return scan("STARTED", progress, modules=[run | {"detail": None, "error": None} | more])


def service(host: str, port: int, **more: Any) -> dict[str, Any]:
    """An open port as `/services/` shows it."""
    known = {"host": host, "port": port, "protocol": "tcp", "service": "http", "product": None, "version": None}
    return known | {"detail": None} | more


@dataclass
class StandIn:
    """What the server answers and what it was asked. `story`: the scan's successive answers; the last one stays."""

    url: str = ""
    story: list[dict[str, Any] | Answer] = field(default_factory=lambda: [scan("SUCCESS", 100)])
    on_post: Answer = (201, scan("PENDING"))
    on_delete: Answer = (204, b"")
    rows: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: {"technologies": [], "findings": []})
    answers: dict[tuple[str, str], Answer] = field(default_factory=dict)
    """What is answered to a method and path before anything else is looked for."""
    asked: list[tuple[str, str, dict[str, str], Any]] = field(default_factory=list)
    """Method, path with query, headers, JSON body."""

    def answer(self, method: str, path: str, query: dict[str, list[str]], authorization: str) -> Answer:
        """Answer one request."""
        if path == "/api/health/":
            return self.answers.get((method, path), (200, {"status": "ok"}))
        if authorization != f"Token {TOKEN}":
            return 401, {"error": "unauthorized", "detail": "A valid token is needed."}
        if (method, path) in self.answers:
            return self.answers[method, path]
        if method == "POST":
            return self.on_post
        if method == "DELETE":
            return self.on_delete
        if path == f"/api/scans/{SCAN_ID}/":
            now = self.story.pop(0) if len(self.story) > 1 else self.story[0]
            return now if isinstance(now, tuple) else (200, now)
        return self._page(path, query)

    def _page(self, path: str, query: dict[str, list[str]]) -> Answer:
        name = path.strip("/").rpartition("/")[2]
        if name not in self.rows:
            return 404, {"error": "not_found", "detail": "There is no scan of that id."}
        rows, page, size = self.rows[name], int(query["page"][0]), int(query["page_size"][0])
        assert size <= 100
        more = f"{self.url}{path}?page={page + 1}" if page * size < len(rows) else None
        return 200, {
            "count": len(rows),
            "next": more,
            "previous": None,
            "results": rows[(page - 1) * size : page * size],
        }


@contextmanager
def serving(stand_in: StandIn) -> Iterator[StandIn]:
    """Serve on a free port of loopback for as long as the block lasts."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _serve(self) -> None:
            size = int(self.headers.get("Content-Length", 0))
            body = json.loads(self.rfile.read(size)) if size else None
            stand_in.asked.append((self.command, self.path, dict(self.headers), body))
            at = urlsplit(self.path)
            words = (self.command, at.path, parse_qs(at.query), self.headers.get("Authorization", ""))
            status, content = stand_in.answer(*words)
            raw = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        do_GET = do_POST = do_PUT = do_DELETE = _serve  # noqa: N815 - the names that http.server calls

        def log_message(self, *words: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    stand_in.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield stand_in
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()
