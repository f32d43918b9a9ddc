"""What NVD, EPSS and KEV publish, read from their formats."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from footprint.advisories import Exploit, read_epss, read_kev, read_nvd, severity_of
from footprint.cpe import Cpe, Range
from footprint.records import Severity

FEEDS = Path(__file__).parent.parent / "fixtures" / "feeds"
NVD: Any = json.loads((FEEDS / "nvdcve-sample.json").read_text())


def _cve(**fields: Any) -> dict[str, Any]:
    return {"vulnerabilities": [{"cve": {"id": "CVE-2024-0001", **fields}}]}


def test_a_record_of_nvd_is_read_with_its_ranges() -> None:
    advisories = {advisory.id: advisory for advisory in read_nvd(NVD)}
    assert len(advisories) == NVD["totalResults"]
    exim = advisories["CVE-2019-10149"]
    assert (exim.score, exim.severity, exim.cvss) == (
        9.8,
        Severity.CRITICAL,
        "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H",
    )
    assert exim.published == datetime(2019, 6, 5, 14, 29, 11, 373000, UTC)
    assert exim.affected == ((Cpe("a", "exim", "exim"), Range(start="4.87", end="4.91", end_included=True)),)
    assert exim.summary.startswith("Exim 4.87 to 4.91")


def test_a_product_that_needs_another_beside_it_is_conditional_and_the_other_is_not_listed() -> None:
    redis = next(advisory for advisory in read_nvd(NVD) if advisory.id == "CVE-2022-0543")
    assert redis.affected == ((Cpe("a", "redis", "redis"), Range(conditional=True)),)


def _metric(vector: str, score: float, given: str = "Primary") -> dict[str, Any]:
    return {"type": given, "cvssData": {"vectorString": vector, "baseScore": score}}


def test_the_newest_version_of_cvss_counts_and_nvds_own_rating_first() -> None:
    metrics = {
        "cvssMetricV2": [_metric("AV:N/AC:L/Au:N/C:P/I:P/A:P", 7.5)],
        "cvssMetricV31": [_metric("CVSS:3.1/b", 9.8, "Secondary"), _metric("CVSS:3.1/a", 8.8)],
        "cvssMetricV40": [],
    }
    assert next(read_nvd(_cve(metrics=metrics))).cvss == "CVSS:3.1/a"
    metrics["cvssMetricV40"] = [_metric("CVSS:4.0/c", 9.3)]
    newest = next(read_nvd(_cve(metrics=metrics)))
    assert (newest.cvss, newest.score, newest.severity) == ("CVSS:4.0/c", 9.3, Severity.CRITICAL)


@pytest.mark.parametrize(
    ("score", "metric", "word"),
    [
        (0.0, "cvssMetricV31", "none"),
        (3.9, "cvssMetricV31", "low"),
        (4.0, "cvssMetricV31", "medium"),
        (6.9, "cvssMetricV31", "medium"),
        (7.0, "cvssMetricV31", "high"),
        (9.0, "cvssMetricV40", "critical"),
        (10.0, "cvssMetricV2", "high"),
        (6.9, "cvssMetricV2", "medium"),
    ],
)
def test_a_score_has_its_word(score: float, metric: str, word: str) -> None:
    assert severity_of(score, metric) == word


def test_a_rejected_record_is_to_be_forgotten() -> None:
    assert [advisory.rejected for advisory in read_nvd(_cve(vulnStatus="Rejected"))] == [True]


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        {"vulnerabilities": "x"},
        {"vulnerabilities": [None, {}, {"cve": 7}, {"cve": {"id": "not-a-cve"}}, {"cve": {"id": "CVE-1-1; DROP"}}]},
    ],
)
def test_what_is_no_record_is_left_out(document: Any) -> None:
    assert list(read_nvd(document)) == []


def test_a_record_with_little_in_it_is_read_all_the_same() -> None:
    bare = next(read_nvd(_cve(metrics=None, configurations=[{"nodes": [{"cpeMatch": [{"criteria": "garbage"}]}]}])))
    assert (bare.score, bare.severity, bare.affected, bare.published) == (None, Severity.NONE, (), None)


def test_a_description_cannot_act_on_a_terminal() -> None:
    told = next(read_nvd(_cve(descriptions=[{"lang": "en", "value": "bad\x1b[2J\u202e thing"}])))
    assert told.summary == "bad[2J thing"


def test_epss_is_read_below_its_comment() -> None:
    lines = (FEEDS / "epss-sample.csv").read_text().splitlines(keepends=True)
    scores = list(read_epss([*lines, "CVE-2024-1,not a number,1\n", "nonsense\n"]))
    assert len(scores) == 8
    assert scores[0] == Exploit("CVE-2011-2523", epss=0.94, percentile=0.99)


def test_kev_says_since_when_and_whether_ransomware_uses_it() -> None:
    known = {
        exploit.cve_id: exploit
        for exploit in read_kev(json.loads((FEEDS / "known_exploited_vulnerabilities.json").read_text()))
    }
    assert known["CVE-2019-10149"] == Exploit("CVE-2019-10149", known_since="2022-01-10", ransomware=True)
    assert known["CVE-2014-0160"].ransomware is False
