"""A small web server of a test's own, which keeps what it heard: pages by their path, or by host and path."""

from __future__ import annotations

import re
import socket
from collections.abc import Mapping
from contextlib import AbstractContextManager
from threading import Event

from tests.tasks.hostile import Listener

_ASKED = re.compile(rb"GET (\S+) .*?\r\nHost: ([^\r]*)", re.DOTALL)


class Site(AbstractContextManager["Site"]):
    """Serves on a free port of an address while its context is open; what it has no page for is not found.

    `pages` are by `/path` or, for one host alone, by `host /path`; there is always one at `/`. `away` is where
    `/away` redirects to; `header` are whole lines.
    """

    def __init__(
        self, pages: Mapping[str, bytes] = {}, address: str = "127.0.0.1", *, away: str = "", header: str = ""
    ) -> None:
        self.heard: list[bytes] = []
        self._pages, self._away, self._header = pages, away, header
        self._listener = Listener(self._answer, address)
        self.port = self._listener.port

    def __enter__(self) -> Site:
        self._listener.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.__exit__()

    def asked(self) -> list[str]:
        """`host:port /path` of each request, in order."""
        found = (_ASKED.search(heard) for heard in self.heard)
        return [f"{match[2].decode()} {match[1].decode()}" for match in found if match]

    def hosts(self) -> set[str]:
        """Which hosts it was asked for."""
        return {asked.partition(" ")[0] for asked in self.asked()}

    def _answer(self, connection: socket.socket, over: Event) -> None:
        self.heard.append(connection.recv(65536))
        match = _ASKED.search(self.heard[-1])
        path, host = (match[1].decode(), match[2].decode().rpartition(":")[0]) if match else ("/", "")
        page = self._pages.get(f"{host} {path}", self._pages.get(path))
        status = "200 OK" if page is not None or path == "/" else "404 Not Found"
        if path == "/away":
            status = f"302 Found\r\nLocation: {self._away}"
        body = page or b""
        head = f"HTTP/1.1 {status}\r\n{self._header}Connection: close\r\nContent-Length: {len(body)}\r\n\r\n"
        connection.sendall(head.encode() + body)
