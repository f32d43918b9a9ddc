"""How modules say that a target which answered did not answer everything, as `footprint.snapshots` reads it."""

from __future__ import annotations

from ipaddress import ip_network
from types import SimpleNamespace
from typing import cast

import pytest

from footprint.records import Coverage, Network, Outcome
from footprint.snapshots import Look
from tasks import dns, dns_brute, http_probe, reverse_dns, tls_answers
from tasks.dns_records import Reply, notes_of
from tasks.lookup import Answer, Trail
from tasks.tls_report import Results


def _look(module: str, coverage: Coverage) -> Look:
    assert coverage.outcome is Outcome.ANSWERED, "else its outcome says so already"
    return Look(module, 1, coverage.subject, coverage.outcome, coverage.note)


@pytest.mark.parametrize(("lacks", "is_whole"), [([], True), ([("the icon: connection refused", False)], False)])
def test_a_page_whose_icon_was_not_to_be_had(lacks: list[tuple[str, bool]], is_whole: bool) -> None:
    assert _look("http_probe", http_probe._coverage("a", 200, 3, lacks)).is_sound is is_whole


@pytest.mark.parametrize(("rcode", "is_whole"), [("NXDOMAIN", True), ("SERVFAIL", False), ("", False)])
def test_a_network_of_which_some_addresses_were_not_answered(rcode: str, is_whole: bool) -> None:
    addresses = list(ip_network("127.0.0.0/31"))
    named = reverse_dns.Named("a", "NOERROR", ("one.example.test",), "")
    other = reverse_dns.Named("b", rcode, (), "")
    here = dict(zip(addresses, (named, other), strict=True))
    said = reverse_dns._coverage(Network("127.0.0.0/31"), addresses, here, "", is_sampled=False)
    assert _look("reverse_dns", said).is_sound is is_whole


@pytest.mark.parametrize(
    ("rdtype", "rcode", "is_open"),
    [("MX", "", True), ("TXT", "SERVFAIL", True), ("MX", "NOERROR", False), ("MX", "NXDOMAIN", False)],
)
def test_records_that_were_not_answered(rdtype: str, rcode: str, is_open: bool) -> None:
    replies = [Reply("example.test", "SOA", "NOERROR"), Reply("example.test", rdtype, rcode)]
    look = Look("dns", 1, "example.test", Outcome.ANSWERED, "; ".join(["has no address", *notes_of(replies)]))
    assert look.open_types == ({rdtype} if is_open else set())


@pytest.mark.parametrize(("rcode", "is_open"), [("", True), ("SERVFAIL", True), ("NOERROR", False)])
def test_an_address_that_was_not_answered(rcode: str, is_open: bool) -> None:
    trails = (Trail("A", "NOERROR", addresses=("127.0.0.5",)), Trail("AAAA", rcode))
    look = _look("dns", dns._coverage(dns.Known(Answer("www.example.test", trails))))
    assert look.open_types == ({"AAAA"} if is_open else set())


@pytest.mark.parametrize(("reason", "is_whole"), [("CLIENT_CERTIFICATE_NEEDED", False), (None, True)])
def test_a_service_that_asks_for_a_certificate_before_it_answers(reason: str | None, is_whole: bool) -> None:
    attempts = {"robot": SimpleNamespace(status="COMPLETED", error_reason=None)}
    if reason:
        attempts["heartbleed"] = SimpleNamespace(status="ERROR", error_reason=reason)
    said = tls_answers._coverage("a", cast("Results", SimpleNamespace(attempts=attempts)), 1)
    assert _look("tls", said).is_sound is is_whole


@pytest.mark.parametrize(("field", "is_whole"), [("", True), ("unanswered", False), ("excluded", False)])
def test_a_domain_below_which_some_names_were_not_asked(field: str, is_whole: bool) -> None:
    counts = {"found": {"a": None}, "asked": 1000, "planned": 1000, "unanswered": 0, "excluded": 0} | (
        {field: 1} if field else {}
    )
    asking = SimpleNamespace(is_stopped=lambda: False, is_over=lambda: False)
    guess = SimpleNamespace(root="example.test", is_unheard=False, wildcards=[], notes=[], asking=asking, **counts)
    guess._outcome = lambda: dns_brute.Guessing._outcome(cast("dns_brute.Guessing", guess))
    said = dns_brute.Guessing.coverage(cast("dns_brute.Guessing", guess))
    assert _look("dns_brute", said).is_sound is is_whole
