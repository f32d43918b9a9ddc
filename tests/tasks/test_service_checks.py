"""The service_checks module as a whole: which services it takes, how hard it asks, what it says of its coverage."""

from __future__ import annotations

import socket
from contextlib import ExitStack
from threading import Barrier, Event, Lock, Thread
from typing import Any

import pytest
from pydantic import ValidationError

from footprint.records import Endpoint, Host, Outcome, Service, subject_of
from tasks import anonymous_ftp, first_page, mongodb, open_resolvers, open_stores
from tasks.checks import Weakness
from tasks.service_checks import TOOL, ServiceChecksOptions, checks, configure
from tasks.tool import Pace
from tests.conftest import free_port
from tests.tasks.cvss import base_score, severity_word
from tests.tasks.hostile import Listener, close, hang, scripted
from tests.tasks.looking import HERE, look

WEAKNESSES = [
    *(open_stores.REDIS, open_stores.MEMCACHED, open_stores.DOCKER, mongodb.OPEN),
    *(anonymous_ftp.ANONYMOUS, first_page.DEFAULT, first_page.SEARCH, open_resolvers.OPEN),
]
NAMES = ("redis", "memcached", "mongodb", "docker", "ftp", "http", "domain")
REDIS = b"$29\r\n# Server\r\nredis_version:7.2.4\r\n"


def _takes(service: Service) -> bool:
    return TOOL.intake_of(service) is not None


@pytest.mark.parametrize(
    "service",
    [
        *(Service(HERE, 7000, name=name) for name in (*NAMES, "https", "memcache", "mongod", "elasticsearch", "ftps")),
        *(Service(HERE, port, name="unknown") for port in (6379, 11211, 27017, 9200, 2375, 2376, 21, 53)),
        Service(HERE, 7000, "udp", name="domain"),
        Service(HERE, 53, "udp", name="unknown"),
        Service("::1", 6379, name="redis"),
    ],
    ids=subject_of,
)
def test_it_takes_services_by_name_and_by_port(service: Service) -> None:
    assert _takes(service)


@pytest.mark.parametrize(
    "record",
    [
        Service(HERE, 22, name="ssh"),
        Service(HERE, 6379),
        Service(HERE, 6379, "udp", name="redis"),
        Service(HERE, 21, "udp", name="ftp"),
        Host(HERE),
        Endpoint(HERE, 80, None, "http"),
    ],
    ids=subject_of,
)
def test_it_takes_nothing_else_and_no_service_that_nobody_looked_at(record: Any) -> None:
    assert TOOL.intake_of(record) is None


def test_services_of_a_host_travel_together() -> None:
    intake = TOOL.intake_of(Service(HERE, 80, name="http"))
    assert intake is not None
    assert intake.key(Service(HERE, 80, name="http")) == intake.key(Service(HERE, 53, "udp", name="domain"))


@pytest.mark.parametrize("weakness", WEAKNESSES, ids=[weakness.rule for weakness in WEAKNESSES])
def test_every_weakness_weighs_what_its_vector_says(weakness: Weakness) -> None:
    assert weakness.reference.startswith("https://")
    if weakness.cvss:
        vector, score = weakness.cvss
        assert base_score(vector) == score
        assert severity_word(vector, score) == weakness.severity


def test_more_intensity_asks_more_at_once_and_faster() -> None:
    paces = [configure({}, Pace(intensity, 3600, "top:100")) for intensity in range(6)]
    assert [pace.parallel for pace in paces] == sorted({pace.parallel for pace in paces})
    assert [pace.rate for pace in paces] == sorted({pace.rate for pace in paces})
    assert configure({"rate": 3}, Pace(5, 3600, "top:100")).rate == 3


@pytest.mark.parametrize("name", ["", "a..b", "-" * 64, "a b", "..", ".a", "a" * 254])
def test_a_name_that_cannot_be_asked_for_is_refused(name: str) -> None:
    with pytest.raises(ValidationError):
        ServiceChecksOptions(recursion_name=name)


@pytest.mark.parametrize("name", [".", "example.test", "example.test.", "_x.example.test"])
def test_a_name_that_can_be_asked_for_is_in_the_question(name: str) -> None:
    assert ServiceChecksOptions(recursion_name=name).recursion_name == name
    assert {f"NS of {name} with recursion"} < {check.question for check in checks(name)}


def test_what_is_refused_is_silent() -> None:
    looked = look(Service(HERE, free_port(), name="redis"))
    assert looked.said == (Outcome.SILENT, "redis (INFO): Connection refused")
    assert looked.reported == [100]


def test_a_service_is_asked_all_that_concerns_it() -> None:
    with Listener(close) as listener:
        looked = look(Service(HERE, listener.port, name="redis", tunnel=None))
        assert listener.connections == 1
    services = [Service(HERE, 9200, name="redis"), Service(HERE, 2375, name="http")]
    every = [[check.name for check in checks() if check.matches(service)] for service in services]
    assert every == [["redis", "first page"], ["docker", "first page"]]
    assert looked.findings == []


def test_what_was_not_reached_when_the_scan_was_stopped_was_not_looked_at() -> None:
    stopped = Event()

    def stop_and_hang(connection: socket.socket, over: Event) -> None:
        stopped.set()
        over.wait()

    with Listener(scripted(REDIS)) as good, Listener(stop_and_hang) as last, Listener(hang) as unreached:
        services = [Service(HERE, listener.port, name="redis") for listener in (good, last, unreached)]
        looked = look(*services, options={"timeout": 30}, stopped=stopped)
        assert unreached.connections == 0
    assert [entry.outcome for entry in looked.coverage.values()] == [
        Outcome.ANSWERED,
        Outcome.NOT_LOOKED_AT,
        Outcome.NOT_LOOKED_AT,
    ]
    assert looked.rules == ["redis-open"]
    assert looked.seconds < 5


def test_what_was_not_reached_when_the_units_time_was_up_was_not_looked_at() -> None:
    with Listener(hang) as listener:
        services = [Service(HERE, listener.port, name="redis"), Service(HERE, listener.port, "udp", name="domain")]
        looked = look(*services, options={"timeout": 30}, seconds=0.4)
    notes = [(entry.outcome, entry.note) for entry in looked.coverage.values()]
    assert notes == [
        (Outcome.NOT_LOOKED_AT, "redis (INFO): the time for this unit ran out"),
        (Outcome.NOT_LOOKED_AT, "recursion (NS of . with recursion): the time for this unit ran out"),
    ]
    assert looked.seconds < 2


def test_turns_that_would_come_after_the_units_time_are_not_waited_for() -> None:
    services = [Service(HERE, free_port(), name="redis") for _ in range(3)]
    looked = look(*services, options={"rate": 0.1}, seconds=0.4)
    outcomes = [entry.outcome for entry in looked.coverage.values()]
    assert outcomes == [Outcome.SILENT, Outcome.NOT_LOOKED_AT, Outcome.NOT_LOOKED_AT]
    assert looked.seconds < 2


def test_conversations_begin_no_faster_than_the_rate() -> None:
    services = [Service(f"127.0.1.{number}", free_port(), name="redis") for number in range(1, 7)]
    looked = look(*services, options={"rate": 10, "parallel": 6})
    assert {entry.outcome for entry in looked.coverage.values()} == {Outcome.SILENT}
    assert 0.5 <= looked.seconds < 3


class _Counting:
    """How many connections there are at once; each is kept for a moment, so that others would meet it."""

    def __init__(self) -> None:
        self.now = self.most = 0
        self._lock = Lock()

    def __call__(self, connection: socket.socket, over: Event) -> None:
        with self._lock:
            self.now += 1
            self.most = max(self.most, self.now)
        over.wait(0.05)
        with self._lock:
            self.now -= 1


def test_a_host_is_asked_one_thing_at_a_time() -> None:
    counting = _Counting()
    with ExitStack() as stack:
        ports = [stack.enter_context(Listener(counting)).port for _ in range(4)]
        look(*(Service(HERE, port, name="redis") for port in ports), options={"parallel": 8})
    assert counting.most == 1


def test_hosts_are_asked_side_by_side() -> None:
    meeting = Barrier(3, timeout=10)

    def meet(connection: socket.socket, over: Event) -> None:
        meeting.wait()

    with ExitStack() as stack:
        hosts = [f"127.0.1.{number}" for number in range(1, 4)]
        ports = [stack.enter_context(Listener(meet, host)).port for host in hosts]
        services = [Service(host, port, name="redis") for host, port in zip(hosts, ports, strict=True)]
        looked = look(*services, options={"parallel": 3, "timeout": 30})
    assert not meeting.broken
    assert {entry.outcome for entry in looked.coverage.values()} == {Outcome.SILENT}


def test_it_works_over_ipv6() -> None:
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as listening:
        listening.settimeout(10)

        def serve() -> None:
            connection, _ = listening.accept()
            with connection:
                head = connection.recv(4096)
                connection.sendall(
                    b"HTTP/1.1 200 OK\r\n\r\n<title>Caddy works!</title>" if b"Host: [::1]" in head else b""
                )

        thread = Thread(target=serve)
        thread.start()
        looked = look(Service("::1", listening.getsockname()[1], name="http"))
        thread.join()
    assert looked.rules == ["default-page"]
    assert looked.finding.subject.startswith("[::1]:")


def test_a_name_in_place_of_an_address_is_not_looked_up() -> None:
    with pytest.raises(ValueError, match="localhost"):
        look(Service("localhost", free_port(), name="redis"))
