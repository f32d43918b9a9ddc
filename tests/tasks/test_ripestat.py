"""Owners of addresses, asked of a local service that speaks RIPEstat's protocol, faults included."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from footprint.errors import LookupFailed, OutputNotUnderstood, UnitError
from footprint.records import Coverage, Host, Outcome
from tasks.ripestat import TOOL, RipestatOptions, probe, read_country, read_overview
from tasks.tool import Pace, Risk
from tests.estate import web_services
from tests.estate.web_services import Fault, Route, WebServices
from tests.tasks.asking import asking

# Addresses of well-known public networks: nothing is sent to them, the service on loopback is asked about them.
ROUTES = (
    Route("193.0.0.0/21", {3333: "RIPE-NCC-AS - RIPE NCC"}, "NL"),
    Route("193.0.4.0/24", {64500: "SOMEBODY-ELSE"}, "DE"),
    Route("9.9.9.0/24", {19281: "QUAD9-AS-1 - Quad9", 64501: "SECOND"}, "CH"),
    Route("2001:67c:2e8::/48", {3333: "RIPE-NCC-AS - RIPE NCC"}, "NL"),
    Route("8.8.4.0/24", {}, "US"),
)


@pytest.fixture
def services() -> Iterator[WebServices]:
    with WebServices(routes=ROUTES) as running:
        yield running


class Run:
    """One unit: the hosts it yields, its coverage, and the error it ends with."""

    def __init__(self, services: WebServices, *hosts: Host | str, options: dict[str, Any] | None = None, **under: Any):
        chosen = RipestatOptions.model_validate({"pause": 0.01, "rate": 100, "timeout": 10, **(options or {})})
        batch = [Host(host) if isinstance(host, str) else host for host in hosts]
        self.hosts: dict[str, Host] = {}
        self.coverage: dict[str, tuple[Outcome, str]] = {}
        self.error: UnitError | None = None
        self.reported: list[float] = []
        try:
            for found in probe(batch, chosen, asking(report=self.reported.append, **services.settings, **under)):
                if isinstance(found, Coverage):
                    assert found.subject not in self.coverage
                    self.coverage[found.subject] = found.outcome, found.note
                else:
                    assert isinstance(found, Host)
                    self.hosts[found.address] = found
        except UnitError as error:
            self.error = error
        assert {*self.coverage} == {host.address for host in batch}


def test_an_address_has_its_owner_and_keeps_what_was_known(services: WebServices) -> None:
    run = Run(services, Host("193.0.0.1", name="www.example.test", via="edge.example.test", os="Linux"))
    assert repr(run.hosts["193.0.0.1"]) == repr(
        Host(
            "193.0.0.1",
            name="www.example.test",
            via="edge.example.test",
            os="Linux",
            asn=3333,
            prefix="193.0.0.0/21",
            holder="RIPE-NCC-AS - RIPE NCC",
            country="NL",
        )
    )
    assert run.coverage == {"193.0.0.1": (Outcome.ANSWERED, "")}
    assert run.reported == [100]


def test_the_questions_are_those_that_the_service_knows(services: WebServices) -> None:
    Run(services, "2001:67c:2e8::1")
    assert [(asked.path, asked.query) for asked in services.asked] == [
        ("prefix-overview/data.json", {"resource": "2001:67c:2e8::1", "sourceapp": "pulsar"}),
        ("rir-stats-country/data.json", {"resource": "2001:67c:2e8::1", "sourceapp": "pulsar"}),
    ]


def test_an_ipv6_address_has_its_owner(services: WebServices) -> None:
    host = Run(services, "2001:67c:2e8::1").hosts["2001:67c:2e8::1"]
    assert (host.asn, host.prefix, host.country) == (3333, "2001:67c:2e8::/48", "NL")


def test_neighbours_are_asked_about_once(services: WebServices) -> None:
    addresses = [f"193.0.0.{number}" for number in range(1, 60)]
    run = Run(services, *addresses)
    assert {host.asn for host in run.hosts.values()} == {3333}
    assert [*run.hosts] == addresses
    assert len(services.asked) == 2


def test_a_hole_in_a_prefix_is_somebody_elses(services: WebServices) -> None:
    run = Run(services, "193.0.0.1", "193.0.4.1", "193.0.5.1")
    owners = {address: (host.asn, host.country) for address, host in run.hosts.items()}
    assert owners == {"193.0.0.1": (3333, "NL"), "193.0.4.1": (64500, "DE"), "193.0.5.1": (3333, "NL")}


def test_a_neighbour_beyond_a_long_prefix_is_asked_about(services: WebServices) -> None:
    services.routes = (Route("193.0.0.0/25", {1: "ONE"}), Route("193.0.0.128/25", {2: "TWO"}))
    run = Run(services, "193.0.0.1", "193.0.0.2", "193.0.0.129")
    assert [host.asn for host in run.hosts.values()] == [1, 1, 2]
    assert len(services.asked) == 4


SPECIAL = ("127.0.0.1", "10.1.2.3", "192.168.0.1", "169.254.1.1", "100.64.0.1", "::1", "fe80::1", "fd00::1")
CARRIERS = ("224.0.0.1", "2002:a01:203::1", "64:ff9b::a01:203", "::ffff:10.1.2.3")


def test_nobody_is_asked_about_special_purpose_addresses(services: WebServices) -> None:
    run = Run(services, *SPECIAL, *CARRIERS)
    assert services.asked == []
    assert run.hosts == {}
    assert {outcome for outcome, _ in run.coverage.values()} == {Outcome.REFUSED}
    assert "special-purpose" in run.coverage["10.1.2.3"][1]


def test_an_address_that_two_networks_announce(services: WebServices) -> None:
    run = Run(services, "9.9.9.9")
    assert run.hosts["9.9.9.9"].asn == 19281
    assert run.coverage["9.9.9.9"] == (Outcome.ANSWERED, "announced by AS64501 as well")


def test_an_address_that_is_registered_and_not_announced(services: WebServices) -> None:
    run = Run(services, "8.8.4.4")
    assert repr(run.hosts["8.8.4.4"]) == repr(Host("8.8.4.4", country="US"))
    assert run.coverage["8.8.4.4"] == (Outcome.ANSWERED, "not announced")


def test_an_address_that_nobody_knows_is_silent(services: WebServices) -> None:
    run = Run(services, "1.2.3.4")
    assert run.hosts == {}
    assert run.coverage["1.2.3.4"][0] is Outcome.SILENT


def test_a_busy_service_is_asked_again(services: WebServices) -> None:
    services.fail("data", web_services.BUSY, web_services.AWAY)
    assert Run(services, "193.0.0.1").hosts["193.0.0.1"].asn == 3333
    assert len(services.asked) == 4


def test_an_address_that_the_service_refuses_does_not_end_the_unit(services: WebServices) -> None:
    services.fail("data", Fault(400, b'{"status": "error"}'))
    run = Run(services, "9.9.9.9", "193.0.0.1", options={"parallel": 1})
    assert run.coverage == {
        "9.9.9.9": (Outcome.NOT_LOOKED_AT, "RIPEstat answered 400"),
        "193.0.0.1": (Outcome.ANSWERED, ""),
    }
    assert run.error is None


@pytest.mark.parametrize(
    "fault", [web_services.ILL, web_services.BUSY, web_services.HANGUP], ids=["500", "429", "gone"]
)
def test_what_was_found_before_the_service_fell_ill_is_kept(services: WebServices, fault: Fault) -> None:
    right = web_services.as_json({"data": {"asns": [{"asn": 7, "holder": "SEVEN"}], "resource": "9.9.9.0/24"}})
    services.fail("data", right, web_services.as_json({"data": {}}), always=fault)
    run = Run(services, "9.9.9.9", "193.0.0.1", "193.0.4.1", options={"parallel": 1})
    assert [host.asn for host in run.hosts.values()] == [7]
    assert isinstance(run.error, LookupFailed)
    assert run.error.hint
    assert run.coverage["193.0.0.1"] == (Outcome.NOT_LOOKED_AT, run.error.detail)
    assert run.coverage["193.0.4.1"] == (Outcome.NOT_LOOKED_AT, run.error.detail)


@pytest.mark.parametrize("body", [web_services.GARBAGE, b"[]", b'{"data": []}', b"{}", b"null"])
def test_garbage_is_not_an_empty_answer(services: WebServices, body: bytes) -> None:
    services.fail("data", always=Fault(200, body))
    run = Run(services, "193.0.0.1")
    assert isinstance(run.error, OutputNotUnderstood)
    assert run.coverage["193.0.0.1"][0] is Outcome.NOT_LOOKED_AT


def test_an_endless_answer_is_an_error(services: WebServices) -> None:
    services.fail("data", always=web_services.ENDLESS)
    error = Run(services, "193.0.0.1").error
    assert error is not None
    assert error.code == "output_too_large"


def test_when_time_is_up_the_rest_was_not_looked_at(services: WebServices) -> None:
    services.fail("data", always=web_services.SILENT)
    run = Run(services, "193.0.0.1", "9.9.9.9", "127.0.0.1", seconds=0.4)
    assert run.coverage["193.0.0.1"] == (Outcome.NOT_LOOKED_AT, "the time for this unit ran out")
    assert run.coverage["9.9.9.9"] == (Outcome.NOT_LOOKED_AT, "the time for this unit ran out")


def test_a_stopped_scan_says_so(services: WebServices) -> None:
    stopped = threading.Event()
    stopped.set()
    assert Run(services, "193.0.0.1", stopped=stopped).coverage["193.0.0.1"][1] == "the scan was stopped"


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"asns": None},
        {"asns": [None, 7, {"asn": "AS7"}, {"asn": True}, {"asn": 0}, {"asn": 1 << 32}]},
    ],
)
def test_what_is_no_network_number_is_left_out(data: dict[str, Any]) -> None:
    assert read_overview(data, "193.0.0.1").asn is None


@pytest.mark.parametrize("prefix", [None, 7, "", "193.0.0.1", "10.0.0.0/8", "193.0.0.1/21", "nonsense/21", "2001::/16"])
def test_what_is_no_prefix_of_the_address_is_left_out(prefix: object) -> None:
    owner = read_overview({"asns": [{"asn": 7, "holder": ["x"]}], "resource": prefix}, "193.0.0.1")
    assert (owner.asn, owner.prefix, owner.holder) == (7, None, None)


@pytest.mark.parametrize("location", [None, 7, "", "nl", "NLD", "ZZ", "N\n", ["NL"]])
def test_what_is_no_country_is_left_out(location: object) -> None:
    assert read_country({"located_resources": [{"location": location}]}) is None


def test_two_countries_are_none() -> None:
    assert read_country({"located_resources": [{"location": "NL"}, {"location": "NL"}]}) == "NL"
    assert read_country({"located_resources": [{"location": "NL"}, {"location": "DE"}]}) is None
    assert read_country({"located_resources": "NL"}) is None


def test_intensity_decides_the_rate_within_what_the_service_allows() -> None:
    chosen = [TOOL.configure({}, Pace(intensity, 60, "top:100")) for intensity in range(6)]
    assert [options.rate for options in chosen] == sorted(options.rate for options in chosen)
    assert max(options.parallel for options in chosen) <= 8
    assert TOOL.risk is Risk.PASSIVE
