"""Services that keep to no protocol, and stops in the middle: each costs its time, and ends when it is told to."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from random import Random
from threading import Event, Thread
from typing import Any

import pytest

from footprint.records import Outcome, Service, subject_of
from tasks import mongodb
from tests.tasks.hostile import Listener, babble, close, drip, flood, flood_lines, hang
from tests.tasks.looking import HERE, look

NAMES = ("redis", "memcached", "mongodb", "docker", "ftp", "http", "domain")
EXPECTED = {
    hang: {Outcome.TIMED_OUT},
    drip: {Outcome.TIMED_OUT, Outcome.ANSWERED},  # its first byte is no HTTP
    close: {Outcome.SILENT},
    flood: {Outcome.ANSWERED},
    flood_lines: {Outcome.ANSWERED},
    babble: {Outcome.ANSWERED},
}
EXPECTED_OVER_TLS = EXPECTED | {close: {Outcome.ANSWERED}, drip: {Outcome.TIMED_OUT}}


@pytest.mark.parametrize("tunnel", [None, "ssl"], ids=["plain", "tls"])
@pytest.mark.parametrize("manner", EXPECTED, ids=[manner.__name__ for manner in EXPECTED])
def test_hostile_services_cost_their_time_and_nothing_else(manner: Any, tunnel: str | None) -> None:
    with ExitStack() as stack:
        listeners = [stack.enter_context(Listener(manner, f"127.0.1.{number}")) for number in range(1, len(NAMES) + 1)]
        services = [
            Service(f"127.0.1.{number}", listener.port, name=name, tunnel=tunnel)
            for number, (name, listener) in enumerate(zip(NAMES, listeners, strict=True), start=1)
        ]
        looked = look(*services, options={"timeout": 0.6, "parallel": len(NAMES)})
    assert looked.findings == []
    assert set(looked.coverage) == {subject_of(service) for service in services}
    outcomes = {entry.outcome for entry in looked.coverage.values()}
    assert outcomes == (EXPECTED_OVER_TLS if tunnel else EXPECTED)[manner]
    assert looked.seconds < 3


def test_statistics_without_end_are_read_to_a_bound() -> None:
    def pour(connection: socket.socket, over: Event) -> None:
        connection.sendall(b"VERSION 1.6.18\r\n")
        while not over.is_set():
            connection.sendall(b"STAT a 1\r\n" * 5000)

    with Listener(pour) as listener:
        looked = look(Service(HERE, listener.port, name="memcached"))
    assert looked.findings == []
    assert looked.said == (Outcome.ANSWERED, "memcached (version, stats): it says more than is read of it")


def test_what_times_out_says_what_was_waited_for() -> None:
    with Listener(hang) as listener:
        plain = look(Service(HERE, listener.port, name="redis"), options={"timeout": 0.3})
        secured = look(Service(HERE, listener.port, name="redis", tunnel="ssl"), options={"timeout": 0.3})
    assert plain.said == (Outcome.TIMED_OUT, "redis (INFO): no whole answer in 0.3 s")
    assert secured.said == (Outcome.TIMED_OUT, "redis (INFO): no TLS handshake in 0.3 s")


@contextmanager
def _full(address: str = HERE) -> Iterator[int]:
    """A port whose queue of connections is full: further ones are neither taken nor refused."""
    with socket.create_server((address, 0), backlog=0) as listening, ExitStack() as stack:
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listening.getsockname())
        yield listening.getsockname()[1]


def test_a_connection_that_nobody_takes_times_out() -> None:
    with _full() as port:
        looked = look(Service(HERE, port, name="redis"), options={"timeout": 0.3})
    assert looked.said == (Outcome.TIMED_OUT, "redis (INFO): no connection in 0.3 s")


@contextmanager
def _mute_datagrams() -> Iterator[int]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as bound:
        bound.bind((HERE, 0))
        yield bound.getsockname()[1]


@contextmanager
def _hanging() -> Iterator[int]:
    with Listener(hang) as listener:
        yield listener.port


STALLS: dict[str, tuple[Callable[[], Any], Service]] = {
    "connecting": (_full, Service(HERE, 0, name="redis")),
    "shaking hands": (_hanging, Service(HERE, 0, name="redis", tunnel="ssl")),
    "listening": (_hanging, Service(HERE, 0, name="http")),
    "listening for datagrams": (_mute_datagrams, Service(HERE, 0, "udp", name="domain")),
}


@pytest.mark.parametrize(("place", "service"), STALLS.values(), ids=STALLS)
def test_a_stop_ends_it_within_a_second(place: Callable[[], Any], service: Service) -> None:
    stopped = Event()
    moment: list[float] = []

    def stop() -> None:
        time.sleep(0.3)
        moment.append(time.monotonic())
        stopped.set()

    with place() as port:
        one = Service(HERE, port, service.protocol, name=service.name, tunnel=service.tunnel)
        stopper = Thread(target=stop)
        stopper.start()
        looked = look(one, options={"timeout": 30}, stopped=stopped)
        ended = time.monotonic()
        stopper.join()
    assert looked.said[0] is Outcome.NOT_LOOKED_AT
    assert looked.said[1].endswith(": the scan was stopped")
    assert 0 < ended - moment[0] < 1


def _mutated(answer: bytes, random: Random) -> bytes:
    changed = bytearray(answer)
    for _ in range(random.randint(1, 6)):
        changed[random.randrange(len(changed))] = random.randrange(256)
    return bytes(changed[: random.randint(1, len(changed))] if random.random() < 0.3 else changed)


ANSWERS = {
    "redis": b"$29\r\n# Server\r\nredis_version:7.2.4\r\n",
    "memcached": b"VERSION 1.6.18\r\nSTAT pid 1\r\nSTAT curr_items 7\r\nEND\r\n",
    "mongodb": mongodb.message({"databases": [{"name": "a", "sizeOnDisk": 5, "empty": False}], "ok": 1.0}),
    "docker": b'HTTP/1.1 200 OK\r\nContent-Length: 40\r\n\r\n{"Version":"27.3.1","ApiVersion":"1.47"}',
    "http": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1b\r\n<title>Caddy works!</title>\r\n0\r\n\r\n",
    "ftp": b"220-a\r\n220 b\r\n331 c\r\n230 d\r\n",
}


@pytest.mark.parametrize("name", ANSWERS)
def test_damaged_answers_break_nothing(name: str) -> None:
    random = Random(20240515)

    def answer(connection: socket.socket, over: Event) -> None:
        connection.sendall(_mutated(ANSWERS[name], random))

    with Listener(answer) as listener:
        for _ in range(60):
            looked = look(Service(HERE, listener.port, name=name))
            assert looked.said[0] in (Outcome.ANSWERED, Outcome.SILENT)
            assert looked.said[1].isprintable()
