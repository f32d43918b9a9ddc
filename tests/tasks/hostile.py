"""Listeners that do not keep to any protocol: they hang, flood, drip, babble, or close at once."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable
from threading import Event, Thread
from typing import Self

Manner = Callable[[socket.socket, Event], None]


def hang(connection: socket.socket, over: Event) -> None:
    """Say nothing, and keep the connection."""
    over.wait()


def close(connection: socket.socket, over: Event) -> None:
    """Close at once."""


def flood(connection: socket.socket, over: Event) -> None:
    """Write without end, no line break in it."""
    while not over.is_set():
        connection.sendall(b"A" * 65536)


def flood_lines(connection: socket.socket, over: Event) -> None:
    """Write lines without end."""
    while not over.is_set():
        connection.sendall(b"220-more\r\n" * 4096)


def drip(connection: socket.socket, over: Event) -> None:
    """Write a byte now and then, so that no read times out and nothing is ever complete."""
    while not over.wait(0.2):
        connection.sendall(b"\x16")


def babble(connection: socket.socket, over: Event) -> None:
    """Write bytes that are no text and no protocol, and close."""
    connection.sendall(bytes(range(256)) * 16)


MANNERS: tuple[Manner, ...] = (hang, close, flood, flood_lines, drip, babble)


def scripted(reply: bytes, cue: bytes = b"") -> Manner:
    """Answer the first thing that contains `cue` with these bytes, and close."""

    def answer(connection: socket.socket, over: Event) -> None:
        heard = b""
        while cue not in heard or not heard:
            piece = connection.recv(65536)
            if not piece:
                return
            heard += piece
        connection.sendall(reply)

    return answer


class Listener:
    """Listens on a free port of an address while its context is open, and treats each connection in one manner."""

    def __init__(self, manner: Manner, address: str = "127.0.0.1") -> None:
        self._manner = manner
        self._over = Event()
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._listening = socket.create_server((address, 0), family=family, backlog=64)
        self._listening.settimeout(0.1)
        self.port: int = self._listening.getsockname()[1]
        self.connections = 0
        self._threads: list[Thread] = []

    def __enter__(self) -> Self:
        self._threads.append(Thread(target=self._accept))
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()
        self._listening.close()

    def _accept(self) -> None:
        while not self._over.is_set():
            with contextlib.suppress(TimeoutError):
                connection, _ = self._listening.accept()
                self.connections += 1
                self._threads.append(Thread(target=self._treat, args=(connection,)))
                self._threads[-1].start()

    def _treat(self, connection: socket.socket) -> None:
        connection.settimeout(5)
        with connection, contextlib.suppress(OSError):
            self._manner(connection, self._over)
