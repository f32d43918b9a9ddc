"""A visit to one web endpoint: pages asked for at its own address and port, by its own name, and nowhere else.

Nothing is resolved, no proxy is used, no cookie kept and no certificate judged. A redirect is followed where it leads
to the very same endpoint. Whatever it answers is bounded in bytes and in time: it may hang, drip, flood or babble.
"""

from __future__ import annotations

import asyncio
import ssl
import time
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import urlsplit

import httpx

from footprint.records import Endpoint, Outcome
from footprint.text import clean

MOST_BYTES = 256 << 10
"""Read of one page, packed and unpacked. Its head may have 100 KiB: httpcore reads no more."""
REDIRECTS = frozenset({301, 302, 303, 307, 308})
MOST_URL = 2000
USUAL_PORTS = {"http": 80, "https": 443}
PACKED = frozenset({"gzip", "x-gzip", "deflate"})


class Unanswered(Exception):
    """A page was not to be had: what that makes of the endpoint, and why, in a note's words."""

    def __init__(self, outcome: Outcome, note: str) -> None:
        super().__init__(note)
        self.outcome = outcome
        self.note = note


class Turn(Protocol):
    """What every request waits for."""

    async def take(self) -> None:
        """Wait until the next request may be sent."""


@dataclass(frozen=True, slots=True)
class Manners:
    """How an endpoint is asked. `seconds` are for all that it answers; `hops` redirects are followed at most."""

    seconds: float
    user_agent: str
    hops: int = 5


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer: its body unpacked, as far as it was read. `lack` says why that is not all; `is_late`: time ran out."""

    url: httpx.URL
    status: int
    headers: httpx.Headers
    body: bytes
    lack: str = ""
    is_late: bool = False

    @property
    def onward(self) -> str | None:
        """Where it sends whoever asks, made absolute where that can be done."""
        told = self.headers.get("location") if self.status in REDIRECTS else None
        if not told:
            return None
        led = joined(self.url, told)
        return clean(told if led is None else str(led), MOST_URL)


@dataclass(frozen=True, slots=True)
class FirstPage:
    """What the first page came to: every answer on the way, and the addresses that it led to.

    The last address was not followed where there are as many as answers.
    """

    replies: tuple[Reply, ...]
    redirects: tuple[str, ...] = ()
    lack: str = ""
    is_late: bool = False

    @property
    def last(self) -> Reply:
        """The answer that was led to in the end."""
        return self.replies[-1]


@dataclass(slots=True)
class _Heard:
    """An answer while it comes."""

    head: httpx.Response | None = None
    body: bytearray = field(default_factory=bytearray)
    connection: Any = None

    async def note(self, event: str, told: Mapping[str, Any]) -> None:
        """Keep the connection, as httpcore tells of it (its `trace` extension)."""
        if event == "connection.connect_tcp.complete":
            self.connection = told["return_value"]


class Visit:
    """Asks one endpoint for pages; `requests` were sent so far."""

    def __init__(self, endpoint: Endpoint, manners: Manners, transport: httpx.AsyncBaseTransport, turns: Turn) -> None:
        self.start = httpx.URL(endpoint.url)
        self.requests = 0
        self._endpoint = endpoint
        self._manners = manners
        self._transport = transport
        self._turns = turns
        self._left = manners.seconds

    async def first_page(self) -> FirstPage:
        """Ask for the first page, and for what it leads to here. Raises `Unanswered` where nothing came."""
        replies = [await self.get(self.start)]
        redirects: list[str] = []
        while (onward := replies[-1].onward) is not None:
            redirects.append(onward)
            url = joined(replies[-1].url, onward)
            is_new = url not in [reply.url for reply in replies]
            if url is None or not is_new or not self.is_here(url) or len(replies) > self._manners.hops:
                break
            try:
                replies.append(await self.get(url))
            except Unanswered as why:
                is_late = why.outcome is Outcome.TIMED_OUT
                return FirstPage(tuple(replies), tuple(redirects), f"what it led to: {why.note}", is_late)
        return FirstPage(tuple(replies), tuple(redirects), replies[-1].lack, replies[-1].is_late)

    def is_here(self, url: httpx.URL) -> bool:
        """True where an address is of this endpoint: the same name, port and scheme."""
        host = url.raw_host.decode(errors="replace").lower().removesuffix(".")
        port = url.port or USUAL_PORTS.get(url.scheme)
        endpoint = self._endpoint
        return (url.scheme, host, port) == (self.start.scheme, endpoint.name or endpoint.address, endpoint.port)

    async def get(self, url: httpx.URL, most: int = MOST_BYTES) -> Reply:
        """Ask for one page of this endpoint, follow nothing. Raises `Unanswered`."""
        await self._turns.take()
        self.requests += 1
        heard, begun = _Heard(), time.monotonic()
        try:
            async with asyncio.timeout(max(0.0, self._left)):
                await self._read(self._request(url, heard), heard, most)
        except (TimeoutError, httpx.TransportError, OSError, ValueError) as error:
            return self._broken(url, heard, error, most)
        finally:
            self._left -= time.monotonic() - begun
        return _reply(url, heard, most, "its beginning was read only" if len(heard.body) > most else "")

    def _request(self, url: httpx.URL, heard: _Heard) -> httpx.Request:
        endpoint, seconds = self._endpoint, max(0.1, self._left)
        there = httpx.URL(scheme=self.start.scheme, host=endpoint.address, port=endpoint.port, raw_path=url.raw_path)
        headers = {
            "Host": urlsplit(endpoint.url).netloc,
            "User-Agent": self._manners.user_agent,
            "Accept": "text/html,*/*;q=0.8",
            "Accept-Encoding": "identity",
            "Connection": "close",  # over one of another name another site would answer
        }
        timeout = dict.fromkeys(("connect", "read", "write", "pool"), seconds)
        extensions = {"timeout": timeout, "trace": heard.note, "sni_hostname": endpoint.name}
        return httpx.Request("GET", there, headers=headers, extensions=extensions)

    async def _read(self, request: httpx.Request, heard: _Heard, most: int) -> None:
        # Not through a client of httpx: that would keep cookies, and stumble over redirects that lead nowhere.
        try:
            heard.head = await self._transport.handle_async_request(request)
            async for piece in heard.head.aiter_raw():
                heard.body += piece
                if len(heard.body) > most:
                    break
        finally:
            if heard.head:
                await heard.head.aclose()
            if heard.connection:
                await heard.connection.aclose()  # httpcore leaves it open where TLS was being agreed upon

    def _broken(self, url: httpx.URL, heard: _Heard, error: Exception, most: int) -> Reply:
        is_late = isinstance(error, TimeoutError | httpx.TimeoutException)
        if heard.head is None:
            raise _unanswered(error, self._manners.seconds, is_late=is_late) from None
        lack = f"it did not end within {self._manners.seconds:g} s" if is_late else "it broke off"
        return _reply(url, heard, most, lack, is_late=is_late)


def joined(base: httpx.URL, text: str) -> httpx.URL | None:
    """Where a reference on a page leads to (RFC 3986, 5.2), or None where nobody can say."""
    if len(text) > MOST_URL:
        return None
    try:
        return base.join(text)
    except (httpx.InvalidURL, ValueError):
        return None


def transport() -> httpx.AsyncHTTPTransport:
    """Connections for visits, over TLS of any age and with any certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    # What is spoken, however old: that it should not be is the tls module's to say.
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    context.set_ciphers("ALL:@SECLEVEL=0")
    return httpx.AsyncHTTPTransport(verify=context, trust_env=False)


def _unanswered(error: Exception, seconds: float, *, is_late: bool) -> Unanswered:
    if is_late:
        return Unanswered(Outcome.TIMED_OUT, f"no answer within {seconds:g} s")
    said = clean(str(error), 200)
    if not isinstance(error, httpx.RemoteProtocolError):
        return Unanswered(Outcome.SILENT, f"no connection: {said}")
    if "disconnected" in said:
        return Unanswered(Outcome.SILENT, "it closed without an answer")
    return Unanswered(Outcome.ANSWERED, f"its answer is no HTTP, or too much of it: {said}")


def _reply(url: httpx.URL, heard: _Heard, most: int, lack: str, *, is_late: bool = False) -> Reply:
    assert heard.head is not None
    body = bytes(heard.body[:most])
    if heard.head.headers.get("content-encoding", "").lower() in PACKED:
        body = _unpacked(body, most)
    return Reply(url, heard.head.status_code, heard.head.headers, body, lack, is_late)


def _unpacked(body: bytes, most: int) -> bytes:
    """What a server packed although it was asked not to; never more of it than is read of a plain one."""
    for window in (zlib.MAX_WBITS | 32, -zlib.MAX_WBITS):
        try:
            return zlib.decompressobj(window).decompress(body, most)
        except zlib.error:
            continue
    return body
