"""A web server that answers each path with the bytes it was given, and writes down what it was asked.

site = Scripted({"/": page(b"<title>x</title>"), "/.git/HEAD": hang})
with Listener(site) as listener:
    ...
site.paths == ["/", "/favicon.ico", "/.git/HEAD"]
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from threading import Event

from tests.tasks.hostile import Manner

HTML = "Content-Type: text/html; charset=utf-8"


def page(body: bytes = b"", *headers: str, status: str = "200 OK") -> bytes:
    """A whole answer: HTML unless its headers say otherwise."""
    is_told = any(header.lower().startswith("content-type") for header in headers)
    lines = [f"HTTP/1.1 {status}", *headers, *([] if is_told else [HTML]), f"Content-Length: {len(body)}"]
    return "".join(f"{line}\r\n" for line in lines).encode("latin-1") + b"\r\n" + body


def moved(location: str, *headers: str, status: str = "302 Found") -> bytes:
    """A redirect."""
    return page(b"", f"Location: {location}", *headers, status=status)


NOT_FOUND = page(b"<title>404</title>", status="404 Not Found")


class Scripted:
    """Treats a connection as its path is to be treated: with bytes, or in a manner; `*` is any path not named."""

    def __init__(self, answers: Mapping[str, bytes | Manner]) -> None:
        self._answers = {"*": NOT_FOUND, **answers}
        self.asked: list[str] = []
        """The heads of requests, in the order in which they came."""

    def __call__(self, connection: socket.socket, over: Event) -> None:
        """Read one request, and answer it."""
        heard = b""
        while b"\r\n\r\n" not in heard:
            piece = connection.recv(65536)
            if not piece:
                return
            heard += piece
        self.asked.append(heard.decode("latin-1"))
        path = heard.split(b" ")[1].decode("latin-1")
        answer = self._answers.get(path, self._answers["*"])
        if isinstance(answer, bytes):
            connection.sendall(answer)
        else:
            answer(connection, over)

    @property
    def paths(self) -> list[str]:
        """What was asked for, in order."""
        return [head.split(" ")[1] for head in self.asked]

    def headers(self, number: int = 0) -> dict[str, str]:
        """The headers of a request, their names in lower case."""
        lines = self.asked[number].split("\r\n")[1:]
        return {name.lower(): value for name, _, value in (line.partition(": ") for line in lines if line)}
