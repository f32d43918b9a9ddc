"""Visits to endpoints that hang, drip, flood, babble, pack bombs, or send one elsewhere: bounded, and always here."""

from __future__ import annotations

import asyncio
import gzip
import socket
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from threading import Event

import pytest

from footprint.records import Endpoint, Outcome
from tasks.outside import Turns
from tasks.visit import MOST_BYTES, FirstPage, Manners, Unanswered, Visit, transport
from tests.estate.tls_hosts import TlsServer, make_certificates
from tests.tasks.hostile import Listener, Manner, babble, close, drip, flood, flood_lines, hang, scripted
from tests.tasks.web_listener import Scripted, moved, page

HERE = "127.0.0.1"
NAME = "www.example.test"


def visit(endpoint: Endpoint, seconds: float = 10, hops: int = 5) -> tuple[FirstPage, int]:
    """The first page of an endpoint, and how many requests it took."""

    async def look() -> tuple[FirstPage, int]:
        async with transport() as connections:
            started = Visit(endpoint, Manners(seconds, "Tester/1", hops), connections, Turns(1000))
            return await started.first_page(), started.requests

    return asyncio.run(look())


def first_page(answers: bytes | Manner, seconds: float = 10, name: str | None = NAME) -> FirstPage:
    with Listener(Scripted({"/": answers})) as listener:
        return visit(Endpoint(HERE, listener.port, name, "http"), seconds)[0]


def unanswered(manner: Manner, seconds: float = 10, service: str = "http") -> Unanswered:
    with Listener(manner) as listener, pytest.raises(Unanswered) as raised:
        visit(Endpoint(HERE, listener.port, NAME, service), seconds)
    return raised.value


# Asking


def test_it_asks_the_address_by_the_name_and_says_who_asks() -> None:
    site = Scripted({"/": page(b"hello", "X-Own: 1")})
    with Listener(site) as listener:
        seen, requests = visit(Endpoint(HERE, listener.port, NAME, "http"))
        assert site.headers()["host"] == f"{NAME}:{listener.port}"
    assert (seen.last.status, seen.last.body, seen.last.headers["x-own"], seen.lack) == (200, b"hello", "1", "")
    assert site.headers()["user-agent"] == "Tester/1"
    assert site.headers()["accept-encoding"] == "identity"
    assert site.headers()["connection"] == "close"
    assert requests == len(site.asked) == 1


def test_it_asks_over_ipv6_where_the_address_is_one() -> None:
    site = Scripted({"/": moved("/in"), "/in": page(b"six")})
    with Listener(site, "::1") as listener:
        assert visit(Endpoint("::1", listener.port, None, "http"))[0].last.body == b"six"
        assert [site.headers(number)["host"] for number in (0, 1)] == [f"[::1]:{listener.port}"] * 2


def test_nothing_is_resolved_and_no_proxy_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    def resolve(*_: object, **__: object) -> None:
        raise AssertionError("a name was looked up")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    proxy = Scripted({"*": page(b"from the proxy")})
    with Listener(proxy) as elsewhere:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, f"http://{HERE}:{elsewhere.port}")
        assert first_page(page(b"from itself")).last.body == b"from itself"
        assert elsewhere.connections == 0


def test_a_cookie_is_not_sent_back() -> None:
    site = Scripted({"/": moved("/in", "Set-Cookie: id=1"), "/in": page(b"in")})
    with Listener(site) as listener:
        visit(Endpoint(HERE, listener.port, NAME, "http"))
    assert ["cookie" in site.headers(number) for number in (0, 1)] == [False, False]


def test_over_tls_the_server_is_asked_for_the_name_and_no_certificate_is_judged(tmp_path: Path) -> None:
    made = make_certificates(tmp_path)
    with TlsServer(HERE, made["expired"], reply=page(b"over TLS")) as server:
        for name in (NAME, "under_score.example.test", None):
            seen = visit(Endpoint(HERE, server.port, name, "http", "ssl"))[0]
            assert seen.last.body == b"over TLS"
        assert server.server_names == [NAME, "under_score.example.test", None]


# Redirects


def test_redirects_to_itself_are_followed_and_written_down() -> None:
    site = Scripted({"/": moved("/a"), "/a": moved(f"//{NAME.upper()}.:PORT/b?x=1#top"), "*": page(b"end")})
    with Listener(site) as listener:
        site._answers["/a"] = moved(f"//user@{NAME.upper()}:{listener.port}/b?x=1#top")
        seen, _ = visit(Endpoint(HERE, listener.port, NAME, "http"))
        assert seen.redirects[0] == f"http://{NAME}:{listener.port}/a"
    assert site.paths == ["/", "/a", "/b?x=1"]
    assert len(seen.redirects) == 2
    assert not any("authorization" in site.headers(number) for number in range(3))


ELSEWHERE: list[Callable[[int, int], str]] = [
    lambda port, other: f"http://{HERE}:{other}/",
    lambda port, other: f"http://{NAME}:{other}/",
    lambda port, other: f"//{HERE}:{other}/",
    lambda port, other: f"http://{NAME}@{HERE}:{other}/",
    lambda port, other: f"http://{HERE}:{port}/other-name",
    lambda port, other: f"http://elsewhere.example.test:{port}/other-name",
    lambda port, other: f"https://{NAME}:{port}/other-scheme",
    lambda port, other: "file:///etc/passwd",
    lambda port, other: "javascript:alert(1)",
    lambda port, other: "http://[::1",
    lambda port, other: "http://\x01\x1b[31m/",
    lambda port, other: f"http://{'a' * 3000}/",
    lambda port, other: "http://xn--\xff.test:99999999/",
]


@pytest.mark.parametrize("location", ELSEWHERE)
def test_a_redirect_to_anywhere_else_is_written_down_and_not_followed(location: Callable[[int, int], str]) -> None:
    site, other = Scripted({}), Scripted({})
    with Listener(site) as listener, Listener(other) as elsewhere:
        site._answers["/"] = moved(location(listener.port, elsewhere.port))
        seen, requests = visit(Endpoint(HERE, listener.port, NAME, "http"))
        assert (requests, elsewhere.connections, site.paths) == (1, 0, ["/"])
    assert seen.last.status == 302
    (told,) = seen.redirects
    assert told.isprintable()
    assert 0 < len(told) <= 2000


def test_a_name_that_is_not_the_address_is_not_followed_to_it() -> None:
    site = Scripted({})
    with Listener(site) as listener:
        site._answers["/"] = moved(f"http://{NAME}:{listener.port}/")
        seen, requests = visit(Endpoint(HERE, listener.port, None, "http"))
        assert (requests, seen.redirects) == (1, (f"http://{NAME}:{listener.port}/",))


def test_a_circle_of_redirects_is_left_at_once() -> None:
    site = Scripted({"/": moved("/a"), "/a": moved("/")})
    with Listener(site) as listener:
        seen, requests = visit(Endpoint(HERE, listener.port, NAME, "http"))
    assert (requests, len(seen.redirects)) == (2, 2)


def test_no_more_redirects_are_followed_than_may_be() -> None:
    site = Scripted({f"/{number or ''}": moved(f"/{number + 1}") for number in range(20)})
    with Listener(site) as listener:
        assert visit(Endpoint(HERE, listener.port, NAME, "http"), hops=5)[1] == 6
        seen, requests = visit(Endpoint(HERE, listener.port, NAME, "http"), hops=0)
    assert (requests, len(seen.redirects)) == (1, 1)


def test_what_a_redirect_led_to_and_did_not_answer_is_said() -> None:
    site = Scripted({"/": moved("/a"), "/a": hang})
    with Listener(site) as listener:
        seen, _ = visit(Endpoint(HERE, listener.port, NAME, "http"), seconds=0.5)
    assert (seen.last.status, seen.lack, seen.is_late) == (302, "what it led to: no answer within 0.5 s", True)


# Bounds


def drip_headers(connection: socket.socket, over: Event) -> None:
    """Begin an answer, and add a header now and then."""
    connection.sendall(b"HTTP/1.1 200 OK\r\n")
    while not over.wait(0.1):
        connection.sendall(b"X: y\r\n")


@pytest.mark.parametrize(
    ("service", "manner"), [("http", hang), ("http", drip_headers), ("https", hang), ("https", drip)]
)
def test_who_says_nothing_that_ends_is_not_waited_for(service: str, manner: Manner) -> None:
    begun = time.monotonic()
    assert unanswered(manner, 0.5, service).outcome is Outcome.TIMED_OUT
    assert time.monotonic() - begun < 3


@pytest.mark.parametrize("manner", [flood, flood_lines, drip, babble])
def test_what_is_no_http_is_an_answer_without_a_page(manner: Manner) -> None:
    why = unanswered(manner)
    assert why.outcome is Outcome.ANSWERED
    assert why.note.isprintable()
    assert len(why.note) < 400


def test_who_closes_is_silent() -> None:
    assert unanswered(close).outcome is Outcome.SILENT
    assert unanswered(close, service="https").outcome is Outcome.SILENT


def test_where_nobody_listens_it_is_silent() -> None:
    with Listener(close) as listener:
        port = listener.port
    with pytest.raises(Unanswered) as raised:
        visit(Endpoint(HERE, port, NAME, "http"))
    assert raised.value.outcome is Outcome.SILENT


def test_plain_text_where_tls_was_expected_is_silent() -> None:
    assert unanswered(scripted(b"HTTP/1.1 400 Bad Request\r\n\r\n"), service="https").outcome is Outcome.SILENT


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n"


def beginning(head: bytes, manner: Manner) -> Manner:
    """Begin with these bytes, and go on in a manner."""

    def answer(connection: socket.socket, over: Event) -> None:
        connection.sendall(head)
        manner(connection, over)

    return answer


def test_an_endless_page_is_read_to_its_bound() -> None:
    seen = first_page(beginning(HEAD, flood))
    assert (len(seen.last.body), seen.lack) == (MOST_BYTES, "its beginning was read only")
    assert not seen.is_late


@pytest.mark.parametrize("manner", [hang, drip])
def test_a_page_that_does_not_end_in_time_counts_as_far_as_it_came(manner: Manner) -> None:
    seen = first_page(beginning(HEAD + b"<title>half", manner), seconds=0.5)
    assert seen.last.body.startswith(b"<title>half")
    assert (seen.lack, seen.is_late) == ("it did not end within 0.5 s", True)


def test_a_page_that_breaks_off_counts_as_far_as_it_came() -> None:
    seen = first_page(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n<title>half")
    assert (seen.last.body, seen.lack, seen.is_late) == (b"<title>half", "it broke off", False)


@pytest.mark.parametrize("packed", [gzip.compress, zlib.compress, lambda data: zlib.compress(data)[2:-4]])
@pytest.mark.parametrize("size", [20, 100 << 20])
def test_a_packed_page_is_unpacked_to_its_bound(packed: Callable[[bytes], bytes], size: int) -> None:
    body = packed(b"a" * size)
    encoding = "gzip" if packed is gzip.compress else "deflate"
    seen = first_page(page(body, f"Content-Encoding: {encoding}"))
    assert seen.last.body == b"a" * min(size, MOST_BYTES)


def test_what_only_says_that_it_is_packed_is_left_as_it_is() -> None:
    assert first_page(page(b"plain", "Content-Encoding: gzip")).last.body == b"plain"


def test_so_many_headers_are_taken_and_no_more() -> None:
    assert len(first_page(page(b"", *(f"X-{number}: y" for number in range(5000)))).last.headers) == 5002
    with pytest.raises(Unanswered) as raised:
        first_page(page(b"", *(f"X-{number}: {'y' * 100}" for number in range(5000))))
    assert raised.value.outcome is Outcome.ANSWERED
    with pytest.raises(Unanswered):
        first_page(beginning(b"HTTP/1.1 200 OK\r\nX-Endless: ", flood))


def test_interim_answers_without_end_are_not_waited_for() -> None:
    def interim(connection: socket.socket, over: Event) -> None:
        while not over.is_set():
            connection.sendall(b"HTTP/1.1 103 Early Hints\r\n\r\n" * 100)

    with pytest.raises(Unanswered) as raised:
        first_page(interim, seconds=0.5)
    assert raised.value.outcome is Outcome.TIMED_OUT


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\nServer: a\x00b\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n: nameless\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: odd\r\n\r\n",
        b"HTTP/1.1 99 Low\r\n\r\n",
        b"<html>0.9</html>\r\n\r\n",
        b"\x16\x03\x01\x00\x02\x02\x28",
        b"\r\n\r\n\r\n\r\n",
    ],
)
def test_a_head_that_is_none_is_an_answer_without_a_page(head: bytes) -> None:
    with pytest.raises(Unanswered) as raised:
        first_page(head)
    assert raised.value.outcome is Outcome.ANSWERED
    assert raised.value.note.isprintable()


def test_headers_of_any_bytes_are_taken() -> None:
    seen = first_page(b"HTTP/1.1 200 \xff\xfe\r\nServer: caf\xe9 \xff\r\nContent-Length: 0\r\n\r\n")
    assert seen.last.headers["server"].startswith("caf")


def test_switching_protocols_is_not_gone_along_with() -> None:
    with pytest.raises(Unanswered) as raised:
        first_page(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nrest")
    assert raised.value.outcome is Outcome.ANSWERED


def test_a_chunked_page_that_babbles_counts_as_far_as_it_came() -> None:
    seen = first_page(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nzz\r\n")
    assert (seen.last.body, seen.lack) == (b"abc", "it broke off")


def test_all_that_an_endpoint_answers_counts_against_its_time() -> None:
    def late(connection: socket.socket, over: Event) -> None:
        over.wait(0.25)
        connection.sendall(moved(f"/{time.monotonic_ns()}"))

    with Listener(Scripted({"*": late})) as listener:
        seen, requests = visit(Endpoint(HERE, listener.port, NAME, "http"), seconds=0.4)
    assert (requests, seen.is_late) == (2, True)
