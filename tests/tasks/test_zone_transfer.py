"""Zones asked for as a whole at real name servers on loopback, those that lie, flood or hang included."""

from __future__ import annotations

import struct
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import dns.message
import dns.name
import dns.rdatatype
import dns.rrset
import pytest
from pydantic import ValidationError

from footprint.errors import LookupFailed, UnitError
from footprint.records import Coverage, DnsRecord, DomainName, Finding, Host, Outcome, Severity
from tasks import axfr
from tasks.tool import Pace, Risk
from tasks.zone_transfer import MAX_SERVERS, TOOL, ZoneTransferOptions, probe
from tests.estate import zone
from tests.estate.name_server import NameServer, free_port
from tests.tasks.asking import asking
from tests.tasks.cvss import base_score, severity_word

SOA = "ns.example.test. hostmaster.example.test. 7 3600 600 86400 60"
ZONE = f"""
example.test           SOA {SOA}
example.test           NS ns.example.test.
ns.example.test        A 127.0.0.1
open.example.test      SOA {SOA}
open.example.test      NS ns.example.test.
open.example.test      MX 10 mx.open.example.test.
printer.open.example.test  A 127.0.0.3
printer.open.example.test  AAAA ::1
alias.open.example.test    CNAME www.neighbour.test.
*.any.open.example.test    A 127.0.0.4
secret.open.example.test   TXT "=cmd \\027[31m"
sub.open.example.test      NS ns.sub.open.example.test.
_sip._tcp.open.example.test SRV 0 0 5060 sip.open.example.test.
excluded.open.example.test A 127.0.0.5
a\\032b.open.example.test  A 127.0.0.6
foreign.example.test   SOA {SOA}
foreign.example.test   NS ns.neighbour.test.
foreign.example.test   NS ns.aliased.example.test.
foreign.example.test   NS ns.private.example.test.
ns.neighbour.test      A 127.0.0.1
ns.aliased.example.test CNAME ns.neighbour.test.
ns.private.example.test AAAA ::1
lame.example.test      NS nowhere.example.test.
sick.example.test      SERVFAIL NS
mute.example.test      DROP NS
www.example.test       A 127.0.0.2
"""


@pytest.fixture(scope="module")
def server() -> Iterator[NameServer]:
    with NameServer(ZONE, transfers=["open.example.test", "foreign.example.test"]) as running:
        yield running


class Run:
    """One unit, and what it found."""

    def __init__(self, server: NameServer, *names: str, options: dict[str, Any] | None = None, **under: Any) -> None:
        given = {"timeout": 2, "tries": 1, "rate": 1000, "port": server.port, **(options or {})}
        batch = [DomainName(name) for name in names]
        self.error: UnitError | None = None
        self.all: list[Any] = []
        circumstances = asking(server.address, **{"target": "example.test", **under})
        try:
            self.all += probe(batch, ZoneTransferOptions.model_validate(given), circumstances)
        except UnitError as error:
            self.error = error
        assert sorted(self.coverage) == sorted(names)

    @property
    def names(self) -> dict[str, str | None]:
        return {each.name: each.cname for each in self.all if isinstance(each, DomainName)}

    @property
    def records(self) -> set[tuple[str, str, str]]:
        return {(each.name, each.rdtype, each.value) for each in self.all if isinstance(each, DnsRecord)}

    @property
    def findings(self) -> list[Finding]:
        return [each for each in self.all if isinstance(each, Finding)]

    @property
    def coverage(self) -> dict[str, tuple[Outcome, str]]:
        return {each.subject: (each.outcome, each.note) for each in self.all if isinstance(each, Coverage)}


def transfers(server: NameServer) -> list[str]:
    return [asked.name for asked in server.asked if asked.rdtype == "AXFR"]


def test_a_zone_that_is_given_away_is_read(server: NameServer) -> None:
    run = Run(server, "open.example.test", exclude=("excluded.open.example.test",))
    labels = ("mx.", "printer.", "sub.", "ns.sub.", "sip.", "")
    assert set(run.names) == {*(f"{label}open.example.test" for label in (*labels, "alias.")), "ns.example.test"}
    assert run.names["alias.open.example.test"] == "www.neighbour.test"
    assert not any(isinstance(each, Host) for each in run.all)


def test_other_records_are_kept_cleaned(server: NameServer) -> None:
    assert Run(server, "open.example.test").records == {
        ("open.example.test", "SOA", "ns.example.test hostmaster.example.test"),
        ("open.example.test", "NS", "ns.example.test"),
        ("open.example.test", "MX", "10 mx.open.example.test"),
        ("secret.open.example.test", "TXT", "=cmd [31m"),
        ("sub.open.example.test", "NS", "ns.sub.open.example.test"),
        ("_sip._tcp.open.example.test", "SRV", "0 0 5060 sip.open.example.test"),
    }


def test_it_is_a_weakness_and_its_evidence_counts(server: NameServer) -> None:
    (finding,) = Run(server, "open.example.test").findings
    assert (finding.rule, finding.subject) == ("zone_transfer/allowed", "open.example.test")
    assert finding.severity is Severity.HIGH
    assert finding.evidence.startswith("12 records, 9 names, 1 wildcards (*.any.open.example.test); ")
    assert "printer.open.example.test" in finding.evidence
    assert finding.evidence.endswith("given by ns.example.test (127.0.0.1)")
    assert finding.cvss
    assert base_score(finding.cvss) == finding.score
    assert severity_word(finding.cvss, finding.score or 0) == "high"


def test_a_zone_that_is_refused_is_no_weakness(server: NameServer) -> None:
    run = Run(server, "example.test")
    assert (run.names, run.records, run.findings) == ({}, set(), [])
    assert run.coverage["example.test"] == (Outcome.ANSWERED, "ns.example.test (127.0.0.1): refused (REFUSED)")


def test_what_is_no_zone_costs_one_question_to_the_resolvers(server: NameServer) -> None:
    server.asked.clear()
    run = Run(server, "www.example.test", "absent.example.test")
    assert set(run.coverage.values()) == {(Outcome.SILENT, "no zone of its own")}
    assert sorted((asked.name, asked.rdtype) for asked in server.asked) == [
        ("absent.example.test", "NS"),
        ("www.example.test", "NS"),
    ]


def test_name_servers_out_of_the_scope_are_not_asked(server: NameServer) -> None:
    """They would give the zone: behind somebody's name, behind an alias, and at an address that is not allowed."""
    server.asked.clear()
    run = Run(server, "foreign.example.test")
    assert transfers(server) == []
    assert run.findings == []
    outcome, note = run.coverage["foreign.example.test"]
    assert outcome is Outcome.REFUSED
    assert note == (
        "not asked, out of the scope: ns.aliased.example.test (127.0.0.1), ns.neighbour.test (127.0.0.1), "
        "ns.private.example.test (::1)"
    )


def test_an_excluded_address_is_not_asked(server: NameServer) -> None:
    server.asked.clear()
    run = Run(server, "open.example.test", exclude=("127.0.0.1",))
    assert transfers(server) == []
    assert run.coverage["open.example.test"][0] is Outcome.REFUSED


@pytest.mark.parametrize(
    ("name", "outcome", "note"),
    [
        ("lame.example.test", Outcome.SILENT, "its name servers have no address"),
        ("sick.example.test", Outcome.NOT_LOOKED_AT, "NS: SERVFAIL"),
        ("mute.example.test", Outcome.TIMED_OUT, "NS: no answer"),
    ],
)
def test_what_could_not_be_asked_is_said(server: NameServer, name: str, outcome: Outcome, note: str) -> None:
    run = Run(server, name, "example.test", options={"timeout": 0.5})
    assert run.coverage[name] == (outcome, note)
    assert run.error is None


def test_a_server_that_nobody_runs_is_silent(server: NameServer) -> None:
    run = Run(server, "open.example.test", options={"port": free_port()})
    outcome, note = run.coverage["open.example.test"]
    assert (outcome, note) == (Outcome.SILENT, "ns.example.test (127.0.0.1): silent (the connection failed)")


def test_the_second_server_is_asked_whether_it_would() -> None:
    lines = "two.example.test NS a.example.test.\ntwo.example.test NS b.example.test.\n"
    lines += f"two.example.test SOA {SOA}\na.example.test A 127.0.0.1\nb.example.test A 127.0.0.2\n"
    with NameServer(lines, transfers=["two.example.test"]) as first:
        options = {"port": first.port}
        with NameServer(lines, host="127.0.0.2", port=first.port, transfers=["two.example.test"]) as second:
            run = Run(first, "two.example.test", options=options)
            assert transfers(first) == transfers(second) == ["two.example.test"]
    (finding,) = run.findings
    assert finding.evidence.endswith("given by a.example.test (127.0.0.1), b.example.test (127.0.0.2)")


def test_only_so_many_servers_are_asked() -> None:
    lines = "".join(f"many.example.test NS n{n}.example.test.\nn{n}.example.test A 127.0.1.{n}\n" for n in range(1, 30))
    with NameServer(lines) as server:
        run = Run(server, "many.example.test", options={"port": free_port()})
    assert run.coverage["many.example.test"][1].count("silent") == MAX_SERVERS


Script = Callable[[dns.message.Message], Iterator[bytes]]


class Odd(NameServer):
    """Answers questions as any, and a request for a transfer by a script of messages."""

    def __init__(self, script: Script) -> None:
        super().__init__(
            f"odd.example.test SOA {SOA}\nodd.example.test NS ns.example.test.\nns.example.test A 127.0.0.1"
        )
        self.script = script
        self.let_go = threading.Event()

    def stream(self, wire: bytes) -> Iterator[bytes]:
        query = dns.message.from_wire(wire)
        if query.question[0].rdtype != dns.rdatatype.AXFR:
            yield from super().stream(wire)
            return
        yield from self.script(query)
        self.let_go.wait(30)


def message(query: dns.message.Message, *records: str) -> bytes:
    response = dns.message.make_response(query)
    for record in records:
        name, rdtype, data = record.split(" ", 2)
        response.answer.append(dns.rrset.from_text(f"{name}.", 60, "IN", rdtype, data))
    return response.to_wire(max_size=65535)


TOP = f"odd.example.test SOA {SOA}"


def odd(script: Script, options: dict[str, Any] | None = None, **under: Any) -> Run:
    with Odd(script) as server:
        try:
            return Run(server, "odd.example.test", options=options, **under)
        finally:
            server.let_go.set()


def numbered(query: dns.message.Message, first: int, count: int = 100) -> bytes:
    return message(query, *(f"h{n}.odd.example.test A 127.0.0.1" for n in range(first, first + count)))


def test_a_zone_in_many_messages_is_read_to_its_end() -> None:
    def script(query: dns.message.Message) -> Iterator[bytes]:
        yield message(query, TOP)
        for first in range(0, 500, 100):
            yield numbered(query, first)
        yield message(query, "last.odd.example.test A 127.0.0.1", TOP)

    run = odd(script)
    assert len(run.names) == 502
    assert run.coverage["odd.example.test"] == (
        Outcome.ANSWERED,
        "ns.example.test (127.0.0.1): gave 502 records, 502 names",
    )


def test_an_endless_zone_is_cut_off_and_it_says_so() -> None:
    def script(query: dns.message.Message) -> Iterator[bytes]:
        yield message(query, TOP)
        for first in range(0, 10_000_000, 100):
            yield numbered(query, first)

    run = odd(script, {"records": 1000})
    outcome, note = run.coverage["odd.example.test"]
    assert outcome is Outcome.SAMPLED
    assert "1001 records, 1001 names, cut off after 1001 records" in note
    assert len(run.findings) == 1


def test_a_zone_of_too_many_names_is_sampled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(axfr, "MAX_NAMES", 50)
    monkeypatch.setattr(axfr, "MAX_KEPT", 5)

    def script(query: dns.message.Message) -> Iterator[bytes]:
        texts = (f'h{n}.odd.example.test TXT "{n}"' for n in range(20))
        yield message(query, TOP, *texts)
        yield numbered(query, 0)
        yield message(query, TOP)

    run = odd(script)
    assert len(run.names) == 50
    assert len(run.records) == 5
    assert "more than are kept" in run.findings[0].evidence


def test_a_zone_that_drips_is_over_in_time() -> None:
    def script(query: dns.message.Message) -> Iterator[bytes]:
        yield message(query, TOP, "a.odd.example.test A 127.0.0.1")
        for number in range(300):
            time.sleep(0.1)
            yield message(query, f"d{number}.odd.example.test A 127.0.0.1")

    began = time.monotonic()
    run = odd(script, {"seconds": 1})
    assert time.monotonic() - began < 10
    assert run.coverage["odd.example.test"][0] is Outcome.SAMPLED
    assert "it took too long" in run.coverage["odd.example.test"][1]
    assert "a.odd.example.test" in run.names


def test_a_server_that_hangs_is_silent() -> None:
    run = odd(lambda query: iter(()), {"timeout": 0.5})
    assert run.coverage["odd.example.test"] == (
        Outcome.SILENT,
        "ns.example.test (127.0.0.1): silent (it took too long)",
    )


def test_a_stopped_scan_waits_for_no_transfer() -> None:
    stopped = threading.Event()
    timer = threading.Timer(0.5, stopped.set)
    timer.start()
    began = time.monotonic()
    run = odd(lambda query: iter(()), {"timeout": 30}, stopped=stopped)
    assert time.monotonic() - began < 10
    assert run.coverage["odd.example.test"] == (Outcome.NOT_LOOKED_AT, "the scan was stopped")
    assert run.error is None
    timer.join()


def _other_id(query: dns.message.Message) -> bytes:
    wire = message(query, TOP, "a.odd.example.test A 127.0.0.1", TOP)
    return struct.pack("!H", query.id ^ 1) + wire[2:]


@pytest.mark.parametrize(
    "answer",
    [
        lambda query: b"no DNS at all",
        lambda query: b"",
        lambda query: message(query)[:-3],
        lambda query: message(query),
        lambda query: message(query, "a.odd.example.test A 127.0.0.1", TOP),
        lambda query: message(query, f"other.test SOA {SOA}", "a.other.test A 127.0.0.1"),
        lambda query: message(query, TOP, TOP),
        _other_id,
    ],
    ids=["no DNS", "nothing", "half", "empty", "no SOA first", "another zone", "only the SOA", "another question"],
)
def test_what_is_no_transfer_proves_nothing(answer: Callable[[dns.message.Message], bytes]) -> None:
    run = odd(lambda query: iter([answer(query)]))
    assert (run.names, run.records, run.findings) == ({}, set(), [])
    assert run.coverage["odd.example.test"][0] in (Outcome.SILENT, Outcome.ANSWERED)
    assert run.error is None


def test_what_came_before_it_broke_off_counts() -> None:
    def script(query: dns.message.Message) -> Iterator[bytes]:
        yield message(query, TOP, "a.odd.example.test A 127.0.0.1")
        yield b"garbage"

    run = odd(script)
    assert "a.odd.example.test" in run.names
    assert len(run.findings) == 1
    assert run.coverage["odd.example.test"][0] is Outcome.SAMPLED


def test_records_of_other_zones_are_not_believed() -> None:
    run = odd(
        lambda query: iter([message(query, TOP, "www.example.test A 127.0.0.9", "a.odd.example.test A 127.0.0.1", TOP)])
    )
    assert "www.example.test" not in run.names
    assert "a.odd.example.test" in run.names
    assert "1 of other zones" in run.findings[0].evidence


def test_without_a_resolver_it_is_a_failure_that_names_the_remedy() -> None:
    found: list[Any] = []
    options = ZoneTransferOptions(timeout=0.3, tries=1)
    with pytest.raises(LookupFailed) as caught:
        found += probe([DomainName("example.test")], options, asking(f"127.0.0.1:{free_port()}"))
    assert "PULSAR_RESOLVERS" in caught.value.hint


def test_the_estates_open_zone_is_found() -> None:
    text = zone.text().replace("10.87.", "127.87.").replace("10.88.", "127.88.")
    text = text.replace(f"ns.{zone.CORP} A 127.87.0.54", f"ns.{zone.CORP} A 127.0.0.1")
    assert f"ns.{zone.CORP} A 127.0.0.1" in text
    with NameServer(text, transfers=[zone.CORP]) as server:
        run = Run(server, zone.CORP, target=zone.ROOT)
    assert set(run.names) >= {f"{label}.{zone.CORP}" for label in zone.IN_TRANSFER}
    assert [(each.rule, each.subject) for each in run.findings] == [("zone_transfer/allowed", zone.CORP)]


def test_what_it_takes_and_what_it_risks() -> None:
    assert TOOL.risk is Risk.SAFE
    assert TOOL.intake_of(DomainName("corp.example.test"))
    assert not TOOL.intake_of(DomainName("any.example.test", wildcard=True))
    rates = [TOOL.configure({}, Pace(intensity, 60, "top:100")).rate for intensity in range(6)]
    assert rates == sorted(set(rates))


@pytest.mark.parametrize("given", [{"port": 0}, {"records": 0}, {"seconds": 0}, {"servers": 9}, {"rate": float("nan")}])
def test_options_are_bounded(given: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        TOOL.configure(given, Pace(3, 60, "top:100"))
