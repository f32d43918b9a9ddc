"""nuclei, run as scans run it, with templates of our own against listeners on loopback."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from footprint.records import Coverage, Endpoint, Finding, Outcome, Severity
from footprint.settings import Settings
from tasks.nuclei import NucleiOptions, command, installed
from tasks.nuclei_answers import parse, progress
from tasks.runner import Limits, run, search_path
from tests.conftest import free_port
from tests.estate.tls_hosts import TlsServer, make_certificates
from tests.tasks.hostile import Listener, drip, hang
from tests.tasks.pages import Site

HERE = "127.0.0.1"
NAME = "www.example.test"
TEMPLATES = Path(__file__).parent.parent / "fixtures/nuclei_templates"


def _web(port: int, name: str | None = NAME, service: str = "http", address: str = HERE) -> Endpoint:
    return Endpoint(address, port, name, service)


def _findings(found: list[Any]) -> list[Finding]:
    return [each for each in found if isinstance(each, Finding)]


def _coverage(found: list[Any]) -> list[Coverage]:
    return [each for each in found if isinstance(each, Coverage)]


pytestmark = pytest.mark.skipif(
    shutil.which("nuclei", path=search_path()) is None, reason="nuclei is not built here: make tools"
)
Ask = Callable[..., list[Any]]


@pytest.fixture
def ask(tmp_path: Path) -> Ask:
    """Ask real services with the templates of the tests, and read what is said of them."""

    def asked(*batch: Endpoint, **options: Any) -> list[Any]:
        chosen = NucleiOptions.model_validate({"timeout": 1, "retries": 0, "host_timeout": 20, **options})
        chosen = installed(chosen, Settings(nuclei_templates=TEMPLATES), "3.4.10")
        output = run(command(batch, chosen), Limits(60, tmp_path / "work"))
        return list(parse(output, batch))

    return asked


PANEL = b"<h1>Welcome, administrator</h1>build 1.2.3<br>"


def test_a_weakness_is_found_on_the_name_that_has_it(ask: Ask) -> None:
    with Site({f"{NAME} /panel/": PANEL}) as site:
        found = ask(_web(site.port), _web(site.port, "b.example.test"), _web(site.port, None))
    (finding,) = _findings(found)
    assert (finding.rule, finding.subject) == ("nuclei/open-panel", f"{NAME}@{HERE}:{site.port}/tcp")
    assert (finding.severity, finding.score) == (Severity.HIGH, 7.5)
    assert finding.evidence.endswith("/panel/: 1.2.3")
    assert {each.outcome for each in _coverage(found)} == {Outcome.ANSWERED}
    assert site.hosts() == {f"{host}:{site.port}" for host in (NAME, "b.example.test", HERE)}


def test_no_redirect_is_followed_whatever_the_template_says(ask: Ask) -> None:
    with Site({"/": b"ELSEWHERE"}) as elsewhere, Site(away=f"http://{HERE}:{elsewhere.port}/") as site:
        found = ask(_web(site.port))
    assert f"{NAME}:{site.port} /away" in site.asked()
    assert elsewhere.heard == []
    assert _findings(found) == []


def test_neither_code_nor_other_protocols_nor_harm_unless_it_is_asked_for(ask: Ask) -> None:
    with Site({"/heavy": b"x", "/tcp": b"x"}) as site:
        assert _findings(ask(_web(site.port))) == []
        assert not [heard for heard in site.heard if b" /heavy " in heard or b" /tcp " in heard]
        found = _findings(ask(_web(site.port), exclude_tags=()))
    assert [each.rule for each in found] == ["nuclei/knocks-over"]


def test_a_tls_server_hears_the_name(ask: Ask, tmp_path: Path) -> None:
    reply = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%b" % (len(PANEL), PANEL)
    with TlsServer(HERE, make_certificates(tmp_path)["expired"], reply=reply) as server:
        found = ask(_web(server.port, service="https"))
        assert set(server.server_names) == {NAME}
    assert "nuclei/open-panel" in {each.rule for each in _findings(found)}


def test_addresses_of_ipv6_are_asked(ask: Ask) -> None:
    with Site({"/panel/": PANEL}, "::1") as site:
        found = ask(_web(site.port, address="::1"), _web(site.port, None, address="::1"))
    assert {each.subject for each in _findings(found)} == {
        f"{NAME}@[::1]:{site.port}/tcp",
        f"[::1]:{site.port}/tcp",
    }


def test_unkind_services_cost_the_others_nothing(ask: Ask) -> None:
    with Listener(hang) as hanging, Listener(drip) as dripping, Site({"/panel/": PANEL}) as site:
        batch = (_web(hanging.port), _web(dripping.port), _web(free_port()), _web(site.port))
        found = ask(*batch)
    assert [each.outcome for each in _coverage(found)] == [Outcome.SILENT] * 3 + [Outcome.ANSWERED]
    assert [each.rule for each in _findings(found)] == ["nuclei/open-panel"]


def test_its_progress_is_seen_while_it_runs(tmp_path: Path) -> None:
    seen: list[float | None] = []
    with Listener(hang) as hanging:
        chosen = NucleiOptions(timeout=1, retries=0, templates=str(TEMPLATES))
        asked = command([_web(hanging.port)], chosen)
        run(asked, Limits(60, tmp_path / "work"), lambda piece: seen.append(progress(piece)))
    assert any(percent is not None and percent < 100 for percent in seen)
