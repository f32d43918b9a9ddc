"""The one formula: findings, hosts, domains, asset."""

from __future__ import annotations

import pytest

from footprint.records import Endpoint, Host, Service, Severity, subject_of
from footprint.score import MIDDLE, Scores, Weight, combine, place_of, roll_up, weigh


@pytest.mark.parametrize(
    ("severity", "score", "confidence", "weight"),
    [
        (Severity.CRITICAL, 9.8, 1.0, 9.8),
        (Severity.CRITICAL, 9.8, 0.5, 4.9),
        (Severity.HIGH, None, 1.0, 8.0),
        (Severity.NONE, None, 1.0, 0.0),
        (Severity.LOW, 0.0, 1.0, 0.0),
        (Severity.HIGH, 99.0, 7.0, 10.0),
        (Severity.HIGH, -1.0, 1.0, 0.0),
    ],
)
def test_a_finding_weighs_its_score_times_the_confidence(
    severity: Severity, score: float | None, confidence: float, weight: float
) -> None:
    assert weigh(severity, score, confidence) == pytest.approx(weight)


def test_every_severity_has_a_middle_and_worse_weighs_more() -> None:
    assert [MIDDLE[severity] for severity in Severity] == sorted(MIDDLE.values())
    assert set(MIDDLE) == set(Severity)


def test_one_bad_thing_shows_and_many_are_worse_than_one() -> None:
    assert combine([]) == 0
    assert combine([8]) == 8
    assert combine([8, 0]) == 6
    assert combine([8, 8]) > combine([8, 4]) > combine([8, 0])


@pytest.mark.parametrize(
    ("subject", "place"),
    [
        ("www.example.com", "www.example.com"),
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::1"),
        (subject_of(Service("192.0.2.1", 443)), "192.0.2.1"),
        (subject_of(Service("2001:db8::1", 53, "udp")), "2001:db8::1"),
        (subject_of(Endpoint("192.0.2.1", 443, "www.example.com")), "192.0.2.1"),
        (subject_of(Endpoint("2001:db8::1", 443, "www.example.com")), "2001:db8::1"),
        (subject_of(Endpoint("192.0.2.1", 443)), "192.0.2.1"),
        (subject_of(Host("192.0.2.1")), "192.0.2.1"),
    ],
)
def test_a_subject_belongs_to_its_host_or_domain(subject: str, place: str) -> None:
    assert place_of(subject) == place


def test_findings_roll_up_from_hosts_to_domains_to_the_asset() -> None:
    weights = [
        Weight("www.example.com@192.0.2.1:443/tcp", 6.0),
        Weight("192.0.2.1:22/tcp", 2.0),
        Weight("example.com", 4.0),
    ]
    hosts = {"192.0.2.1": ["www.example.com", "example.com"], "192.0.2.2": []}
    scores = roll_up(weights, hosts, ["quiet.example.com"])
    assert scores.hosts == {"192.0.2.1": 5.0, "192.0.2.2": 0.0}
    assert scores.domains == {"www.example.com": 5.0, "example.com": 4.75, "quiet.example.com": 0.0}
    # (5 + 4.75 + 0, and 0 for the host without a name) / 4 = 2.4375; with the maximum 5: 3.71875
    assert scores.asset == 3.72


def test_a_host_that_nobody_named_counts_by_itself() -> None:
    assert roll_up([Weight("192.0.2.9:80/tcp", 8.0)], {}) == Scores(8.0, {}, {"192.0.2.9": 8.0})


def test_nothing_found_is_zero() -> None:
    assert roll_up([], {"192.0.2.1": ["example.com"]}) == Scores(0.0, {"example.com": 0.0}, {"192.0.2.1": 0.0})
