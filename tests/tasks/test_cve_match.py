"""Versions that were found, matched with the feed that ships with the tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from footprint.errors import FeedMissing
from footprint.records import Coverage, Finding, Outcome, Record, Service, Severity, Technology
from footprint.settings import Settings
from footprint.store import Store
from tasks.cve_match import BACKPORTED, GUESSED, TOOL, check, probe, products_of
from tasks.feeds import Fetcher
from tasks.tool import Pace
from tests.tasks.asking import asking

FEEDS = Path(__file__).parent.parent / "fixtures" / "feeds"
SITE = "www.example.test@127.0.0.1:443/tcp"


@pytest.fixture
def fed(store: Store) -> Store:
    assert Fetcher(Settings(), store).update(FEEDS) == {}
    return store


def _match(store: Store, *records: Record, **options: Any) -> tuple[dict[str, Finding], list[Coverage]]:
    found = list(probe(records, TOOL.configure(options, Pace(3, 60, "top:100")), asking(store=store)))
    findings = {one.rule.removeprefix("cve_match/"): one for one in found if isinstance(one, Finding)}
    return findings, [one for one in found if isinstance(one, Coverage)]


def _ssh(cpe: str, version: str | None = None, detail: str | None = None) -> Service:
    return Service("127.0.0.1", 22, name="ssh", product="OpenSSH", version=version, detail=detail, cpes=(cpe,))


def test_a_version_in_a_range_is_a_finding_with_all_that_is_known(fed: Store) -> None:
    service = Service(
        "127.0.0.1", 25, name="smtp", product="Exim smtpd", version="4.89", cpes=("cpe:/a:exim:exim:4.89",)
    )
    findings, coverage = _match(fed, service)
    assert list(findings) == ["CVE-2019-10149"]
    finding = findings["CVE-2019-10149"]
    assert (finding.subject, finding.severity, finding.score) == ("127.0.0.1:25/tcp", Severity.CRITICAL, 9.8)
    assert finding.cvss == "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"
    assert finding.confidence == 0.8
    for word in ("from 4.87 up to 4.91", "CISA KEV", "ransomware", "EPSS 93.0%"):
        assert word in finding.evidence
    assert finding.reference.endswith("/CVE-2019-10149")
    assert coverage == [Coverage("127.0.0.1:25/tcp", Outcome.ANSWERED)]


def test_an_exact_version_is_surer_than_one_below_a_bound(fed: Store) -> None:
    exact, _ = _match(fed, Service("127.0.0.1", 21, cpes=("cpe:/a:vsftpd:vsftpd:2.3.4",)))
    below, _ = _match(fed, _ssh("cpe:/a:openbsd:openssh:7.2p2"))
    assert exact["CVE-2011-2523"].confidence > below["CVE-2018-15473"].confidence


@pytest.mark.parametrize(
    ("cpe", "expected"),
    [
        ("cpe:/a:openbsd:openssh:7.2p2", {"CVE-2016-6210", "CVE-2018-15473", "CVE-2023-48795"}),
        ("cpe:/a:openbsd:openssh:7.7", {"CVE-2018-15473", "CVE-2023-48795"}),
        ("cpe:/a:openbsd:openssh:9.2p1", {"CVE-2023-48795"}),
        ("cpe:/a:openbsd:openssh:9.6p1", set()),
        ("cpe:/a:openssl:openssl:1.0.1f", {"CVE-2014-0160"}),
        ("cpe:/a:openssl:openssl:1.0.1g", set()),
        ("cpe:/a:openssl:openssl:1.0.0", set()),
        ("cpe:/a:someone_else:openssh:7.2", set()),
    ],
)
def test_only_the_versions_listed_match(fed: Store, cpe: str, expected: set[str]) -> None:
    assert set(_match(fed, _ssh(cpe))[0]) == expected


def test_a_distributions_version_is_half_as_sure(fed: Store) -> None:
    plain, _ = _match(fed, _ssh("cpe:/a:openbsd:openssh:9.2p1", "9.2p1"))
    debian, _ = _match(fed, _ssh("cpe:/a:openbsd:openssh:9.2p1", "9.2p1 Debian 2+deb12u7"))
    assert debian["CVE-2023-48795"].confidence == pytest.approx(plain["CVE-2023-48795"].confidence * BACKPORTED)
    assert "perhaps mended" in debian["CVE-2023-48795"].evidence


def test_a_product_that_needs_another_beside_it_is_less_sure(fed: Store) -> None:
    findings, _ = _match(fed, Service("127.0.0.1", 6379, cpes=("cpe:/a:redislabs:redis:7.0.15",)))
    assert findings["CVE-2022-0543"].confidence < 0.3


def test_a_technology_is_matched_by_its_name(fed: Store) -> None:
    findings, _ = _match(fed, Technology(SITE, "OpenSSL", version="1.0.1e"))
    assert findings["CVE-2014-0160"].subject == SITE
    assert findings["CVE-2014-0160"].confidence == pytest.approx(0.8 * GUESSED)


def test_what_tells_no_version_is_not_taken(fed: Store) -> None:
    bare = Service("127.0.0.1", 22, name="ssh", cpes=("cpe:/a:openbsd:openssh", "cpe:/o:linux:linux_kernel"))
    for record in (bare, Technology(SITE, "OpenSSL"), Technology(SITE, "Unheard Of", version="1")):
        assert products_of(record) == []
        assert TOOL.intake_of(record) is None
    assert TOOL.intake_of(_ssh("cpe:/a:openbsd:openssh:9.2p1")) is not None


def test_the_policy_says_what_is_worth_a_finding(fed: Store) -> None:
    service = _ssh("cpe:/a:openbsd:openssh:7.2p2")
    assert set(_match(fed, service, min_score=5.5)[0]) == {"CVE-2016-6210", "CVE-2023-48795"}
    assert set(_match(fed, service, min_confidence=0.75)[0]) == set()
    findings, coverage = _match(fed, service, most=1)
    assert len(findings) == 1
    assert coverage[0].outcome is Outcome.SAMPLED
    assert "2 more" in coverage[0].note


def test_without_a_feed_it_says_how_to_get_one(store: Store) -> None:
    with pytest.raises(FeedMissing) as error:
        check(Settings(), store)
    assert "pulsar feeds update" in error.value.hint


def test_with_a_feed_it_is_ready(fed: Store) -> None:
    check(Settings(), fed)


def test_when_time_is_up_the_rest_is_not_looked_at(fed: Store) -> None:
    batch = [_ssh("cpe:/a:openbsd:openssh:7.2p2")]
    found = list(probe(batch, TOOL.configure({}, Pace(3, 60, "top:100")), asking(store=fed, seconds=-1)))
    assert [one.outcome for one in found if isinstance(one, Coverage)] == [Outcome.NOT_LOOKED_AT]
    assert len(found) == 1
