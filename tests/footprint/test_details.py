"""What is kept beside names, addresses and services: details, whose an address is, scores and judgements."""

from __future__ import annotations

from dataclasses import replace

import pytest

from footprint.errors import NotFound
from footprint.records import (
    Certificate,
    DnsRecord,
    DomainName,
    Finding,
    Host,
    Record,
    Service,
    Severity,
    Technology,
    WebPage,
)
from footprint.states import Status
from footprint.store import Store
from footprint.store.asset_views import asset_by_id, asset_findings, asset_hosts
from footprint.store.details import (
    CertificateView,
    DnsRecordView,
    TechnologyView,
    WebPageView,
    details_of_asset,
    details_of_scan,
)
from footprint.store.endings import finish
from footprint.store.scans import Begun
from footprint.store.scoring import judge_finding, scores_of_asset, scores_of_scan
from footprint.store.units import Settlement, Unit, begin_unit, plan_unit, settle_unit
from footprint.store.views import findings_of_scan, hosts_of_scan, scan_by_id
from footprint.verdict import UnitStatus, Verdict
from tests.footprint.test_store import _begun as begun

SITE = "www.example.test@127.0.0.1:443/tcp"
DETAILS: tuple[Record, ...] = (
    Technology(SITE, "nginx", version="1.22.1"),
    Certificate(
        SITE, "ab" * 32, issued_to="CN=www.example.test", names=("www.example.test",), not_after="2027-01-01T00:00:00Z"
    ),
    WebPage(SITE, "https://www.example.test/", status=200, title="Welcome", redirects=("https://www.example.test/a",)),
    DnsRecord("example.test", "TXT", "v=spf1 -all " + "x" * 3000),
)
LEAK = Finding(
    "http_probe/git",
    SITE,
    "The repository is exposed",
    Severity.HIGH,
    1.0,
    "ref: main",
    cvss="CVSS:3.1/AV:N",
    score=7.5,
)


def _keep(store: Store, scan: Begun, *records: Record, batch: int = 1) -> None:
    with store.write() as session:
        plan_unit(session, scan.id, scan.attempt, Unit("nmap", batch, 0, (Host("127.0.0.1"),)))
    with store.write() as session:
        unit_id, _ = begin_unit(session, scan.id, scan.attempt, "nmap", batch)
        settle_unit(session, scan.id, scan.attempt, unit_id, Settlement(UnitStatus.DONE, records=records))


def test_every_kind_of_detail_is_read_back_as_it_was(store: Store) -> None:
    scan = begun(store)
    _keep(store, scan, *DETAILS)
    views = (TechnologyView, CertificateView, WebPageView, DnsRecordView)
    with store.read() as session:
        seen = [details_of_scan(session, scan.id, view, 0, 10) for view in views]
        known = [details_of_asset(session, scan.asset_id, view, 0, 10) for view in views]
        counts = scan_by_id(session, scan.id).counts
        asset = asset_by_id(session, scan.asset_id)
    assert [total for _, total in seen] == [1, 1, 1, 1]
    for (found, _), record in zip(seen, DETAILS, strict=True):
        view = found[0]
        assert view.first_seen.tzinfo is not None
        assert {name: getattr(view, name) for name in type(record).__slots__} == {
            name: getattr(record, name) for name in type(record).__slots__
        }
    assert known == seen
    one_each = {"technologies": 1, "certificates": 1, "web_pages": 1, "dns_records": 1}
    assert {kind: count for kind, count in counts.items() if count} == one_each
    assert {kind: count for kind, count in asset.counts.items() if count} == one_each


def test_a_scan_shows_the_version_it_saw_and_the_asset_the_last(store: Store) -> None:
    first, second = begun(store), begun(store)
    _keep(store, first, Technology(SITE, "nginx", version="1.22.1"))
    _keep(store, second, Technology(SITE, "nginx", version="1.26.0"))
    with store.read() as session:
        then, _ = details_of_scan(session, first.id, TechnologyView, 0, 10)
        now, total = details_of_asset(session, first.asset_id, TechnologyView, 0, 10)
    assert (then[0].version, now[0].version, total) == ("1.22.1", "1.26.0", 1)


def test_what_is_known_of_an_address_comes_from_whoever_said_it(store: Store) -> None:
    scan = begun(store)
    _keep(store, scan, Host("127.0.0.1", "www.example.test", os="Linux 6"))
    _keep(store, scan, Host("127.0.0.1", asn=64500, prefix="127.0.0.0/8", holder="EXAMPLE", country="NL"), batch=2)
    with store.read() as session:
        seen, _ = hosts_of_scan(session, scan.id, 0, 10)
        known, _ = asset_hosts(session, scan.asset_id, 0, 10)
    for host in (*seen, *known):
        assert (host.os, host.asn, host.prefix, host.holder, host.country) == (
            "Linux 6",
            64500,
            "127.0.0.0/8",
            "EXAMPLE",
            "NL",
        )
        assert host.names == ("www.example.test",)


def test_a_finding_keeps_its_fingerprint_from_scan_to_scan(store: Store) -> None:
    first, second = begun(store), begun(store)
    _keep(store, first, LEAK)
    _keep(store, second, replace(LEAK, evidence="ref: trunk"), replace(LEAK, subject="127.0.0.1:443/tcp"))
    with store.read() as session:
        before, _ = findings_of_scan(session, first.id, 0, 10)
        after, total = findings_of_scan(session, second.id, 0, 10)
    assert total == 2
    assert before[0].fingerprint in {finding.fingerprint for finding in after}
    assert len({finding.fingerprint for finding in after}) == 2
    assert (before[0].cvss, before[0].score, before[0].status) == ("CVSS:3.1/AV:N", 7.5, "open")


def test_the_score_stands_in_the_scan_and_a_false_positive_leaves_it(store: Store) -> None:
    scan = begun(store)
    _keep(
        store,
        scan,
        LEAK,
        Host("127.0.0.1", "www.example.test"),
        DomainName("www.example.test"),
        Service("127.0.0.1", 443),
    )
    with store.write() as session:
        finish(session, scan.id, Verdict(Status.SUCCESS), "Completed", attempt=scan.attempt)
    with store.read() as session:
        assert scan_by_id(session, scan.id).score == 7.5
        found, _ = asset_findings(session, scan.asset_id, 0, 10)
    with store.write() as session:
        judge_finding(session, scan.asset_id, found[0].fingerprint, "false_positive")
        assert scores_of_asset(session, scan.asset_id).asset == 0
        assert scores_of_scan(session, scan.id).hosts == {"127.0.0.1": 0}
        with pytest.raises(NotFound):
            judge_finding(session, scan.asset_id, "0" * 32, "false_positive")
    # Found once more, it stays what it was judged to be.
    again = begun(store)
    _keep(store, again, LEAK)
    with store.read() as session:
        assert [finding.status for finding in findings_of_scan(session, again.id, 0, 10)[0]] == ["false_positive"]
