"""WhatWeb, run as scans run it, against real web servers on loopback, kind and unkind."""

from __future__ import annotations

import gzip
import shutil
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from footprint.errors import OutputNotUnderstood
from footprint.records import Coverage, Endpoint, Outcome, Technology
from tasks.runner import Limits, run
from tasks.whatweb import BATCH, WhatWebOptions, command
from tasks.whatweb_answers import parse
from tests.conftest import free_port
from tests.estate.daemons import lacking, nginx, running
from tests.estate.tls_hosts import TlsServer, make_certificates
from tests.tasks.hostile import Listener, drip, hang, scripted
from tests.tasks.pages import Site

HERE = "127.0.0.1"
NAME = "www.example.test"
GENERATOR = b'<meta name="generator" content="WordPress 6.1.1" />'


def _web(port: int, name: str | None = NAME, service: str = "http", address: str = HERE) -> Endpoint:
    return Endpoint(address, port, name, service)


def _technologies(found: list[Any]) -> dict[str, Technology]:
    return {each.name: each for each in found if isinstance(each, Technology)}


pytestmark = pytest.mark.skipif(shutil.which("whatweb") is None, reason="not installed: apt-get install whatweb")
Ask = Callable[..., list[Any]]


@pytest.fixture
def ask(tmp_path: Path) -> Ask:
    """Ask real services, and read what is said of them."""

    def asked(*batch: Endpoint, **options: Any) -> list[Any]:
        chosen = WhatWebOptions.model_validate({"timeout": 2, "host_timeout": 5, **options})
        output = run(command(batch, chosen), Limits(60, tmp_path / "work"))
        return list(parse(output, batch))

    return asked


def _coverage(found: list[Any]) -> list[Coverage]:
    return [each for each in found if isinstance(each, Coverage)]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., int]]:
    """Start an nginx with this first page; returns its port."""
    if reason := lacking("nginx"):
        pytest.skip(reason)
    with ExitStack() as stack:

        def started(page: bytes, extra: str = "", certificate: Path | None = None) -> int:
            port = free_port()
            directory = tmp_path / str(port)
            directory.mkdir()
            (directory / "index.html").write_bytes(b"<html><head>" + page + b"</head></html>")
            stack.enter_context(running(nginx(HERE, port, directory, extra=extra, certificate=certificate)))
            return port

        yield started


def test_a_real_server_and_what_it_serves_are_recognised(ask: Ask, serve: Callable[..., int]) -> None:
    found = _technologies(ask(_web(serve(GENERATOR))))
    assert found["WordPress"].version == "6.1.1"
    assert found["nginx"].version


def test_virtual_hosts_are_told_apart_by_their_names(ask: Ask, serve: Callable[..., int]) -> None:
    by_name = (
        'set $made "none"; if ($host = "php.example.test") { set $made "PHP/8.2.7"; } add_header X-Powered-By $made;'
    )
    port = serve(b"", by_name)
    found = ask(_web(port, "php.example.test"), _web(port, "other.example.test"), _web(port, None))
    assert [each.subject for each in found if isinstance(each, Technology) and each.name == "PHP"] == [
        f"php.example.test@{HERE}:{port}/tcp"
    ]


def test_a_name_is_asked_for_at_the_address_it_was_given_with_and_not_resolved(ask: Ask) -> None:
    with Site() as one, Site(address="127.0.0.2") as other:
        found = ask(_web(one.port), _web(other.port, address="127.0.0.2"), _web(one.port, None))
    assert one.hosts() == {f"{HERE}:{one.port}", f"{NAME}:{one.port}"}
    assert other.hosts() == {f"{NAME}:{other.port}"}
    assert {each.outcome for each in _coverage(found)} == {Outcome.ANSWERED}


def test_a_tls_server_hears_the_name_and_one_without_a_name_hears_none(ask: Ask, tmp_path: Path) -> None:
    reply = b"HTTP/1.0 200 OK\r\nServer: Frob/2.1\r\n\r\n"
    made = make_certificates(tmp_path)
    with TlsServer(HERE, made["expired"], reply=reply) as server:
        found = ask(_web(server.port, service="https"), _web(server.port, None, "https"))
        assert set(server.server_names) == {NAME, None}
    assert [each.version for each in found if isinstance(each, Technology)] == ["2.1", "2.1"]


def test_addresses_of_ipv6_are_asked(ask: Ask) -> None:
    with Site(address="::1") as site:
        found = ask(_web(site.port, None, address="::1"), _web(site.port, address="::1"))
    assert site.hosts() == {f"[::1]:{site.port}", f"{NAME}:{site.port}"}
    assert {each.outcome for each in _coverage(found)} == {Outcome.ANSWERED}


@pytest.mark.parametrize("aggression", [1, 3])
def test_no_redirect_is_followed(ask: Ask, aggression: int) -> None:
    with Site() as elsewhere:
        away = f"http://{HERE}:{elsewhere.port}/".encode()
        page = b'<meta http-equiv="refresh" content="0; url=' + away + b'">'
        answer = b"HTTP/1.0 302 Found\r\nLocation: " + away + b"\r\n\r\n" + page
        with Listener(scripted(answer)) as redirecting:
            (coverage,) = _coverage(ask(_web(redirecting.port), aggression=aggression))
        assert coverage.note.startswith("HTTP 302")
        assert elsewhere.heard == []


def test_what_plugins_ask_for_is_only_ever_the_service_itself(ask: Ask, tmp_path: Path) -> None:
    page = b'Powered by <a href="http://www.joomla.org">Joomla!</a>.'
    with Site({"/": page}) as joomla, Site() as other:
        ask(_web(joomla.port), _web(other.port), aggression=3)
    assert len(joomla.heard) > 1
    assert joomla.hosts() == {f"{NAME}:{joomla.port}"}
    assert len(other.heard) == 1


@pytest.mark.parametrize("place", ["127.0.0.1:{other}", "www.example.test:{other}", "127.0.0.2:{own}"])
def test_a_plugin_that_leads_elsewhere_gets_nowhere(tmp_path: Path, place: str) -> None:
    with Site() as server, Site(address="127.0.0.2") as elsewhere, Site() as other:
        url = "http://" + place.format(other=other.port, own=server.port) + "/"
        asked = command([_web(server.port), _web(elsewhere.port, None, address="127.0.0.2")], WhatWebOptions())
        plugin = f"Plugin.define {{ name 'Astray'; passive {{ open_target('{url}'); [] }} }}"
        output = run(
            replace(asked, files={**asked.files, "guard.rb": f"{asked.files['guard.rb']}\n{plugin}\n"}),
            Limits(60, tmp_path),
        )
    assert output.stderr.count(f"ERROR Opening: {url} - it leads elsewhere") == 2
    assert (len(server.heard), len(elsewhere.heard), len(other.heard)) == (1, 1, 0)


def _pour(head: bytes, piece: bytes) -> Callable[[socket.socket, Event], None]:
    def pour(connection: socket.socket, over: Event) -> None:
        connection.recv(65536)
        connection.sendall(head)
        while not over.is_set():
            connection.sendall(piece)

    return pour


def test_unkind_services_cost_the_others_nothing(ask: Ask, serve: Callable[..., int]) -> None:
    ok = b"HTTP/1.1 200 OK\r\nServer: Frob/2.1\r\n"
    bad_meta = b"HTTP/1.0 200 OK\r\n\r\n<meta http-equiv='refresh' content='0; url=http://[bad'>"
    manners = {
        "hangs": hang,
        "drips": drip,
        "a page without an end": _pour(ok + b"\r\n" + GENERATOR, b"<p>ab cd</p>\n" * 5000),
        "headers without an end": _pour(ok, b"X-A: " + b"a" * 2000 + b"\r\n"),
        "a redirect that is no URL": scripted(bad_meta),
        "no http": scripted(b"\xff\xfe no http\r\n"),
        "closes": lambda connection, over: None,
    }
    with ExitStack() as stack:
        ports = {name: stack.enter_context(Listener(manner)).port for name, manner in manners.items()}
        good = serve(GENERATOR)
        assert len(ports) + 1 == BATCH
        found = ask(*(_web(port, None) for port in ports.values()), _web(good))
    names = {port: name for name, port in ports.items()} | {good: "good"}
    outcomes = {names[int(each.subject.rpartition(":")[2][:-4])]: each.outcome for each in _coverage(found)}
    assert outcomes == {
        "hangs": Outcome.TIMED_OUT,
        "drips": Outcome.TIMED_OUT,
        "a page without an end": Outcome.ANSWERED,
        "headers without an end": Outcome.SILENT,
        "a redirect that is no URL": Outcome.ANSWERED,
        "no http": Outcome.SILENT,
        "closes": Outcome.SILENT,
        "good": Outcome.ANSWERED,
    }
    versions = {
        each.subject.split("@")[-1]: each.version
        for each in found
        if isinstance(each, Technology) and each.name == "WordPress"
    }
    assert versions == {f"{HERE}:{port}/tcp": "6.1.1" for port in (ports["a page without an end"], good)}


def test_a_bomb_is_not_unpacked(ask: Ask) -> None:
    bomb = gzip.compress(GENERATOR + b"\0" * 50_000_000)
    with Site({"/": bomb}, header="Content-Encoding: gzip\r\n") as server:
        found = ask(_web(server.port))
    assert b"Accept-Encoding: identity" in server.heard[0]
    assert "WordPress" not in _technologies(found)
    assert _coverage(found)[0].outcome is Outcome.ANSWERED


def test_without_its_guard_it_has_no_targets(tmp_path: Path) -> None:
    with Site() as server:
        asked = command([_web(server.port)], WhatWebOptions())
        broken = replace(asked, files={**asked.files, "guard.rb": "this is no Ruby ("})
        output = run(broken, Limits(60, tmp_path))
    assert server.heard == []
    with pytest.raises(OutputNotUnderstood):
        list(parse(output, [_web(server.port)]))
