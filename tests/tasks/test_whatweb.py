"""The whatweb module: what it asks, how it reads pages, and real web servers, kind and unkind."""

from __future__ import annotations

import contextlib
import gzip
import json
import shutil
import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest

from footprint.errors import InvalidTarget, OutputNotUnderstood, ToolTimedOut
from footprint.records import Coverage, Endpoint, Finding, Outcome, Technology
from tasks.runner import Limits, run
from tasks.tool import Ending, Output, Pace, Risk
from tasks.whatweb import BATCH, TOOL, WhatWebOptions, command, configure
from tasks.whatweb_answers import MOST, parse
from tests.conftest import free_port
from tests.estate.daemons import lacking, nginx, running
from tests.estate.tls_hosts import TlsServer, make_certificates
from tests.tasks.hostile import Listener, drip, hang, scripted

HERE = "127.0.0.1"
NAME = "www.example.test"
GENERATOR = b'<meta name="generator" content="WordPress 6.1.1" />'


def _web(port: int, name: str | None = NAME, service: str = "http", address: str = HERE) -> Endpoint:
    return Endpoint(address, port, name, service)


def _page(number: int = 0, status: int = 200, **plugins: Any) -> str:
    named = {name.replace("_", "-"): matched for name, matched in plugins.items()}
    return json.dumps({"target": f"http://{NAME}/#{number}", "http_status": status, "plugins": named})


def _read(*pages: str, **output: Any) -> list[Any]:
    return list(parse(Output("[\n" + "\n,\n".join(pages) + "\n]\n", **output), [_web(80)]))


def _technologies(found: list[Any]) -> dict[str, Technology]:
    return {each.name: each for each in found if isinstance(each, Technology)}


# Asking


def test_a_target_is_its_url_with_its_number_and_its_address() -> None:
    batch = [_web(80), _web(8443, None, "https"), _web(80, address="127.0.0.2"), _web(80, None, address="::1")]
    assert command(batch, WhatWebOptions()).files["places"].splitlines() == [
        f"http://{NAME}/#0 127.0.0.1", "https://127.0.0.1:8443/#1 127.0.0.1",
        f"http://{NAME}/#2 127.0.0.2", "http://[::1]/#3 ::1",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "name", ["a b.test", "a\nb.test", "/etc/passwd", "a.test/#7 ::1", "-x.test", "A.test", "a@b.test"]
)
def test_a_name_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(InvalidTarget) as error:
        command([_web(80, name)], WhatWebOptions())
    assert name not in str(error.value)


@pytest.mark.parametrize("record", [_web(80, address="www.test"), _web(0), Finding("rule", "subject")])
def test_what_is_no_place_on_the_web_is_refused(record: Any) -> None:
    with pytest.raises(InvalidTarget):
        command([record], WhatWebOptions())


def test_it_takes_web_services_by_each_of_their_names() -> None:
    assert TOOL.intake_of(_web(80))
    assert TOOL.intake_of(_web(8443, service="https-alt"))
    assert TOOL.intake_of(_web(22, service="ssh")) is None
    key = TOOL.accepts[0].key
    assert key(_web(80)) != key(_web(80, "blog.example.test")) != key(_web(80, None))


def test_it_asks_for_more_than_one_page_only_where_the_policy_is_bold() -> None:
    calm, bold = (configure({}, Pace(intensity, 3600, "top:100")) for intensity in (3, 4))
    assert (calm.aggression, bold.aggression) == (1, 3)
    assert TOOL.risk_with
    assert (TOOL.risk_with(calm), TOOL.risk_with(bold)) == (Risk.SAFE, Risk.INTRUSIVE)


# Reading


def test_what_tells_of_a_page_is_no_technology() -> None:
    found = _read(_page(Title={"string": ["Our shop"]}, Country={"string": ["RESERVED"]}, IP={"string": [HERE]}))
    assert found == [Coverage(f"{NAME}@{HERE}:80/tcp", Outcome.ANSWERED)]


def test_a_header_names_products_that_no_plugin_knows() -> None:
    server = {"string": ["Frob/2.1 (Debian) mod_x/0.3"], "os": ["Debian Linux"]}
    found = _technologies(_read(_page(HTTPServer=server, X_Powered_By={"string": ["Servlet"]})))
    assert {name: one.version for name, one in found.items()} == {"Frob": "2.1", "mod_x": "0.3", "Servlet": None}
    assert found["Frob"].detail == "Server: Frob/2.1 (Debian) mod_x/0.3"


def test_a_product_of_header_and_plugin_is_one_and_keeps_what_the_header_says() -> None:
    plugins = {"HTTPServer": {"string": ["Apache/2.4.57 (Debian)"]}, "Apache": {"version": ["2.4.57"]}}
    (apache,) = _technologies(_read(_page(**plugins))).values()
    assert (apache.name, apache.version, apache.detail) == ("Apache", "2.4.57", "Server: Apache/2.4.57 (Debian)")


def test_several_possible_versions_are_told_and_none_is_claimed() -> None:
    found = _technologies(_read(_page(Joomla={"version": ["3.1", "3.2"], "certainty": 75}, Guess={"certainty": 25})))
    assert list(found) == ["Joomla"]
    assert (found["Joomla"].version, found["Joomla"].detail) == (None, "likely; one of 3.1, 3.2")


def test_no_more_technologies_are_kept_than_mean_anything() -> None:
    found = _read(_page(**{f"Plugin{number}": {} for number in range(MOST + 5)}))
    assert len(_technologies(found)) == MOST
    assert found[-1].outcome is Outcome.SAMPLED


def test_a_number_that_was_not_asked_for_is_nobodys() -> None:
    found = _read(_page(), _page(7, Apache={"version": ["2.4"]}), _page(-1), '{"target":"#\u0661"}')
    assert [type(each) for each in found] == [Coverage]


def test_an_empty_array_without_a_reason_is_a_failure() -> None:
    with pytest.raises(OutputNotUnderstood):
        _read(files={"errors": ""})


def test_a_page_that_held_it_up_is_an_error_and_the_others_count() -> None:
    output = Output(f"[\n{_page(1, nginx={'version': ['1.22.1']})}\n", ending=Ending.TIMED_OUT, seconds=90)
    outcomes = {}
    with contextlib.suppress(ToolTimedOut):
        for each in parse(output, [_web(80), _web(81)]):
            if isinstance(each, Coverage):
                outcomes[each.subject] = each.outcome
        pytest.fail("that it was held up is an error")
    assert outcomes == {f"{NAME}@{HERE}:80/tcp": Outcome.TIMED_OUT, f"{NAME}@{HERE}:81/tcp": Outcome.ANSWERED}


# Really asking

needs_whatweb = pytest.mark.skipif(shutil.which("whatweb") is None, reason="not installed: apt-get install whatweb")
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


class Paged(AbstractContextManager["Paged"]):
    """A server that answers with one page, keeps what it heard, and says which host it was asked for."""

    def __init__(
        self, page: bytes = b"", address: str = HERE, *, status: bytes = b"200 OK", header: bytes = b""
    ) -> None:
        self.heard: list[bytes] = []
        self._page, self._head = page, b"HTTP/1.1 " + status + b"\r\n" + header + b"Connection: close\r\n\r\n"
        self._listener = Listener(self._answer, address)
        self.port = self._listener.port

    def __enter__(self) -> Paged:
        self._listener.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.__exit__()

    def _answer(self, connection: socket.socket, over: Event) -> None:
        self.heard.append(connection.recv(65536))
        connection.sendall(self._head + self._page)

    def hosts(self) -> list[str]:
        """What came as `Host`, in order."""
        return [line[6:] for heard in self.heard for line in heard.decode().split("\r\n") if line.startswith("Host: ")]


@needs_whatweb
def test_a_real_server_and_what_it_serves_are_recognised(ask: Ask, serve: Callable[..., int]) -> None:
    found = _technologies(ask(_web(serve(GENERATOR))))
    assert found["WordPress"].version == "6.1.1"
    assert found["nginx"].version


@needs_whatweb
def test_virtual_hosts_are_told_apart_by_their_names(ask: Ask, serve: Callable[..., int]) -> None:
    by_name = (
        'set $made "none"; if ($host = "php.example.test") { set $made "PHP/8.2.7"; } add_header X-Powered-By $made;'
    )
    port = serve(b"", by_name)
    found = ask(_web(port, "php.example.test"), _web(port, "other.example.test"), _web(port, None))
    assert [each.subject for each in found if isinstance(each, Technology) and each.name == "PHP"] == [
        f"php.example.test@{HERE}:{port}/tcp"
    ]


@needs_whatweb
def test_a_name_is_asked_for_at_the_address_it_was_given_with_and_not_resolved(ask: Ask) -> None:
    with Paged() as one, Paged(address="127.0.0.2") as other:
        found = ask(_web(one.port), _web(other.port, address="127.0.0.2"), _web(one.port, None))
    assert sorted(one.hosts()) == [f"{HERE}:{one.port}", f"{NAME}:{one.port}"]
    assert other.hosts() == [f"{NAME}:{other.port}"]
    assert {each.outcome for each in _coverage(found)} == {Outcome.ANSWERED}


@needs_whatweb
def test_a_tls_server_hears_the_name_and_one_without_a_name_hears_none(ask: Ask, tmp_path: Path) -> None:
    reply = b"HTTP/1.0 200 OK\r\nServer: Frob/2.1\r\n\r\n"
    made = make_certificates(tmp_path)
    with TlsServer(HERE, made["expired"], reply=reply) as server:
        found = ask(_web(server.port, service="https"), _web(server.port, None, "https"))
        assert set(server.server_names) == {NAME, None}
    assert [each.version for each in found if isinstance(each, Technology)] == ["2.1", "2.1"]


@needs_whatweb
def test_addresses_of_ipv6_are_asked(ask: Ask) -> None:
    listening = socket.create_server(("::1", 0), family=socket.AF_INET6)
    port, heard = listening.getsockname()[1], []
    listening.settimeout(10)

    def answer() -> None:
        for _ in range(2):
            connection, _address = listening.accept()
            with connection:
                heard.append(connection.recv(65536))
                connection.sendall(b"HTTP/1.0 200 OK\r\nServer: Frob/2.1\r\n\r\n")

    thread = Thread(target=answer)
    thread.start()
    found = ask(_web(port, None, address="::1"), _web(port, address="::1"))
    thread.join()
    listening.close()
    assert sorted(line for one in heard for line in one.decode().splitlines() if line.startswith("Host:")) == [
        f"Host: [::1]:{port}",
        f"Host: {NAME}:{port}",
    ]
    assert {each.outcome for each in _coverage(found)} == {Outcome.ANSWERED}


@needs_whatweb
@pytest.mark.parametrize("aggression", [1, 3])
def test_no_redirect_is_followed(ask: Ask, aggression: int) -> None:
    with Paged() as elsewhere:
        away = f"http://{HERE}:{elsewhere.port}/".encode()
        page = b'<meta http-equiv="refresh" content="0; url=' + away + b'">'
        with Paged(page, status=b"302 Found", header=b"Location: " + away + b"\r\n") as redirecting:
            (coverage,) = _coverage(ask(_web(redirecting.port), aggression=aggression))
        assert coverage.note.startswith("HTTP 302")
        assert elsewhere.heard == []


@needs_whatweb
def test_what_plugins_ask_for_is_only_ever_the_service_itself(ask: Ask, tmp_path: Path) -> None:
    page = b'Powered by <a href="http://www.joomla.org">Joomla!</a>.'
    with Paged(page) as joomla, Paged() as other:
        ask(_web(joomla.port), _web(other.port), aggression=3)
    assert len(joomla.heard) > 1
    assert set(joomla.hosts()) == {f"{NAME}:{joomla.port}"}
    assert len(other.heard) == 1


@needs_whatweb
@pytest.mark.parametrize("place", ["127.0.0.1:{other}", "www.example.test:{other}", "127.0.0.2:{own}"])
def test_a_plugin_that_leads_elsewhere_gets_nowhere(tmp_path: Path, place: str) -> None:
    with Paged() as server, Paged(address="127.0.0.2") as elsewhere, Paged() as other:
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


@needs_whatweb
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


@needs_whatweb
def test_a_bomb_is_not_unpacked(ask: Ask) -> None:
    bomb = gzip.compress(GENERATOR + b"\0" * 50_000_000)
    with Paged(bomb, header=b"Content-Encoding: gzip\r\n") as server:
        found = ask(_web(server.port))
    assert b"Accept-Encoding: identity" in server.heard[0]
    assert "WordPress" not in _technologies(found)
    assert _coverage(found)[0].outcome is Outcome.ANSWERED


@needs_whatweb
def test_without_its_guard_it_has_no_targets(tmp_path: Path) -> None:
    with Paged() as server:
        asked = command([_web(server.port)], WhatWebOptions())
        broken = replace(asked, files={**asked.files, "guard.rb": "this is no Ruby ("})
        output = run(broken, Limits(60, tmp_path))
    assert server.heard == []
    with pytest.raises(OutputNotUnderstood):
        list(parse(output, [_web(server.port)]))
