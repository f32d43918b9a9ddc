"""A short conversation with a service: one connection, so many bytes and seconds at most, over as soon as the scan is.

What a service answers is bounded here whatever it does: it may hang, drip, flood, or say nothing that was expected.
"""

from __future__ import annotations

import os
import re
import select
import socket
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

MOST_BYTES = 256 * 1024
"""Read of one service in all."""
SLICE_SECONDS = 0.2
"""How often it is looked whether the scan is over."""
PIECE = 65536


class Garbled(Exception):
    """What came is nothing that this protocol says."""


class Over(Exception):
    """The scan was stopped, or the unit's time is up."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a service is, and how it is spoken to. `seconds` is for one conversation in all."""

    address: str
    port: int
    secured: bool
    seconds: float
    is_over: Callable[[], bool]


class Talk:
    """A connection to a service while its context is open.

    Everything raises `TimeoutError` when the time is up, `Over` when the scan is, `OSError` where the connection
    fails, and `Garbled` where more comes than may.
    """

    def __init__(self, place: Place) -> None:
        self._place = place
        self._until = time.monotonic() + place.seconds
        self._heard = b""
        self._total = 0
        self._ended = False
        self._socket: socket.socket

    def __enter__(self) -> Self:
        family = socket.AF_INET6 if ":" in self._place.address else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_STREAM)
        try:
            self._connect()
        except BaseException:
            self._socket.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def _connect(self) -> None:
        self._socket.setblocking(False)
        self._socket.connect_ex((self._place.address, self._place.port))
        self._wait(for_writing=True)
        if failure := self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            raise OSError(failure, os.strerror(failure))
        if self._place.secured:
            # Whether its certificate is any good is another module's question.
            context = ssl._create_unverified_context()  # noqa: S323
            self._socket.settimeout(max(0.1, self._until - time.monotonic()))
            self._socket = context.wrap_socket(self._socket)
        self._socket.setblocking(False)

    def _wait(self, *, for_writing: bool = False) -> None:
        while True:
            if self._place.is_over():
                raise Over
            if time.monotonic() > self._until:
                raise TimeoutError("no whole answer in time")
            wanted = [self._socket]
            readable, writable, _ = select.select(
                [] if for_writing else wanted, wanted if for_writing else [], [], SLICE_SECONDS
            )
            if readable or writable:
                return

    def say(self, data: bytes) -> None:
        """Send all of it: requests are small, and fit into any socket's buffer."""
        self._wait(for_writing=True)
        self._socket.sendall(data)

    def line(self) -> bytes:
        """The next line without its end; what there was, where the service closed before one ended."""
        while b"\n" not in self._heard and self._listen():
            pass
        line, _, self._heard = self._heard.partition(b"\n")
        return line.rstrip(b"\r")

    def exactly(self, count: int) -> bytes:
        """So many bytes. Raises `Garbled` where the service closed before."""
        if count > MOST_BYTES:
            raise Garbled("it announces more than is read of it")
        while len(self._heard) < count:
            if not self._listen():
                raise Garbled("it closed in the middle of its answer")
        found, self._heard = self._heard[:count], self._heard[count:]
        return found

    def rest(self, most: int = MOST_BYTES) -> bytes:
        """All until the service closes, or until there is enough."""
        while len(self._heard) < most and self._listen():
            pass
        found, self._heard = self._heard[:most], b""
        return found

    def _listen(self) -> bool:
        if self._ended:
            return False
        while True:
            # What TLS has read and decrypted already makes no socket readable.
            if not (isinstance(self._socket, ssl.SSLSocket) and self._socket.pending()):
                self._wait()
            try:
                piece = self._socket.recv(PIECE)
            except (BlockingIOError, ssl.SSLWantReadError):
                continue
            break
        self._ended = not piece
        self._heard += piece
        self._total += len(piece)
        if self._total > MOST_BYTES:
            raise Garbled("it says more than is read of it")
        return not self._ended


@dataclass(frozen=True, slots=True)
class Page:
    """What a web server answered."""

    status: int
    head: str
    body: str


_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})\b[^\r\n]*\r?\n")


def get(place: Place, path: str, most: int = PIECE) -> Page:
    """Ask for one page, follow nothing. HTTP/1.0, so that nothing comes in chunks or compressed (RFC 1945)."""
    host = f"[{place.address}]" if ":" in place.address else place.address
    with Talk(place) as talk:
        talk.say(f"GET {path} HTTP/1.0\r\nHost: {host}:{place.port}\r\nAccept: */*\r\n\r\n".encode())
        answer = talk.rest(most)
    match = _STATUS.match(answer)
    if match is None:
        raise Garbled("it does not speak HTTP")
    head, _, body = answer[match.end() :].replace(b"\r\n", b"\n").partition(b"\n\n")
    return Page(int(match[1]), head.decode(errors="replace"), body.decode(errors="replace"))
