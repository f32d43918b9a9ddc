"""What an extension is told, and how its output is read."""

from __future__ import annotations

import json
from typing import Any

import pytest

from footprint.manifest import Manifest
from footprint.records import DomainName, Finding, Host, Record, Service, Severity
from footprint.store.surroundings import Surroundings
from tasks.extension_answers import MOST_DATA, MOST_FINDINGS, Reading, read_output, told_of

HOST = Host("192.0.2.1", name="www.a.example")
SERVICES = (Service("192.0.2.1", 22, name="ssh"), Service("192.0.2.1", 80, name="http"), Service("192.0.2.1", 9))
AROUND = Surroundings(("a.example", "www.a.example"), ("192.0.2.1",), SERVICES)


def _manifest(**fields: Any) -> Manifest:
    return Manifest(name="one", accepts=("host",), script="one.sh", **fields)


def _read(text: str, *, ended_well: bool = True, **fields: Any) -> Reading:
    return read_output(text, _manifest(**fields), HOST, ended_well=ended_well)


def _lines(*objects: dict[str, Any]) -> str:
    return "".join(json.dumps(one) + "\n" for one in objects)


@pytest.mark.parametrize(
    ("record", "around", "fqdn", "services"),
    [
        (HOST, AROUND, "www.a.example", "22/SSH,80/HTTP,9/UNKNOWN"),
        (Host("192.0.2.1"), AROUND, "a.example", "22/SSH,80/HTTP,9/UNKNOWN"),
        (Host("192.0.2.1"), Surroundings(), "192.0.2.1", ""),
        (DomainName("b.example"), Surroundings(("b.example",)), "b.example", ""),
        (Service("192.0.2.1", 80), AROUND, "a.example", "80/HTTP,22/SSH,9/UNKNOWN"),
        (Service("192.0.2.1", 443, name="https"), Surroundings(), "192.0.2.1", "443/HTTPS"),
    ],
)
def test_it_is_told_the_name_and_the_services(record: Record, around: Surroundings, fqdn: str, services: str) -> None:
    given = told_of(record, around)
    assert (given.environment["DOM_FQDN"], given.environment["DOM_SVCS"]) == (fqdn, services)
    data = json.loads(given.environment["ALL_DATA"])
    assert data["record"] == json.loads(given.stdin)
    assert data["record"]["kind"] == record.kind
    assert [f"{one['port']}/{(one['name'] or 'unknown').upper()}" for one in data["services"]] == [
        word for word in services.split(",") if word
    ]
    assert data["complete"] is True


def test_what_it_is_told_fits_into_an_environment() -> None:
    many = tuple(Service("192.0.2.1", port, detail="ü" * 2000) for port in range(1, 501))
    data = told_of(HOST, Surroundings(("n.example",) * 500, ("192.0.2.1",), many)).environment["ALL_DATA"]
    assert len(data.encode()) < MOST_DATA + 8192
    assert 0 < len(json.loads(data)["services"]) < 500
    assert json.loads(data)["complete"] is False


def test_any_text_is_one_finding_with_what_the_manifest_says() -> None:
    reading = _read("Old\x1b[2J PHP\n5.3\n", description="Old PHP", severity="high", reference="https://a.example/")
    assert reading == Reading((Finding("extension/one", "192.0.2.1"),))
    (finding,) = reading.findings
    assert (finding.title, finding.evidence) == ("Old PHP", "Old[2J PHP 5.3 ")
    assert (finding.severity, finding.reference) == (Severity.HIGH, "https://a.example/")


@pytest.mark.parametrize("text", ["", "\n \n\t\n"])
def test_nothing_printed_is_nothing_found(text: str) -> None:
    assert _read(text) == Reading()


def test_text_of_what_did_not_end_well_is_no_finding_and_lines_of_json_are() -> None:
    cut = _read("Traceback (most rec", ended_well=False)
    assert (cut.findings, len(cut.mistakes)) == ((), 1)
    cut = _read(_lines({"title": "first"}) + '{"title": "sec', ended_well=False)
    assert [finding.title for finding in cut.findings] == ["first"]
    assert cut.mistakes == ("line 2: not JSON",)


def test_lines_of_json_are_findings_each_with_what_it_says() -> None:
    cvss = "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:L/I:N/A:N"
    told = {"title": "A", "rule": "a", "severity": "low", "score": 3.1, "cvss": cvss}
    more = {"confidence": 0.5, "evidence": "e", "reference": "https://b.example/"}
    said: dict[str, Any] = {"severity": "critical", "score": 9.9, "reference": "https://a.example/"}
    first, second = _read(_lines(told | more, {"title": "B"}), **said).findings
    assert (first.rule, first.severity, first.score, first.cvss) == ("extension/one/a", Severity.LOW, 3.1, cvss)
    assert (first.confidence, first.evidence, first.reference) == (0.5, "e", "https://b.example/")
    assert (second.rule, second.severity, second.score) == ("extension/one", Severity.CRITICAL, 9.9)
    assert second.reference == "https://a.example/"


@pytest.mark.parametrize(
    ("score", "severity"), [(0, "none"), (0.1, "low"), (4, "medium"), (6.9, "medium"), (7, "high"), (9, "critical")]
)
def test_a_score_alone_says_how_severe_it_is(score: float, severity: str) -> None:
    (told,) = _read(_lines({"title": "A", "score": score}), severity="critical").findings
    (silent,) = _read("text", score=score).findings
    assert (told.severity, silent.severity) == (severity, severity)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"title": "A", "hots": 1}', "a finding has no field hots"),
        ('{"rule": "a"}', "title: Field required"),
        ('{"title": ""}', "title: "),
        ('{"title": 5}', "title: "),
        ('{"title": "\\ud800"}', "title: "),
        ('{"title": "A", "severity": "bad"}', "severity: "),
        ('{"title": "A", "score": 11}', "score: "),
        ('{"title": "A", "score": NaN}', "score: "),
        ('{"title": "A", "score": "5"}', "score: "),
        ('{"title": "A", "cvss": "high"}', "cvss: "),
        ('{"title": "A", "rule": "../a"}', "rule: "),
        ('{"title": "A", "reference": "javascript:x"}', "reference: "),
        ("[1]", "a finding is an object"),
        ("plain", "not JSON"),
        ('{"title": ' + "[" * 5000, "not JSON"),
        ('{"title": "A", "score": ' + "9" * 5000 + "}", "not JSON"),
        ('{"title": "good", "rule": "good"}', "with the same rule"),
    ],
)
def test_a_line_that_is_no_finding_is_said_and_the_others_count(line: str, said: str) -> None:
    reading = _read(_lines({"title": "good", "rule": "good"}) + line + "\n" + _lines({"title": "last"}))
    assert [finding.title for finding in reading.findings] == ["good", "last"]
    assert len(reading.mistakes) == 1
    assert reading.mistakes[0].startswith("line 2: ")
    assert said in reading.mistakes[0]


def test_findings_and_mistakes_are_bounded() -> None:
    many = _read(_lines(*({"title": "A", "rule": f"r{number}"} for number in range(MOST_FINDINGS + 1))))
    assert len(many.findings) == MOST_FINDINGS
    assert many.mistakes == (f"more than {MOST_FINDINGS} findings: the rest was not read",)
    wrong = _read("{\n" * 50).mistakes
    assert (len(wrong), wrong[-1]) == (4, "and 47 more mistakes")
