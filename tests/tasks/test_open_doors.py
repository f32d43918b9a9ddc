"""Doors that stand open: real FTP servers for anybody and for nobody, name servers for strangers."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random
from threading import Event, Thread
from typing import Any

import dns.flags
import dns.message
import dns.rrset
import pytest

from footprint.records import Outcome, Service
from tests.conftest import free_port
from tests.estate import daemons
from tests.estate.name_server import NameServer
from tests.estate.name_server import free_port as free_udp_port
from tests.tasks.hostile import Listener, Manner, scripted
from tests.tasks.looking import HERE, Looked, directory_for_all, look

ROOTS = {".": ["NS a.root-servers.test.", "NS b.root-servers.test.", "NS c.root-servers.test."]}
OWN = {"www.example.test": "A 127.0.0.1"}


needs_vsftpd = pytest.mark.skipif(daemons.lacking("vsftpd") is not None, reason=daemons.lacking("vsftpd") or "")


@needs_vsftpd
def test_an_ftp_server_for_anybody_is_found() -> None:
    port = free_port()
    with directory_for_all() as directory, daemons.running(daemons.vsftpd(HERE, port, directory)):
        looked = look(Service(HERE, port, name="ftp"))
    finding = looked.finding
    assert (finding.rule, finding.subject) == ("service_checks/ftp-anonymous", f"{HERE}:{port}/tcp")
    assert finding.evidence == "anonymous was let in: 230 Login successful."
    assert looked.said == (Outcome.ANSWERED, "ftp (USER anonymous): FTP lets anybody in")


@needs_vsftpd
def test_an_ftp_server_for_users_is_none() -> None:
    port = free_port()
    with directory_for_all() as directory, daemons.running(daemons.vsftpd(HERE, port, directory, anonymous=False)):
        looked = look(Service(HERE, port, name="ftp"))
    assert looked.rules == []
    outcome, note = looked.said
    assert outcome is Outcome.ANSWERED
    assert note.startswith("ftp (USER anonymous): anonymous may not log in (530 ")


def _dialogue(*replies: bytes) -> Manner:
    """The first reply at once, each other one to a line."""

    def converse(connection: socket.socket, over: Event) -> None:
        connection.sendall(replies[0])
        for reply in replies[1:]:
            if not connection.recv(4096):
                return
            connection.sendall(reply)

    return converse


def _ftp(*replies: bytes) -> Looked:
    with Listener(_dialogue(*replies)) as listener:
        return look(Service(HERE, listener.port, name="ftp"))


def test_greetings_of_many_lines_are_read_to_their_end() -> None:
    greeting = b"220-Hello\r\n230 is no code here\r\n 220 nor there\r\n220 ready\r\n"
    assert _ftp(greeting, b"331-any\r\n331 word\r\n", b"230 in\r\n").rules == ["ftp-anonymous"]
    assert _ftp(greeting, b"530 no\r\n").said[1].endswith("anonymous may not log in (530 no)")


@pytest.mark.parametrize(
    ("replies", "note"),
    [
        ((b"421 Too many users\r\n",), "it serves nobody now (421 Too many users)"),
        ((b"220 a\r\n", b"530 Use TLS first\r\n"), "anonymous may not log in (530 Use TLS first)"),
        ((b"220 a\r\n", b"331 b\r\n", b"332 c\r\n"), "anonymous may not log in (332 c)"),
        ((b"220 a\r\n", b"331 \x1b[31mb\r\n", b"530 \x07no\xff\r\n"), "anonymous may not log in (530 no\ufffd)"),
        ((b"220 a\r\n", b""), "it does not speak FTP"),
        ((b"SSH-2.0-OpenSSH_9.2p1\r\n",), "it does not speak FTP"),
        ((b"220\xb2 a\r\n",), "it does not speak FTP"),
        ((b"220-a\r\n" * 300,), "it does not speak FTP"),
    ],
)
def test_who_does_not_let_anonymous_in_is_no_finding(replies: tuple[bytes, ...], note: str) -> None:
    looked = _ftp(*replies)
    assert looked.rules == []
    assert looked.said == (Outcome.ANSWERED, f"ftp (USER anonymous): {note}")


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_a_resolver_for_strangers_is_found(protocol: str) -> None:
    with NameServer(ROOTS) as server:
        looked = look(Service(HERE, server.port, protocol, name="domain"))
    finding = looked.finding
    assert (finding.rule, finding.subject) == ("service_checks/open-resolver", f"{HERE}:{server.port}/{protocol}")
    expected = f"asked over {protocol.upper()} for the name servers of ., it said: "
    assert finding.evidence == f"{expected}a.root-servers.test., b.root-servers.test."
    assert [(asked.rdtype, asked.transport) for asked in server.asked] == [("NS", protocol)]
    expected = "recursion (NS of . with recursion): The name server looks names up for anybody"
    assert looked.said == (Outcome.ANSWERED, expected)


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
@pytest.mark.parametrize(
    ("zone", "chases", "said"),
    [
        (OWN, True, "NXDOMAIN, 0 answers"),
        (OWN, False, "NXDOMAIN, 0 answers"),
        (ROOTS, False, "NOERROR, 1 answers"),
        ({".": "REFUSED"}, True, "REFUSED, 0 answers"),
        ({".": "SERVFAIL"}, True, "SERVFAIL, 0 answers"),
    ],
    ids=["knows it not", "its own zones", "the root's own", "refuses", "fails"],
)
def test_a_name_server_of_its_own_zones_is_none(protocol: str, zone: dict[str, Any], chases: bool, said: str) -> None:
    with NameServer(zone, chases=chases) as server:
        looked = look(Service(HERE, server.port, protocol, name="domain"))
    assert looked.rules == []
    assert looked.said[0] is Outcome.ANSWERED
    assert looked.said[1].endswith(f"it looks nothing up for strangers ({said})")


def test_resolvers_are_asked_for_the_name_that_was_told() -> None:
    with NameServer({"example.test": "NS ns.example.test."}) as server:
        looked = look(Service(HERE, server.port, "udp", name="domain"), options={"recursion_name": "example.test."})
    assert looked.rules == ["open-resolver"]
    assert [asked.name for asked in server.asked] == ["example.test"]


def test_what_does_not_fit_is_asked_for_over_tcp() -> None:
    with NameServer({".": [f"NS {number:060}.test." for number in range(40)]}) as server:
        looked = look(Service(HERE, server.port, "udp", name="domain"))
    assert looked.rules == ["open-resolver"]
    assert [asked.transport for asked in server.asked] == ["udp", "tcp"]


@contextmanager
def _datagrams(*answers: Any) -> Iterator[tuple[int, list[bytes]]]:
    """Answers the n-th question with the n-th of `answers`, each a list of what is sent; the last one goes on."""
    heard: list[bytes] = []
    over = Event()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as bound:
        bound.bind((HERE, 0))
        bound.settimeout(0.1)

        def serve() -> None:
            while not over.is_set():
                try:
                    question, sender = bound.recvfrom(4096)
                except TimeoutError:
                    continue
                heard.append(question)
                for answer in answers[min(len(heard), len(answers)) - 1]:
                    bound.sendto(answer(question) if callable(answer) else answer, sender)

        thread = Thread(target=serve)
        thread.start()
        try:
            yield bound.getsockname()[1], heard
        finally:
            over.set()
            thread.join()


def _open_answer(question: bytes) -> bytes:
    query = dns.message.from_wire(question)
    answer = dns.message.make_response(query)
    answer.flags |= dns.flags.RA
    answer.answer = [dns.rrset.from_text(".", 60, "IN", "NS", "a.test.")]
    return answer.to_wire()


def _authoritative(question: bytes) -> bytes:
    answer = dns.message.from_wire(_open_answer(question))
    answer.flags |= dns.flags.AA
    return answer.to_wire()


def test_an_answer_from_zones_of_its_own_is_none_whatever_else_it_offers() -> None:
    with _datagrams([_authoritative]) as (port, _):
        looked = look(Service(HERE, port, "udp", name="domain"))
    assert (looked.rules, looked.said[0]) == ([], Outcome.ANSWERED)


def _another(question: bytes) -> bytes:
    return struct.pack("!H", struct.unpack_from("!H", question)[0] ^ 1) + _open_answer(question)[2:]


def test_a_lost_question_is_asked_again() -> None:
    with _datagrams([], [_open_answer]) as (port, heard):
        looked = look(Service(HERE, port, "udp", name="domain"), options={"timeout": 2})
    assert looked.rules == ["open-resolver"]
    assert len(heard) == 2


def test_what_answers_another_question_is_not_taken_for_the_answer() -> None:
    with _datagrams([b"", b"\0", bytes(range(256)), _another, _open_answer]) as (port, _):
        assert look(Service(HERE, port, "udp", name="domain")).rules == ["open-resolver"]
    with _datagrams([_another]) as (port, heard):
        looked = look(Service(HERE, port, "udp", name="domain"), options={"timeout": 0.4})
    assert looked.rules == []
    assert looked.said == (Outcome.TIMED_OUT, "recursion (NS of . with recursion): no answer in 0.4 s")
    assert len(heard) == 2


def test_many_datagrams_that_are_no_answer_end_the_check() -> None:
    with _datagrams([b"A" * 1000] * 60) as (port, _):
        looked = look(Service(HERE, port, "udp", name="domain"))
    assert looked.said[0] is Outcome.ANSWERED
    assert looked.said[1].endswith("it says nothing of this protocol")


def test_a_port_that_nobody_listens_on_is_silent_over_udp() -> None:
    looked = look(Service(HERE, free_udp_port(), "udp", name="domain"))
    assert looked.said == (Outcome.SILENT, "recursion (NS of . with recursion): Connection refused")


@pytest.mark.parametrize("answer", [b"\0\x04abcd", b"\0\0", b"\xff\xffabc", b"\0"])
def test_what_is_no_dns_over_tcp_is_no_finding(answer: bytes) -> None:
    with Listener(scripted(answer)) as listener:
        looked = look(Service(HERE, listener.port, name="domain"))
    assert (looked.rules, looked.said[0]) == ([], Outcome.ANSWERED)


def test_damaged_messages_break_nothing() -> None:
    random = Random(20240515)

    def answer(connection: socket.socket, over: Event) -> None:
        wire = bytearray(_open_answer(connection.recv(4096)[2:]))
        for _ in range(random.randint(1, 4)):
            wire[random.randrange(2, len(wire))] = random.randrange(256)
        connection.sendall(struct.pack("!H", len(wire)) + wire)

    with Listener(answer) as listener:
        for _ in range(100):
            assert look(Service(HERE, listener.port, name="domain")).said[0] is Outcome.ANSWERED
