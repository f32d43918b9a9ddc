"""Data stores, open and locked: real Redis and memcached, and what MongoDB and Docker say."""

from __future__ import annotations

import json
import ssl
import struct
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import bson
import pytest

from footprint.records import Outcome, Service
from tasks.mongodb import HEADER, OP_MSG, message
from tests.conftest import free_port
from tests.estate import daemons
from tests.estate.tls_hosts import TlsServer, make_certificates
from tests.tasks.hostile import Listener, Manner, scripted
from tests.tasks.looking import HERE, Looked, directory_for_all, look

REFUSAL = {"ok": 0.0, "errmsg": "command listDatabases requires authentication", "code": 13, "codeName": "Unauthorized"}
ASLEEP = {"ok": 0.0, "errmsg": "node is not in primary or recovering state", "code": 13436, "codeName": "NotPrimary"}
VERSION = {"Version": "27.3.1", "ApiVersion": "1.47", "MinAPIVersion": "1.24", "Os": "linux", "Arch": "amd64"}


def _web(status: str, body: str, *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", "Content-Type: application/json", f"Content-Length: {len(body)}", *headers]
    return ("\r\n".join(lines) + f"\r\n\r\n{body}").encode()


def _looked(manner: Manner, name: str, **options: Any) -> Looked:
    with Listener(manner) as listener:
        return look(Service(HERE, listener.port, name=name), options=options)


def _needs(program: str) -> pytest.MarkDecorator:
    reason = daemons.lacking(program)
    return pytest.mark.skipif(reason is not None, reason=reason or "")


@_needs("redis-server")
def test_a_redis_without_a_password_is_found(tmp_path: Path) -> None:
    port = free_port()
    with daemons.running(daemons.redis(HERE, port, tmp_path)):
        looked = look(Service(HERE, port, name="redis"))
    finding = looked.finding
    assert (finding.rule, finding.subject) == ("service_checks/redis-open", f"{HERE}:{port}/tcp")
    assert finding.evidence.startswith("INFO was answered without a password: version 7.")
    assert looked.said == (Outcome.ANSWERED, "redis (INFO): Redis serves anybody")


@_needs("redis-server")
def test_a_redis_with_a_password_is_none(tmp_path: Path) -> None:
    port = free_port()
    with daemons.running(daemons.redis(HERE, port, tmp_path, password="secret")):
        looked = look(Service(HERE, port, name="redis"))
    assert looked.rules == []
    outcome, note = looked.said
    assert outcome is Outcome.ANSWERED
    assert note.startswith("redis (INFO): it asks for authentication (NOAUTH")


@_needs("memcached")
def test_a_memcached_without_a_password_is_found(tmp_path: Path) -> None:
    port = free_port()
    with daemons.running(daemons.memcached(HERE, port, tmp_path)):
        looked = look(Service(HERE, port, name="memcached"))
    finding = looked.finding
    assert (finding.rule, finding.subject) == ("service_checks/memcached-open", f"{HERE}:{port}/tcp")
    assert "version 1." in finding.evidence
    assert finding.evidence.endswith(", 0 items")


@_needs("memcached")
def test_a_memcached_with_a_password_is_none() -> None:
    port = free_port()
    with directory_for_all() as directory:
        daemon = daemons.memcached(HERE, port, directory, password="secret", protocol="ascii")
        with daemons.running(daemon):
            looked = look(Service(HERE, port, name="memcached"))
    assert looked.rules == []
    expected = "memcached (version, stats): it asks for authentication (CLIENT_ERROR unauthenticated)"
    assert looked.said == (Outcome.ANSWERED, expected)


@_needs("memcached")
def test_a_memcached_that_hangs_up_on_text_is_not_said_to_be_open(tmp_path: Path) -> None:
    port = free_port()
    with daemons.running(daemons.memcached(HERE, port, tmp_path, protocol="binary")):
        looked = look(Service(HERE, port, name="memcached"))
    assert looked.rules == []
    assert looked.said == (Outcome.SILENT, "memcached (version, stats): it closed without a word")


@pytest.mark.parametrize(
    ("answer", "note"),
    [
        (b"-DENIED Redis is running in protected mode\r\n", "it asks for authentication (DENIED"),
        (b"-NOPERM this user has no permissions\r\n", "it asks for authentication (NOPERM"),
        (b"-ERR unknown command 'INFO'\r\n", "it refused (ERR unknown command 'INFO')"),
        (b"$20\r\nfull of other things\r\n", "it does not speak Redis's protocol"),
        (b"$999999999\r\n", "it announces more than is read of it"),
        (b"$" + b"9" * 5000 + b"\r\n", "it does not speak Redis's protocol"),
        (b"$-1\r\n", "it does not speak Redis's protocol"),
        (b"$100\r\nredis_version:7", "it closed in the middle of its answer"),
        (b"A" * 9000, "it says a line without end"),
    ],
)
def test_other_answers_of_redis_are_no_finding(answer: bytes, note: str) -> None:
    looked = _looked(scripted(answer), "redis")
    assert looked.rules == []
    assert looked.said[0] is Outcome.ANSWERED
    assert note in looked.said[1]


def test_a_redis_over_tls_is_found(tmp_path: Path) -> None:
    good = make_certificates(tmp_path)["self_signed"]
    told = b"# Server\r\nredis_version:7.2.4\r\n"
    with TlsServer(HERE, good, reply=b"$%d\r\n%s\r\n" % (len(told), told)) as server:
        looked = look(Service(HERE, server.port, name="redis", tunnel="ssl"))
    assert looked.rules == ["redis-open"]
    assert looked.finding.evidence.endswith("version 7.2.4")


def test_escape_sequences_do_not_get_into_evidence_or_notes() -> None:
    told = b"# Server\r\nredis_version:7\x1b[31m\x07\xe2\x80\xae\xff\r\n"
    looked = _looked(scripted(b"$%d\r\n%s\r\n" % (len(told), told)), "redis")
    assert looked.finding.evidence.endswith("version 7[31m\ufffd")
    looked = _looked(scripted(b"-NOAUTH \x1b]0;owned\x07 go away\r\n"), "redis")
    assert looked.said[1].endswith("(NOAUTH ]0;owned go away)")


@pytest.mark.parametrize("answer", [b"ERROR\r\n", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\r\n"])
def test_what_is_no_memcached_is_no_finding(answer: bytes) -> None:
    looked = _looked(scripted(answer), "memcached")
    assert looked.rules == []
    assert "it does not speak memcached's protocol" in looked.said[1]


def test_a_memcached_that_tells_its_version_alone_is_no_finding() -> None:
    looked = _looked(_memcached(b"CLIENT_ERROR unauthenticated\r\n"), "memcached")
    assert looked.rules == []
    assert looked.said[1].endswith("it tells nothing of itself (CLIENT_ERROR unauthenticated)")


def test_statistics_that_break_off_are_no_finding() -> None:
    assert _looked(_memcached(b"STAT pid 1\r\nSTAT cur"), "memcached").rules == []
    assert _looked(_memcached(b"STAT pid 1\r\nSTAT curr_items 7\r\nEND\r\n"), "memcached").rules == ["memcached-open"]


def _memcached(statistics: bytes) -> Manner:
    return scripted(b"VERSION 1.6.18\r\n" + statistics, b"stats\r\n")


def test_a_mongodb_without_users_is_found() -> None:
    names = [{"name": name} for name in ("admin", "shop\x1b[31m", 7, *map(str, range(20)))]
    looked = _looked(scripted(message({"databases": names, "ok": 1.0}), b"listDatabases"), "mongodb")
    assert looked.rules == ["mongodb-open"]
    assert looked.finding.evidence == (
        "named without a password, its 23 databases: admin, shop[31m, unknown, 0, 1, 2, 3, 4, 5, 6"
    )


def test_mongodb_is_asked_in_a_message_of_its_protocol() -> None:
    heard = []

    def listen(connection: Any, over: Any) -> None:
        heard.append(connection.recv(4096))
        connection.sendall(message(REFUSAL))

    looked = _looked(listen, "mongodb")
    size, _, _, kind = HEADER.unpack_from(heard[0])
    assert (size, kind) == (len(heard[0]), OP_MSG)
    assert heard[0][16:21] == b"\0\0\0\0\0"
    assert bson.decode(heard[0][21:])["$db"] == "admin"
    expected = "mongodb (listDatabases): it asks for authentication (Unauthorized)"
    assert looked.said == (Outcome.ANSWERED, expected)
    assert looked.rules == []


def test_a_mongodb_that_cannot_answer_now_is_not_said_to_ask_for_a_password() -> None:
    looked = _looked(scripted(message(ASLEEP)), "mongodb")
    assert (looked.rules, looked.said[1]) == ([], "mongodb (listDatabases): it refused (NotPrimary)")


def _nested(levels: int) -> bytes:
    document = bson.encode({})
    for _ in range(levels):
        document = struct.pack("<i", len(document) + 8) + b"\x030\0" + document + b"\0"
    return document


def _framed(payload: bytes, kind: int = OP_MSG, size: int | None = None) -> bytes:
    return HEADER.pack(HEADER.size + len(payload) if size is None else size, 2, 1, kind) + payload


PREFIX = bytes(5)
HOSTILE_MESSAGES = {
    "another kind": _framed(PREFIX + bson.encode({"ok": 1}), kind=1),
    "huge": _framed(PREFIX, size=2**31 - 1),
    "negative": _framed(PREFIX, size=-1),
    "empty": _framed(b""),
    "deep": _framed(PREFIX + _nested(6000)),
    "document too long": _framed(PREFIX + struct.pack("<i", 2**31 - 1) + bytes(20)),
    "document of no length": _framed(PREFIX + struct.pack("<i", -5) + bytes(20)),
    "another section": _framed(b"\0\0\0\0\x01" + bson.encode({"ok": 1})),
    "no text": _framed(PREFIX + b"\x0e\0\0\0\x02ok\0\xff\xff\xff\xff\0"),
    "nothing said": _framed(PREFIX + bson.encode({})),
    "half": message({"ok": 1.0, "databases": []})[:-9],
}


@pytest.mark.parametrize("answer", HOSTILE_MESSAGES.values(), ids=HOSTILE_MESSAGES)
def test_what_is_no_message_is_no_finding(answer: bytes) -> None:
    looked = _looked(scripted(answer), "mongodb")
    outcome, note = looked.said
    assert (looked.rules, outcome) == ([], Outcome.ANSWERED)
    assert any(word in note for word in ("does not speak MongoDB's", "is no document", "closed in the middle"))


@pytest.mark.parametrize("listed", [None, 5, "text", [1, None, {}], {"name": "a"}])
def test_a_mongodb_that_lists_oddly_does_not_break_anything(listed: Any) -> None:
    assert _looked(scripted(message({"ok": 1.0, "databases": listed})), "mongodb").rules == ["mongodb-open"]


def test_an_open_docker_is_found() -> None:
    looked = _looked(scripted(_web("200 OK", json.dumps(VERSION)), b"GET /version"), "docker")
    assert looked.rules == ["docker-open"]
    assert looked.finding.evidence == "/version was answered: version 27.3.1, API 1.47, linux"


@pytest.fixture
def secured_docker(tmp_path: Path) -> Iterator[TlsServer]:
    reply = _web("200 OK", json.dumps(VERSION))
    with TlsServer(HERE, make_certificates(tmp_path)["self_signed"], reply=reply) as server:
        yield server


def test_an_open_docker_over_tls_is_found(secured_docker: TlsServer) -> None:
    assert look(Service(HERE, secured_docker.port, name="docker", tunnel="ssl")).rules == ["docker-open"]


def test_tls_is_not_spoken_where_it_was_not_seen(secured_docker: TlsServer) -> None:
    looked = look(Service(HERE, secured_docker.port, name="docker"))
    assert looked.rules == []
    assert secured_docker.server_names == []


def test_a_docker_that_asks_for_a_certificate_is_none(tmp_path: Path) -> None:
    with _choosy(make_certificates(tmp_path)["self_signed"]) as server:
        looked = look(Service(HERE, server.port, name="docker", tunnel="ssl"))
    assert looked.rules == []
    assert looked.said[0] is Outcome.ANSWERED
    assert "CERTIFICATE_REQUIRED" in looked.said[1]


def _choosy(certificate: Path) -> AbstractContextManager[TlsServer]:
    """A server that asks its clients for certificates."""
    server = TlsServer(HERE, certificate, reply=_web("200 OK", json.dumps(VERSION)))
    server._context.verify_mode = ssl.CERT_REQUIRED
    server._context.load_verify_locations(f"{certificate}.pem")
    return server


@pytest.mark.parametrize(
    ("answer", "note"),
    [
        (_web("401 Unauthorized", "{}"), "it asks for authentication (HTTP 401)"),
        (_web("403 Forbidden", "{}"), "it asks for authentication (HTTP 403)"),
        (_web("404 Not Found", "{}"), "it is no Docker API"),
        (_web("200 OK", '{"Version": '), "it is no Docker API"),
        (_web("200 OK", "[" * 60000), "it is no Docker API"),
        (_web("200 OK", "9" * 60000), "it is no Docker API"),
        (_web("302 Found", "", "Location: http://127.0.0.1:1/version"), "it is no Docker API"),
        (b"220 ready\r\n", "it does not speak HTTP"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 20000, "it does not speak HTTP"),
    ],
)  # fmt: skip
def test_other_answers_of_docker_are_no_finding(answer: bytes, note: str) -> None:
    looked = _looked(scripted(answer), "docker")
    assert looked.rules == []
    assert looked.said[1].endswith(note)


def test_values_of_other_kinds_than_text_are_not_shown() -> None:
    body = json.dumps({"Version": {"a": [1]}, "ApiVersion": None, "Os": "\ud800\u001b[1m"})
    looked = _looked(scripted(_web("200 OK", body)), "docker")
    assert looked.finding.evidence == "/version was answered: version unknown, API unknown, [1m"
