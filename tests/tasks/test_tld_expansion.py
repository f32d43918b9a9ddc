"""Siblings of a domain, asked of a real name server on loopback that knows some top-level domains."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from publicsuffixlist import PublicSuffixList
from pydantic import ValidationError

from footprint.errors import LookupFailed, UnitError
from footprint.records import Coverage, DomainName, Outcome
from tasks.tld_expansion import SUFFIXES, TOOL, TldExpansionOptions, probe, registrable
from tasks.tool import Pace, Risk
from tests.estate.name_server import NameServer, free_port
from tests.tasks.asking import asking

ZONE = """
example.com      NS ns1.example.com.
example.com      NS ns2.example.com.
example.com      A 127.0.0.1
example.org      NS NS1.example.com.
example.de       NS ns.somebody-else.test.
example.co.uk    NS ns.somebody-else.test.
example.net      NS ns1.sedoparking.com.
example.io       A 127.0.0.2
*.us             A 127.0.0.3
*.cn             NS ns.registry.test.
example.cn       NS ns.own.test.
*.eu             CNAME parking.test.
parking.test     NS ns.parking.test.
"""
FOUND = {"example.org", "example.de", "example.co.uk"}


@pytest.fixture(scope="module")
def server() -> Iterator[NameServer]:
    with NameServer(ZONE) as running:
        yield running


class Run:
    """One unit: the names it yields, its coverage, and the error it ends with."""

    def __init__(self, server: NameServer | str, *roots: str, options: dict[str, Any] | None = None, **under: Any):
        chosen = TldExpansionOptions.model_validate({"rate": 1000, "timeout": 5, "tries": 1, **(options or {})})
        address = server if isinstance(server, str) else server.address
        batch = [DomainName(root) for root in roots]
        self.names: list[str] = []
        self.coverage: dict[str, tuple[Outcome, str]] = {}
        self.error: UnitError | None = None
        self.reported: list[float] = []
        circumstances = asking(address, target=roots[0], report=self.reported.append, **under)
        try:
            for found in probe(batch, chosen, circumstances):
                if isinstance(found, Coverage):
                    self.coverage[found.subject] = found.outcome, found.note
                else:
                    assert isinstance(found, DomainName)
                    self.names.append(found.name)
        except UnitError as error:
            self.error = error
        assert [*self.coverage] == list(roots)


def test_siblings_that_are_registered_are_found(server: NameServer) -> None:
    run = Run(server, "example.com")
    assert set(run.names) == FOUND
    assert len(run.names) == len(FOUND)
    assert run.error is None
    assert run.reported == [100]


def test_coverage_counts_what_exists_and_what_was_left_out(server: NameServer) -> None:
    outcome, note = Run(server, "example.com").coverage["example.com"]
    assert outcome is Outcome.ANSWERED
    assert note == (
        "3 of 39 domains of the same name exist, perhaps of others; 1 of them share name servers with example.com; "
        "1 that are parked were left out; 2 below suffixes that answer for any name were left out"
    )


def test_an_authoritative_server_may_refer() -> None:
    with NameServer(ZONE, chases=False) as server:
        assert set(Run(server, "example.com").names) == FOUND


def test_only_name_servers_are_asked_for(server: NameServer) -> None:
    server.asked.clear()
    Run(server, "example.com")
    assert {asked.rdtype for asked in server.asked} == {"NS"}
    assert len(server.asked) < 50


def test_as_many_suffixes_are_tried_as_told(server: NameServer) -> None:
    server.asked.clear()
    Run(server, "example.com", options={"suffixes": 3})
    assert {asked.name for asked in server.asked if "example" in asked.name} == {
        "example.com",
        "example.net",
        "example.org",
    }


def test_a_name_below_a_domain_stands_for_the_domain(server: NameServer) -> None:
    run = Run(server, "www.shop.example.co.uk")
    assert set(run.names) == {"example.com", "example.org", "example.de"}


def test_excluded_domains_are_not_asked(server: NameServer) -> None:
    server.asked.clear()
    run = Run(server, "example.com", exclude=("example.de", "uk"))
    assert set(run.names) == {"example.org"}
    assert not server.questions("example.de")
    assert not server.questions("example.co.uk")


@pytest.mark.parametrize("root", ["pulsar.test", "server.corp.internal", "printer.local"])
def test_names_that_are_not_public_stay_in_the_house(server: NameServer, root: str) -> None:
    server.asked.clear()
    run = Run(server, root)
    assert server.asked == []
    assert run.names == []
    assert run.coverage[root][0] is Outcome.SILENT
    assert "no public suffix" in run.coverage[root][1]


def test_what_is_a_public_suffix_itself_is_no_sibling(server: NameServer) -> None:
    server.asked.clear()
    Run(server, "co.berlin", options={"suffixes": len(SUFFIXES)})
    asked = {asked.name for asked in server.asked}
    assert "co.berlin" in asked
    assert "co.de" in asked or "co.fr" in asked
    assert not asked & {"co.uk", "co.in", "co.jp", "co.nz", "co.il"}


def test_a_domain_without_siblings_is_silent(server: NameServer) -> None:
    run = Run(server, "lonely.com")
    assert run.names == []
    assert run.coverage["lonely.com"] == (
        Outcome.SILENT,
        "0 of 39 domains of the same name exist, perhaps of others; "
        "2 below suffixes that answer for any name were left out",
    )


@pytest.mark.parametrize("fault", ["DROP", "SERVFAIL", "REFUSED"])
def test_without_an_answer_it_is_an_error_that_says_what_to_do(fault: str) -> None:
    with NameServer({f"*.{suffix}": fault for suffix in SUFFIXES}) as server:
        run = Run(server, "example.com", options={"timeout": 0.2, "parallel": 50})
    assert isinstance(run.error, LookupFailed)
    assert "PULSAR_RESOLVERS" in run.error.hint
    assert run.coverage["example.com"] == (Outcome.TIMED_OUT, "no name server answered")


def test_a_name_server_that_is_not_there() -> None:
    run = Run(f"127.0.0.1:{free_port()}", "example.com", options={"timeout": 0.2, "parallel": 50})
    assert isinstance(run.error, LookupFailed)


def test_a_few_names_without_an_answer_are_counted_and_many_are_too_many() -> None:
    silent = {f"example.{suffix}": "SERVFAIL" for suffix in ("nl", "info", "ru")}
    with NameServer({"example.org": "NS ns.test.", **silent}) as server:
        assert Run(server, "example.com").coverage["example.com"][0] is Outcome.ANSWERED
    silent |= {f"example.{suffix}": "SERVFAIL" for suffix in ("fr", "eu")}
    with NameServer({"example.org": "NS ns.test.", **silent}) as server:
        outcome, note = Run(server, "example.com").coverage["example.com"]
    assert outcome is Outcome.TIMED_OUT
    assert "5 were not answered" in note


def test_a_suffix_that_cannot_be_told_from_a_wildcard_is_left_out() -> None:
    with NameServer({"example.org": "NS ns.test.", "*.org": "SERVFAIL"}) as server:
        run = Run(server, "example.com")
    assert run.names == []
    assert "1 were not answered" in run.coverage["example.com"][1]


def test_when_time_is_up_it_says_so() -> None:
    with NameServer({f"*.{suffix}": "DROP" for suffix in SUFFIXES}) as server:
        run = Run(server, "example.com", seconds=0.3)
    assert run.coverage["example.com"] == (Outcome.NOT_LOOKED_AT, "the time for this unit ran out")
    assert run.error is None


def test_a_stopped_scan_says_so(server: NameServer) -> None:
    stopped = threading.Event()
    stopped.set()
    run = Run(server, "example.com", stopped=stopped)
    assert run.coverage["example.com"] == (Outcome.NOT_LOOKED_AT, "the scan was stopped")


def test_every_suffix_is_on_the_public_suffix_list_and_is_listed_once() -> None:
    listed = PublicSuffixList(only_icann=True, accept_unknown=False)
    assert [suffix for suffix in SUFFIXES if listed.publicsuffix(suffix) != suffix] == []
    assert len(set(SUFFIXES)) == len(SUFFIXES) > 150


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("example.com", ("example", "com")),
        ("a.b.example.co.uk", ("example", "co.uk")),
        ("somebody.github.io", ("somebody", "github.io")),
        ("co.uk", None),
        ("pulsar.test", None),
    ],
)
def test_the_registered_label(name: str, expected: tuple[str, str] | None) -> None:
    assert registrable(name) == expected


def test_the_registered_label_below_a_suffix_of_ones_own() -> None:
    assert registrable("www.pulsar.test", accept_unknown=True) == ("pulsar", "test")


def test_what_it_takes_and_what_it_risks() -> None:
    assert TOOL.risk is Risk.PASSIVE
    assert not TOOL.intake_of(DomainName("www.example.com"), is_root=False)
    rates = [TOOL.configure({}, Pace(intensity, 60, "top:100")).rate for intensity in range(6)]
    assert rates == sorted(set(rates))
    with pytest.raises(ValidationError):
        TOOL.configure({"suffixes": 1000}, Pace(3, 60, "top:100"))
