"""Certificate logs searched at a local service that speaks crt.sh's protocol, faults included."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from footprint.errors import LookupFailed, OutputNotUnderstood, UnitError
from footprint.records import Coverage, DomainName, Host, Outcome
from tasks import ct
from tasks.ct import TOOL, CtOptions, probe, read_search
from tasks.tool import Pace, Risk
from tests.estate import web_services
from tests.estate.web_services import Logged, WebServices
from tests.tasks.asking import asking

LOGS = (
    Logged("www.example.test\nexample.test", common_name="www.example.test"),
    Logged("www.example.test\nshop.example.test"),
    Logged("*.apps.example.test"),
    Logged("*.*.deep.example.test"),
    Logged("WWW.EXAMPLE.test."),
    Logged("admin@example.test"),
    Logged("Example Ltd (Guernsey)"),
    Logged("foo*.example.test"),
    Logged("-oX.example.test"),
    Logged("a\tb.example.test"),
    Logged("notexample.test\nexample.test.evil.test\nwww.other.test"),
    Logged("_acme.example.test"),
    Logged("old.example.test", expired=True),
)
NAMES = ["_acme", "apps", "deep", "old", "shop", "www"]


@pytest.fixture
def services() -> Iterator[WebServices]:
    with WebServices(certificates=LOGS) as running:
        yield running


class Run:
    """One unit: the names it yields, its coverage, and the error it ends with."""

    def __init__(self, services: WebServices, *roots: str, options: dict[str, Any] | None = None, **under: Any) -> None:
        chosen = CtOptions.model_validate({"pause": 0.01, "timeout": 10, **(options or {})})
        batch = [DomainName(root) for root in roots or ("example.test",)]
        self.names: list[str] = []
        self.coverage: list[Coverage] = []
        self.error: UnitError | None = None
        self.reported: list[float] = []
        try:
            for found in probe(batch, chosen, asking(report=self.reported.append, **services.settings, **under)):
                if isinstance(found, Coverage):
                    self.coverage.append(found)
                else:
                    assert isinstance(found, DomainName)
                    self.names.append(found.name)
        except UnitError as error:
            self.error = error

    @property
    def labels(self) -> list[str]:
        return [name.removesuffix(".example.test") for name in self.names]

    @property
    def said(self) -> tuple[Outcome, str]:
        (entry,) = self.coverage
        return entry.outcome, entry.note


def test_names_of_certificates_are_found_each_once(services: WebServices) -> None:
    run = Run(services)
    assert run.labels == NAMES
    assert all(name.endswith(".example.test") for name in run.names)
    assert run.error is None
    assert run.reported == [100]


def test_the_question_is_the_one_that_the_service_knows(services: WebServices) -> None:
    Run(services)
    (asked,) = services.questions("ct")
    assert asked.query == {"q": "%.example.test", "output": "json"}


def test_coverage_counts_what_was_found_and_what_was_dropped(services: WebServices) -> None:
    outcome, note = Run(services).said
    assert outcome is Outcome.ANSWERED
    assert note == (
        "6 names in 13 certificates; 3 names outside of the domain were dropped; "
        "5 entries that are no names were dropped"
    )


def test_expired_certificates_can_be_left_out(services: WebServices) -> None:
    run = Run(services, options={"include_expired": False})
    assert run.labels == [name for name in NAMES if name != "old"]
    assert services.asked[0].query["exclude"] == "expired"
    assert "have not expired" in run.said[1]


def test_a_domain_without_certificates_is_silent_and_says_what_was_looked_at(services: WebServices) -> None:
    services.certificates = ()
    run = Run(services)
    assert (run.names, run.said) == ([], (Outcome.SILENT, "0 names in 0 certificates"))


def test_too_many_names_are_a_sample(services: WebServices) -> None:
    run = Run(services, options={"most": 2})
    assert run.labels == NAMES[:2]
    assert run.said[0] is Outcome.SAMPLED
    assert "only 2 of them were taken" in run.said[1]


def test_a_busy_service_is_asked_again(services: WebServices) -> None:
    services.fail("ct", web_services.BUSY, web_services.AWAY)
    run = Run(services)
    assert run.labels == NAMES
    assert len(services.asked) == 3


@pytest.mark.parametrize(
    "fault", [web_services.ILL, web_services.BUSY, web_services.HANGUP], ids=["500", "429", "gone"]
)
def test_a_service_without_an_answer_is_an_error_that_says_what_to_do(
    services: WebServices, fault: web_services.Fault
) -> None:
    services.fail("ct", always=fault)
    run = Run(services)
    assert isinstance(run.error, LookupFailed)
    assert "try later" in run.error.hint
    assert run.said[0] is Outcome.NOT_LOOKED_AT
    assert run.said[1] == run.error.detail


def test_garbage_is_not_an_empty_answer(services: WebServices) -> None:
    services.fail("ct", web_services.UNREADABLE)
    run = Run(services)
    assert isinstance(run.error, OutputNotUnderstood)
    assert run.said[0] is Outcome.NOT_LOOKED_AT


@pytest.mark.parametrize("document", [{}, None, "x", [1], ["x"], {"error": "busy"}])
def test_json_of_another_shape_is_not_understood(document: object) -> None:
    with pytest.raises(OutputNotUnderstood):
        read_search(document, "example.test")


@pytest.mark.parametrize(
    "value", [None, 7, [], {}, "", "\n\n", "\x00", "%", "..", "a" * 5000, "\u202ewww.example.test"]
)
def test_odd_values_of_names_are_dropped(value: object) -> None:
    assert read_search([{"name_value": value}, {}], "example.test").names == ()


def test_an_endless_answer_leads_to_a_smaller_question(services: WebServices, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ct, "MOST_BYTES", 1 << 20)
    services.fail("ct", web_services.ENDLESS)
    run = Run(services)
    assert run.labels == [name for name in NAMES if name != "old"]
    assert run.said[0] is Outcome.SAMPLED
    assert "too large" in run.said[1]


def test_an_answer_that_stays_endless_is_an_error(services: WebServices, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ct, "MOST_BYTES", 1 << 20)
    services.fail("ct", always=web_services.ENDLESS)
    run = Run(services)
    assert run.error is not None
    assert run.error.code == "output_too_large"


@pytest.mark.parametrize("fault", [web_services.SLOW, web_services.SILENT], ids=["slow", "silent"])
def test_when_time_is_up_the_domain_was_not_looked_at(services: WebServices, fault: web_services.Fault) -> None:
    services.fail("ct", always=fault)
    run = Run(services, seconds=0.4)
    assert run.said == (Outcome.NOT_LOOKED_AT, "the time for this unit ran out")


def test_a_stopped_scan_says_so(services: WebServices) -> None:
    stopped = threading.Event()
    stopped.set()
    assert Run(services, stopped=stopped).said == (Outcome.NOT_LOOKED_AT, "the scan was stopped")


def test_each_domain_of_a_batch_has_its_coverage(services: WebServices) -> None:
    services.fail("ct", web_services.Fault(200, b"[]"), web_services.ILL)
    run = Run(services, "one.test", "two.test", "three.test")
    assert [(entry.subject, entry.outcome) for entry in run.coverage] == [
        ("one.test", Outcome.SILENT),
        ("two.test", Outcome.NOT_LOOKED_AT),
        ("three.test", Outcome.NOT_LOOKED_AT),
    ]


def test_it_takes_what_the_scan_was_asked_for_and_nothing_else() -> None:
    assert TOOL.risk is Risk.PASSIVE
    assert TOOL.intake_of(DomainName("example.test"), is_root=True)
    assert not TOOL.intake_of(DomainName("www.example.test"), is_root=False)
    assert not TOOL.intake_of(Host("127.0.0.1"), is_root=True)


def test_intensity_decides_how_soon_a_busy_service_is_asked_again() -> None:
    pauses = [TOOL.configure({}, Pace(intensity, 60, "top:100")).pause for intensity in range(6)]
    assert pauses == sorted(pauses, reverse=True)
    assert TOOL.configure({"pause": 3}, Pace(0, 60, "top:100")).pause == 3
