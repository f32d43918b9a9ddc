"""A short conversation with a service: one connection, so many bytes and seconds at most, over as soon as the scan is.

What a service answers is bounded here whatever it does: it may hang, drip, flood, or say nothing that was expected.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import ssl
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from ipaddress import ip_address
from typing import Self, TypeVar

MOST_BYTES = 256 * 1024
"""Read of one conversation in all."""
MOST_LINE = 8192
MOST_DATAGRAMS = 50
"""That are no answer, until it counts as none of this protocol."""
SLICE_SECONDS = 0.2
"""How often it is looked whether the scan is over."""
PIECE = 65536

Done = TypeVar("Done")


class Garbled(Exception):
    """What came is nothing that this protocol says."""


class Over(Exception):
    """The scan was stopped, or the unit's time is up."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a service is (an address, never a name) and how it is spoken to. `seconds` is for one conversation."""

    address: str
    port: int
    secured: bool
    seconds: float
    is_over: Callable[[], bool]

    @property
    def family(self) -> socket.AddressFamily:
        """Raises `ValueError` for what is no address: a name would be looked up."""
        return socket.AF_INET6 if ip_address(self.address).version == 6 else socket.AF_INET


class Talk:
    """A connection to a service while its context is open, over TLS where the place is secured.

    Everything raises `TimeoutError` when the time is up, `Over` when the scan is, `OSError` where there is no
    connection or it ends before a byte came, and `Garbled` where more comes than may, or what is no TLS.
    """

    def __init__(self, place: Place) -> None:
        self._place = place
        self._until = time.monotonic() + place.seconds
        self._awaited = "connection"
        self._heard = b""
        self._total = 0
        self._ended = False
        self._stack = ExitStack()
        self._socket: socket.socket

    def __enter__(self) -> Self:
        with self._stack:
            self._socket = self._stack.enter_context(socket.socket(self._place.family, socket.SOCK_STREAM))
            self._socket.setblocking(False)
            self._connect()
            if self._place.secured:
                self._secure()
            self._awaited = "whole answer"
            self._stack = self._stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _connect(self) -> None:
        failure = self._socket.connect_ex((self._place.address, self._place.port))
        if failure == errno.EINPROGRESS:
            self._wait(select.POLLOUT)
            failure = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if failure:
            raise OSError(failure, os.strerror(failure))

    def _secure(self) -> None:
        self._awaited = "TLS handshake"
        secure = _lenient().wrap_socket(self._socket, do_handshake_on_connect=False)
        self._socket = self._stack.enter_context(secure)
        try:
            self._patiently(secure.do_handshake)
        except ConnectionError:
            raise Garbled("it broke the TLS handshake off") from None

    def _wait(self, events: int) -> None:
        _wait(self._socket, events, self._place, self._until, self._awaited)

    def _patiently(self, act: Callable[[], Done], events: int = select.POLLIN) -> Done:
        """Do what gives or takes bytes as soon as that can be done. TLS may want to read where it is to write."""
        while True:
            try:
                return act()
            except BlockingIOError:
                self._wait(events)
            except ssl.SSLWantReadError:
                self._wait(select.POLLIN)
            except ssl.SSLWantWriteError:
                self._wait(select.POLLOUT)
            except ssl.SSLEOFError:
                raise ConnectionResetError(errno.ECONNRESET, "it broke the connection off") from None
            except ssl.SSLError as error:
                raise Garbled(f"TLS failed: {error.reason or 'no reason given'}") from None

    def say(self, data: bytes) -> None:
        """Send all of it. That the service listens no more is seen when it is to be heard: it may have spoken first."""
        with suppress(ConnectionError):
            while data:
                sent = self._patiently(partial(self._socket.send, data), select.POLLOUT)
                data = data[sent:]

    def line(self) -> bytes:
        """The next line without its end; what there was, where the service closed before one ended."""
        while b"\n" not in self._heard:
            if len(self._heard) > MOST_LINE:
                raise Garbled("it says a line without end")
            if not self._listen():
                break
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

    def some(self) -> bytes:
        """What comes next, however little; nothing once the service has closed."""
        if not self._heard:
            self._listen()
        found, self._heard = self._heard, b""
        return found

    def _listen(self) -> bool:
        """Hear more. False once the service has closed, in whichever way."""
        if self._ended:
            return False
        if self._place.is_over():
            raise Over
        try:
            piece = self._patiently(partial(self._socket.recv, PIECE))
        except ConnectionError:
            if not self._total:
                raise
            piece = b""
        self._ended = not piece
        self._heard += piece
        self._total += len(piece)
        if not self._total:
            raise ConnectionAbortedError(errno.ECONNABORTED, "it closed without a word")
        if self._total > MOST_BYTES:
            raise Garbled("it says more than is read of it")
        return not self._ended


def _lenient() -> ssl.SSLContext:
    """TLS with whatever there is: a certificate or a protocol that is no good is another module's question."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    context.set_ciphers("ALL:@SECLEVEL=0")
    return context


def _wait(of: socket.socket, events: int, place: Place, until: float, awaited: str) -> None:
    poll = select.poll()
    poll.register(of, events)
    while True:
        if place.is_over():
            raise Over
        left = until - time.monotonic()
        if left <= 0:
            raise TimeoutError(f"no {awaited} in {place.seconds:g} s")
        if poll.poll(1000 * min(left, SLICE_SECONDS)):
            return


def exchange(place: Place, question: bytes, answer_of: Callable[[bytes], Done | None]) -> Done:
    """Ask in a datagram, once more where nothing has come for half of the time; what `answer_of` takes for the answer.

    Raises as `Talk` does; `OSError` where the host says that nobody listens there.
    """
    begun = time.monotonic()
    with socket.socket(place.family, socket.SOCK_DGRAM) as speaking:
        speaking.setblocking(False)
        speaking.connect((place.address, place.port))
        for until in (begun + place.seconds / 2, begun + place.seconds):
            speaking.send(question)
            try:
                return _answered(speaking, place, until, answer_of)
            except TimeoutError:
                continue
    raise TimeoutError(f"no answer in {place.seconds:g} s")


def _answered(of: socket.socket, place: Place, until: float, answer_of: Callable[[bytes], Done | None]) -> Done:
    for _ in range(MOST_DATAGRAMS):
        _wait(of, select.POLLIN, place, until, "answer")
        try:
            answer = answer_of(of.recv(PIECE))
        except BlockingIOError:  # its checksum was wrong
            continue
        if answer is not None:
            return answer
    raise Garbled("it says nothing of this protocol")
