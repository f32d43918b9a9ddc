"""First pages: real nginx with Debian's page and with one of its own, search engines, and pages that lead elsewhere."""

from __future__ import annotations

import json
import shutil
import socket
import ssl
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from footprint.records import Outcome, Service, Severity
from tests.conftest import free_port
from tests.estate import daemons
from tests.estate.tls_hosts import TlsServer, make_certificates
from tests.tasks.hostile import Listener, Manner, scripted
from tests.tasks.looking import HERE, Looked, look

DEBIANS_PAGES = (Path("/var/www/html/index.nginx-debian.html"), Path("/usr/share/nginx/html/index.html"))
ELASTIC = {
    "name": "node-1",
    "cluster_name": "logs",
    "version": {"number": "8.15.0", "lucene_version": "9.11.1"},
    "tagline": "You Know, for Search",
}
OPENSEARCH = ELASTIC | {"version": {"distribution": "opensearch", "number": "2.17.1", "lucene_version": "9.11.1"}}


def _web(body: str | bytes, status: str = "200 OK", *headers: str) -> bytes:
    data = body if isinstance(body, bytes) else body.encode()
    lines = [f"HTTP/1.1 {status}", "Server: x", f"Content-Length: {len(data)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + data


def _titled(title: str) -> str:
    return f"<!doctype html><html><head><title>{title}</title></head><body>x</body></html>"


def _looked(manner: Manner, name: str = "http") -> Looked:
    with Listener(manner) as listener:
        return look(Service(HERE, listener.port, name=name))


needs_nginx = pytest.mark.skipif(daemons.lacking("nginx") is not None, reason=daemons.lacking("nginx") or "")


@needs_nginx
@pytest.mark.parametrize("page", DEBIANS_PAGES, ids=["Debian's", "nginx's"])
def test_the_page_that_comes_with_nginx_is_found(page: Path, tmp_path: Path) -> None:
    if not page.exists():
        pytest.skip("another version of the package does not bring this page")
    shutil.copy(page, tmp_path / "index.html")
    port = free_port()
    with daemons.running(daemons.nginx(HERE, port, tmp_path)):
        looked = look(Service(HERE, port, name="http"))
    finding = looked.finding
    assert (finding.rule, finding.subject) == ("service_checks/default-page", f"{HERE}:{port}/tcp")
    assert (finding.severity, finding.cvss, finding.score) == (Severity.LOW, None, None)
    assert finding.title == "The first page is the one that comes with nginx"
    assert finding.evidence == "the title of its first page is: Welcome to nginx!"
    assert looked.said == (Outcome.ANSWERED, f"first page (GET /): {finding.title}")


@needs_nginx
def test_the_page_that_comes_with_nginx_is_found_over_tls(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text(_titled("Welcome to nginx!"))
    certificate = make_certificates(tmp_path)["expired"]
    port = free_port()
    with daemons.running(daemons.nginx(HERE, port, tmp_path, certificate=certificate)):
        assert look(Service(HERE, port, name="http", tunnel="ssl")).rules == ["default-page"]
        assert look(Service(HERE, port, name="https")).rules == ["default-page"]
        plain = look(Service(HERE, port, name="http"))
    assert plain.rules == []
    assert plain.said == (Outcome.ANSWERED, "first page (GET /): a page of its own (HTTP 400)")


@needs_nginx
def test_a_page_of_its_own_is_no_finding(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text(_titled("We run nginx"))
    port = free_port()
    with daemons.running(daemons.nginx(HERE, port, tmp_path)):
        looked = look(Service(HERE, port, name="http"))
    assert looked.rules == []
    assert looked.said == (Outcome.ANSWERED, "first page (GET /): a page of its own (HTTP 200)")


@pytest.mark.parametrize(
    ("title", "product"),
    [
        ("Apache2 Debian Default Page: It works", "Apache httpd"),
        ("Apache2 Ubuntu Default Page: It works", "Apache httpd"),
        ("Test Page for the Apache HTTP Server on Red Hat Enterprise Linux", "Apache httpd"),
        ("Apache HTTP Server Test Page powered by CentOS", "the distribution's web server"),
        ("Test Page for the HTTP Server on Fedora", "the distribution's web server"),
        ("Test Page for the Nginx HTTP Server on EPEL", "nginx"),
        ("IIS Windows Server", "IIS"),
        ("IIS7", "IIS"),
        ("Microsoft Internet Information Services 8", "IIS"),
        ("Apache Tomcat/9.0.31", "Tomcat"),
        ("\n  Apache\n Tomcat\n", "Tomcat"),
        ("Caddy works!", "Caddy"),
    ],
)
def test_pages_of_other_servers_are_known_by_their_titles(title: str, product: str) -> None:
    finding = _looked(scripted(_web(_titled(title)))).finding
    assert finding.title == f"The first page is the one that comes with {product}"


def test_apaches_oldest_page_has_no_title() -> None:
    assert _looked(scripted(_web("<html><body><h1>It works!</h1></body></html>\n"))).rules == ["default-page"]


def test_a_test_page_in_place_of_a_forbidden_one_is_found() -> None:
    page = _web(_titled("Apache HTTP Server Test Page powered by CentOS"), "403 Forbidden")
    assert _looked(scripted(page)).rules == ["default-page"]


@pytest.mark.parametrize(
    "page",
    [
        _web(_titled("Apache Tomcat/7.0.26 - Error report"), "404 Not Found"),
        _web(_titled("Apache Tomcat/7.0.26"), "404 Not Found"),
        _web(_titled("Why our blog on Apache2 has no Default Page anymore")),
        _web("<p>Welcome to nginx!</p>"),
        _web("<html><body><h1>It works!</h1><p>And more.</p></body></html>"),
        _web(b"\xff\xfe\x00<\x00t"),
        _web("<title" * 10000),
        _web(""),
    ],
    ids=["error report", "error", "mentioned", "no title", "more", "no text", "many", "empty"],
)
def test_other_pages_are_no_finding(page: bytes) -> None:
    looked = _looked(scripted(page))
    assert looked.rules == []
    assert looked.said[0] is Outcome.ANSWERED
    assert looked.seconds < 3


def test_a_page_in_chunks_of_a_connection_that_stays_open_is_read() -> None:
    page = _titled("Caddy works!")
    half = f"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{len(page):x}\r\n{page}\r\n0\r\n\r\n".encode()

    def stay(connection: socket.socket, over: Event) -> None:
        scripted(half)(connection, over)
        over.wait()

    looked = _looked(stay)
    assert looked.rules == ["default-page"]
    assert looked.seconds < 3


def test_a_page_that_breaks_off_is_judged_by_what_came() -> None:
    whole = _web(_titled("Caddy works!") + "x" * 100)
    assert _looked(scripted(whole[:-50])).rules == ["default-page"]


def test_an_endless_page_is_judged_by_its_beginning() -> None:
    def pour(connection: socket.socket, over: Event) -> None:
        connection.recv(4096)
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n" + _titled("Caddy works!").encode())
        while not over.is_set():
            connection.sendall(b"x" * 65536)

    assert _looked(pour).rules == ["default-page"]


def test_escape_sequences_do_not_get_into_evidence() -> None:
    title = "Test Page for the Apache \x1b[31m\x07\u202e<script>"
    finding = _looked(scripted(_web(_titled(title)))).findings
    assert finding == []
    finding = _looked(scripted(_web(_titled(title.replace("<", ""))))).findings
    assert finding[0].evidence.endswith("Test Page for the Apache [31mscript>")


@pytest.mark.parametrize("status", ["301 Moved Permanently", "302 Found", "307 Temporary Redirect"])
def test_nothing_is_followed(status: str) -> None:
    with Listener(scripted(_web(_titled("Caddy works!")))) as elsewhere:
        onward = _web(_titled("Caddy works!"), status, f"Location: http://{HERE}:{elsewhere.port}/")
        with Listener(scripted(onward)) as first:
            looked = look(Service(HERE, first.port, name="http"))
    assert (first.connections, elsewhere.connections) == (1, 0)
    assert looked.rules == []
    assert looked.said[1] == f"first page (GET /): it leads elsewhere (HTTP {status[:3]}), which was not followed"


def test_it_is_asked_by_its_address_and_port() -> None:
    heard = []

    def listen(connection: socket.socket, over: Event) -> None:
        heard.append(connection.recv(4096))

    with Listener(listen) as listener:
        look(Service(HERE, listener.port, name="http"))
    head = heard[0].decode().splitlines()
    assert head[0] == "GET / HTTP/1.1"
    assert f"Host: {HERE}:{listener.port}" in head
    assert "Connection: close" in head
    assert any(line.startswith("User-Agent: Pulsar/") for line in head)


@pytest.mark.parametrize(("told", "product"), [(ELASTIC, "Elasticsearch"), (OPENSEARCH, "OpenSearch")])
@pytest.mark.parametrize("name", ["http", "elasticsearch"])
def test_an_open_search_engine_is_found(told: dict[str, Any], product: str, name: str) -> None:
    looked = _looked(scripted(_web(json.dumps(told))), name)
    assert looked.rules == ["elasticsearch-open"]
    assert looked.finding.title == f"{product} serves anybody"
    assert looked.finding.evidence.startswith("its first page was shown without a password: version ")
    assert looked.finding.evidence.endswith(", cluster logs")


def test_an_open_search_engine_is_found_over_tls(tmp_path: Path) -> None:
    with TlsServer(HERE, make_certificates(tmp_path)["good"], reply=_web(json.dumps(ELASTIC))) as server:
        looked = look(Service(HERE, server.port, name="http", tunnel="ssl"))
    assert looked.rules == ["elasticsearch-open"]


def test_tls_that_nobody_should_speak_any_more_is_spoken(tmp_path: Path) -> None:
    certificate, old = make_certificates(tmp_path)["weak_key"], ssl.TLSVersion.TLSv1
    page, ciphers = _web(_titled("IIS7")), "ALL:@SECLEVEL=0"
    with TlsServer(HERE, certificate, first=old, last=old, ciphers=ciphers, reply=page) as server:
        looked = look(Service(HERE, server.port, name="http", tunnel="ssl"))
    assert looked.rules == ["default-page"]


def test_a_locked_search_engine_is_none() -> None:
    refusal = _web('{"error": {"type": "security_exception"}}', "401 Unauthorized", "WWW-Authenticate: Basic")
    looked = _looked(scripted(refusal))
    assert looked.rules == []
    assert looked.said == (Outcome.ANSWERED, "first page (GET /): it asks for authentication (HTTP 401)")


@pytest.mark.parametrize(
    "told",
    [
        [],
        {"cluster_name": "x"},
        {"cluster_name": "x", "version": "8"},
        {"cluster_name": "x", "version": {}},
        {"version": {"number": "8.15.0", "lucene_version": "9"}},
    ],
)
def test_other_objects_are_no_search_engine(told: Any) -> None:
    assert _looked(scripted(_web(json.dumps(told)))).rules == []


def test_what_a_search_engine_calls_itself_is_cleaned() -> None:
    told = ELASTIC | {
        "cluster_name": "\u001b]0;owned\u0007=cmd()\ud800",
        "version": {"lucene_version": 1, "number": [[]]},
    }
    evidence = _looked(scripted(_web(json.dumps(told)))).finding.evidence
    assert evidence == "its first page was shown without a password: version unknown, cluster ]0;owned=cmd()"
