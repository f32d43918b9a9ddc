"""Buckets looked for at local services that answer as the clouds do, faults included."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from footprint.errors import LookupFailed, PlatformError, UnitError
from footprint.records import Coverage, DomainName, Finding, Outcome, Severity
from footprint.settings import Settings
from tasks import cloud_buckets
from tasks.cloud_buckets import TOOL, CloudBucketsOptions, check, probe
from tasks.clouds import CLOUDS, CONTAINERS, MOST_KEYS, State, candidates, judge, read_listing
from tasks.outside import Reply
from tasks.tool import Pace, Risk
from tests.estate import web_services
from tests.estate.web_services import Bucket, Fault, WebServices
from tests.tasks.asking import asking

KEYS = tuple(f"2024/dump-{number}.sql.gz" for number in range(25))
BUCKETS = {
    "pulsar-backup": Bucket(KEYS, public=True),
    "www.pulsar.test": Bucket(("a & b.txt",), public=True, kind="gcs"),
    "pulsar-dev": Bucket(("secret",)),
    "pulsar-media": Bucket(("secret",), kind="azure"),
    "pulsar-assets": Bucket((), public=True),
    "unrelated": Bucket(("key",), public=True),
}


@pytest.fixture
def services() -> Iterator[WebServices]:
    with WebServices(buckets=BUCKETS) as running:
        yield running


class Run:
    """One unit: its findings by bucket, its coverage, and the error it ends with."""

    def __init__(self, settings: dict[str, Any], *roots: str, options: dict[str, Any] | None = None, **under: Any):
        quick = {"rate": 200, "pause": 0.01, "timeout": 5}
        chosen = CloudBucketsOptions.model_validate({**quick, **(options or {})})
        batch = [DomainName(root) for root in roots or ("pulsar.test",)]
        self.findings: dict[str, Finding] = {}
        self.coverage: list[Coverage] = []
        self.error: UnitError | None = None
        self.reported: list[float] = []
        circumstances = asking(target=batch[0].name, report=self.reported.append, **settings, **under)
        try:
            for found in probe(batch, chosen, circumstances):
                if isinstance(found, Coverage):
                    self.coverage.append(found)
                else:
                    assert isinstance(found, Finding)
                    self.findings[found.rule.removeprefix("cloud_buckets/listable-127.0.0.1-")] = found
        except UnitError as error:
            self.error = error

    @property
    def said(self) -> tuple[Outcome, str]:
        (entry,) = self.coverage
        return entry.outcome, entry.note


def test_a_bucket_that_anybody_may_list_is_a_finding(services: WebServices) -> None:
    run = Run(services.settings)
    assert set(run.findings) == {"pulsar-backup", "www.pulsar.test", "pulsar-assets"}
    finding = run.findings["pulsar-backup"]
    assert (finding.subject, finding.severity, finding.score) == ("pulsar.test", Severity.MEDIUM, 5.3)
    assert finding.cvss == "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:L/I:N/A:N"
    assert f"{services.url}/buckets/pulsar-backup" in finding.evidence
    assert finding.reference.startswith("https://")
    assert "pulsar-backup" in finding.title
    assert run.error is None
    assert run.reported[-1] == 100


def test_the_evidence_holds_at_most_ten_keys(services: WebServices) -> None:
    evidence = Run(services.settings).findings["pulsar-backup"].evidence
    assert all(key in evidence for key in KEYS[:MOST_KEYS])
    assert not any(key in evidence for key in KEYS[MOST_KEYS:])


def test_an_empty_bucket_weighs_less(services: WebServices) -> None:
    finding = Run(services.settings).findings["pulsar-assets"]
    assert (finding.severity, finding.cvss, finding.score) == (Severity.LOW, None, None)
    assert "nothing just now" in finding.evidence


def test_a_name_that_tells_the_domain_is_surer(services: WebServices) -> None:
    findings = Run(services.settings).findings
    assert findings["www.pulsar.test"].confidence > findings["pulsar-backup"].confidence


def test_coverage_tells_what_exists_and_is_closed(services: WebServices) -> None:
    outcome, note = Run(services.settings).said
    assert outcome is Outcome.ANSWERED
    assert "60 names asked for at 127.0.0.1" in note
    assert "2 private: " in note
    assert "pulsar-dev (127.0.0.1)" in note
    assert "pulsar-media (127.0.0.1)" in note
    assert "3 listable: " in note


def test_without_buckets_it_is_silent_and_says_what_was_looked_at(services: WebServices) -> None:
    services.buckets = {}
    run = Run(services.settings)
    assert run.findings == {}
    assert run.said == (Outcome.SILENT, "60 names asked for at 127.0.0.1; none exists")


def test_each_name_is_asked_once_and_their_number_is_bounded(services: WebServices) -> None:
    Run(services.settings, options={"names": 5})
    paths = [asked.path for asked in services.asked]
    assert paths[1:] == ["pulsar", "pulsar.test", "www.pulsar.test", "pulsar-test", "pulsar-backup"]
    assert re.fullmatch("px[0-9a-f]{16}", paths[0])


def test_a_cloud_that_claims_to_have_any_bucket_is_not_believed(services: WebServices) -> None:
    services.fail("buckets", always=Fault(403, b"<Error><Code>AccessDenied</Code></Error>"))
    run = Run(services.settings)
    assert run.findings == {}
    assert "it claims to have any bucket" in run.said[1]
    assert run.said[0] is Outcome.TIMED_OUT
    assert isinstance(run.error, LookupFailed)
    assert len(services.asked) == 1


def test_a_busy_cloud_is_asked_again(services: WebServices) -> None:
    services.fail("buckets", Fault(404), web_services.BUSY, web_services.AWAY)
    assert len(Run(services.settings).findings) == 3


@pytest.mark.parametrize(
    "fault", [web_services.BUSY, web_services.HANGUP, web_services.AWAY], ids=["429", "gone", "503"]
)
def test_a_cloud_that_gives_no_answer_is_given_up(services: WebServices, fault: Fault) -> None:
    services.fail("buckets", Fault(404), always=fault)
    run = Run(services.settings, options={"tries": 1, "parallel": 1})
    assert run.findings == {}
    assert run.said[0] is Outcome.TIMED_OUT
    assert "60 without an answer" in run.said[1]
    assert len(services.asked) == 1 + cloud_buckets.FAILURES


def test_another_cloud_is_asked_all_the_same(services: WebServices) -> None:
    ill = f"{services.url}/elsewhere/{{bucket}}"
    services.fail("elsewhere", always=web_services.ILL)
    settings = {"bucket_urls": (ill, f"http://localhost:{services.url.rsplit(':')[-1]}/buckets/{{bucket}}")}
    run = Run(settings)
    assert {finding.rule for finding in run.findings.values()} >= {"cloud_buckets/listable-localhost-pulsar-backup"}
    assert run.said[0] is Outcome.TIMED_OUT
    assert "1 without an answer (127.0.0.1 answered 500)" in run.said[1]
    assert run.error is None


def test_an_endless_listing_is_read_as_far_as_need_be(services: WebServices) -> None:
    services.fail("buckets", Fault(404), web_services.ENDLESS)
    run = Run(services.settings, options={"names": 1})
    assert run.findings["pulsar"].evidence.count("filler") == MOST_KEYS


def test_a_slow_cloud_is_not_waited_for(services: WebServices) -> None:
    services.fail("buckets", Fault(404), always=web_services.SLOW)
    run = Run(services.settings, options={"timeout": 0.2, "tries": 1, "names": 5})
    assert run.said[0] is Outcome.TIMED_OUT
    assert "no whole answer within 0.2 s" in run.said[1]


def test_when_time_is_up_it_says_so(services: WebServices) -> None:
    services.fail("buckets", Fault(404), always=web_services.SILENT)
    run = Run(services.settings, seconds=0.5)
    assert run.said[0] is Outcome.TIMED_OUT
    assert "the time for this unit ran out" in run.said[1]


def test_a_stopped_scan_says_so(services: WebServices) -> None:
    stopped = threading.Event()
    stopped.set()
    run = Run(services.settings, stopped=stopped)
    assert run.said == (Outcome.NOT_LOOKED_AT, "the scan was stopped")
    assert run.error is None


def test_containers_are_tried_in_accounts_that_exist(services: WebServices, monkeypatch: pytest.MonkeyPatch) -> None:
    known, asked = socket.getaddrinfo, []

    def resolve(host: Any, *rest: Any, **more: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        asked.append(name)
        if name == "pulsarbackup.blob.test":
            return known("127.0.0.1", *rest, **more)
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    services.buckets = {"public": Bucket(("a.txt", "b.txt"), public=True, kind="azure")}
    port = services.url.rsplit(":")[-1]
    template = f"http://{{account}}.blob.test:{port}/buckets/{{container}}?restype=container&comp=list"
    run = Run({"bucket_urls": (template,)})
    (finding,) = run.findings.values()
    assert "pulsar-backup/public" in finding.title
    assert "a.txt, b.txt" in finding.evidence
    assert [query.path for query in services.asked] == list(CONTAINERS)
    assert asked.count("pulsardev.blob.test") == 1


def test_names_are_made_by_rule() -> None:
    names = candidates("pulsar.test", 150)
    assert {"pulsar", "pulsar-backup", "pulsar-dev", "www.pulsar.test", "static-pulsar", "pulsarbackup"} <= set(names)
    assert len(names) == len(set(names)) == 150
    assert candidates("www.example.co.uk", 4) == ("example", "example.co.uk", "www.example.co.uk", "example-co-uk")
    assert all(3 <= len(name) <= 63 for name in candidates(f"{'a' * 60}.test", 150))
    assert all(re.fullmatch("[a-z0-9.-]+", name) for name in candidates("_under.test", 150))
    assert candidates("a.de", 3) == ("a.de", "www.a.de", "a-de")


def url(key: str, name: str, container: str = "") -> str | None:
    return {cloud.key: cloud for cloud in CLOUDS}[key].url(name, container)


def test_the_public_clouds_are_asked_where_they_are() -> None:
    assert url("s3", "pulsar-dev") == "https://pulsar-dev.s3.amazonaws.com/?list-type=2&max-keys=10"
    assert url("s3", "www.pulsar.test") == "https://s3.amazonaws.com/www.pulsar.test?list-type=2&max-keys=10"
    assert url("gcs", "www.pulsar.test") == "https://storage.googleapis.com/www.pulsar.test?max-keys=10"
    assert url("azure", "pulsar-dev", "public") == (
        "https://pulsardev.blob.core.windows.net/public?restype=container&comp=list&maxresults=10"
    )
    assert url("azure", "a" * 25) is None


def error(code: str) -> bytes:
    return f'<?xml version="1.0"?>\n<Error><Code>{code}</Code><Message>x</Message></Error>'.encode()


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (404, error("NoSuchBucket"), State.ABSENT),
        (404, error("ContainerNotFound"), State.ABSENT),
        (400, error("InvalidBucketName"), State.ABSENT),
        (403, error("AccessDenied"), State.PRIVATE),
        (401, b"", State.PRIVATE),
        (409, error("PublicAccessNotPermitted"), State.PRIVATE),
        (301, error("PermanentRedirect"), State.ELSEWHERE),
        (307, error("TemporaryRedirect"), State.ELSEWHERE),
        (400, error("IllegalLocationConstraintException"), State.ELSEWHERE),
        (200, b"<ListBucketResult><Name>x</Name></ListBucketResult>", State.LISTABLE),
        (200, b"<html><ListBucketResult/></html>", State.UNKNOWN),
        (200, b"", State.UNKNOWN),
        (200, web_services.GARBAGE, State.UNKNOWN),
        (400, error("SomethingElse"), State.UNKNOWN),
        (500, error("InternalError"), State.UNKNOWN),
    ],
)
def test_answers_of_the_clouds_are_told_apart(status: int, body: bytes, expected: State) -> None:
    assert judge(Reply(status, body))[0] is expected


BOMB = b'<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><ListBucketResult><Key>&b;</Key></ListBucketResult>'
OUTSIDE = b'<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><ListBucketResult><Key>&a;</Key></ListBucketResult>'


@pytest.mark.parametrize(
    "body", [BOMB, OUTSIDE, b"<ListBucketResult", b"\xff\xfe\x00", b'<?xml version="1.0" encoding="x"?>']
)
def test_hostile_documents_are_no_listing(body: bytes) -> None:
    assert read_listing(body) is None


def test_keys_are_short_and_visible() -> None:
    body = f"<ListBucketResult><Contents><Key>{'k' * 500}</Key></Contents><Contents><Key>a\u202eb\nc</Key></Contents>"
    assert read_listing(body.encode()) == ("k" * 200, "ab c")


@pytest.mark.parametrize(
    "address",
    ["https://x.test/", "ftp://{bucket}.test/", "{bucket}", "https://{bucket}.test/{key}", "https:///{bucket}"],
)
def test_an_address_that_cannot_be_used_is_named(address: str) -> None:
    with pytest.raises(PlatformError) as refused:
        check(Settings(bucket_urls=(address,)), None)
    assert "PULSAR_BUCKET_URLS" in refused.value.hint


def test_addresses_that_can_be_used() -> None:
    check(Settings(), None)
    check(Settings(bucket_urls=("http://127.0.0.1:9000/{bucket}", "https://{account}.blob.test/{container}")), None)


def test_what_it_takes_and_what_it_risks() -> None:
    assert TOOL.risk is Risk.SAFE
    assert not TOOL.intake_of(DomainName("www.example.com"), is_root=False)
    rates = [TOOL.configure({}, Pace(intensity, 60, "top:100")).rate for intensity in range(6)]
    assert rates == sorted(set(rates))
