"""Names of addresses, asked of a real name server on loopback."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_address

import pytest

from footprint.errors import LookupFailed
from footprint.records import Coverage, DnsRecord, DomainName, Host, Network, Outcome, Record
from tasks.lookup import MAX_ALIASES
from tasks.reverse_dns import KEPT_ALIKE, MAX_NAMES, TOOL, ReverseDnsOptions, _likeness, configure, probe
from tasks.tool import Found, Pace
from tests.estate.name_server import NameServer, free_port
from tests.tasks.asking import asking

ARPA = "127.in-addr.arpa"
MANY = "".join(f"9.1.0.{ARPA} PTR n{n:04}.example.test\n" for n in range(3000))
POOL = "".join(f"{n}.2.0.{ARPA} PTR 127-0-2-{n}.pool.example.test\n" for n in range(64))
NUMBERED = "".join(f"{n}.3.0.{ARPA} PTR web{n + 1:02}.example.test\n" for n in range(64))
CHAIN = "".join(f"c{n}.{ARPA} CNAME c{n + 1}.{ARPA}\n" for n in range(40))
ZONE = f"""
1.1.0.{ARPA}      PTR www.example.test
2.1.0.{ARPA}      PTR WWW.Other.Test
3.1.0.{ARPA}      CNAME 3.0-15.1.0.{ARPA}
3.0-15.1.0.{ARPA} PTR mail.example.test
4.1.0.{ARPA}      PTR example.test.evil.test
5.1.0.{ARPA}      PTR a\\032b.example.test
5.1.0.{ARPA}      PTR good.example.test
6.1.0.{ARPA}      SERVFAIL
7.1.0.{ARPA}      DROP
8.1.0.{ARPA}      PTR localhost
10.1.0.{ARPA}     CNAME c0.{ARPA}
11.1.0.{ARPA}     CNAME 12.1.0.{ARPA}
12.1.0.{ARPA}     CNAME 11.1.0.{ARPA}
13.1.0.{ARPA}     TXT "no name"
*.4.0.{ARPA}      PTR any.example.test
{MANY}{POOL}{NUMBERED}{CHAIN}
"""
SIX = ip_address("::1").reverse_pointer
ZONE += f"{SIX} PTR six.example.test\n"


@pytest.fixture(scope="module", params=[True, False], ids=["recursive", "authoritative"])
def server(request: pytest.FixtureRequest) -> Iterator[NameServer]:
    with NameServer(ZONE, chases=request.param) as running:
        yield running


def options(**given: object) -> ReverseDnsOptions:
    return ReverseDnsOptions.model_validate({"timeout": 1, "tries": 1, "rate": 1000, "parallel": 50, **given})


def ask(
    server: NameServer, *batch: Record, exclude: tuple[str, ...] = (), stopped: threading.Event | None = None
) -> list[Found]:
    """Ask in a scan to which the domain and loopback belong."""
    given = asking(server.address, stopped=stopped)
    roots = (DomainName("example.test"), Network("127.0.0.0/8"))
    return list(probe(batch, options(), replace(given, scope=replace(given.scope, roots=roots, exclude=exclude))))


def names(found: list[Found]) -> list[str]:
    return [record.name for record in found if isinstance(record, DomainName)]


def coverage(found: list[Found]) -> dict[str, tuple[Outcome, str]]:
    return {entry.subject: (entry.outcome, entry.note) for entry in found if isinstance(entry, Coverage)}


def test_a_name_inside_of_the_scope_is_found(server: NameServer) -> None:
    found = ask(server, Host("127.0.1.1", "www.example.test"))
    assert found == [
        DomainName("www.example.test"),
        DnsRecord(f"1.1.0.{ARPA}", "PTR", "www.example.test"),
        Coverage("127.0.1.1", Outcome.ANSWERED),
    ]


def test_ipv6(server: NameServer) -> None:
    assert names(list(probe([Host("::1", "x.example.test")], options(), asking(server.address)))) == [
        "six.example.test"
    ]


@pytest.mark.parametrize(("last", "name"), [(2, "www.other.test"), (4, "example.test.evil.test")])
def test_a_name_outside_of_the_scope_is_said_and_not_followed(server: NameServer, last: int, name: str) -> None:
    found = ask(server, Host(f"127.0.1.{last}", "www.example.test"))
    assert found[:-1] == [DnsRecord(f"{last}.1.0.{ARPA}", "PTR", name)]
    assert coverage(found) == {f"127.0.1.{last}": (Outcome.ANSWERED, f"outside of the scope: {name}")}


def test_the_alias_of_a_delegated_part_of_a_network_is_followed(server: NameServer) -> None:
    assert names(ask(server, Host("127.0.1.3", "www.example.test"))) == ["mail.example.test"]


def test_what_is_no_host_name_is_left_out_and_said(server: NameServer) -> None:
    found = ask(server, Host("127.0.1.5", "www.example.test"), Host("127.0.1.8", "www.example.test"))
    assert names(found) == ["good.example.test"]
    assert coverage(found)["127.0.1.5"] == (Outcome.ANSWERED, "127.0.1.5: 1 of its names are no host names")
    assert coverage(found)["127.0.1.8"] == (Outcome.SILENT, "127.0.1.8: 1 of its names are no host names")


def test_of_thousands_of_names_a_few_are_kept(server: NameServer) -> None:
    found = ask(server, Host("127.0.1.9", "www.example.test"))
    assert names(found) == [f"n{n:04}.example.test" for n in range(MAX_NAMES)]
    assert f"only {MAX_NAMES} of its 3000 names were kept" in coverage(found)["127.0.1.9"][1]


@pytest.mark.parametrize("last", [10, 11])
def test_aliases_without_end_are_not_followed_for_ever(server: NameServer, last: int) -> None:
    before = len(server.asked)
    found = ask(server, Host(f"127.0.1.{last}", "www.example.test"))
    assert names(found) == []
    assert len(coverage(found)) == 1
    assert len(server.asked) - before <= MAX_ALIASES


def test_every_address_of_a_network_is_asked_and_counted(server: NameServer) -> None:
    found = ask(server, Network("127.0.1.0/28"))
    assert set(names(found)) >= {"www.example.test", "mail.example.test", "good.example.test"}
    outcome, note = coverage(found)["127.0.1.0/28"]
    assert outcome is Outcome.ANSWERED
    assert note.startswith(
        "6 of 16 addresses have a name; outside of the scope: www.other.test, example.test.evil.test;"
    )
    assert note.endswith("1 times SERVFAIL, 1 times no answer")


def test_a_network_without_names_is_silent(server: NameServer) -> None:
    found = ask(server, Network("127.0.9.0/28"))
    assert coverage(found) == {"127.0.9.0/28": (Outcome.SILENT, "0 of 16 addresses have a name")}


@pytest.mark.parametrize(("third", "pattern"), [(2, "#-#-#-#.pool.example.test"), (4, "any.example.test")])
def test_names_made_of_addresses_and_one_name_for_all_are_a_sample(
    server: NameServer, third: int, pattern: str
) -> None:
    found = ask(server, Network(f"127.0.{third}.0/26"))
    assert 1 <= len(names(found)) <= KEPT_ALIKE
    outcome, note = coverage(found)[f"127.0.{third}.0/26"]
    assert outcome is Outcome.SAMPLED
    assert f"64 addresses have names like {pattern}, {KEPT_ALIKE} of them were kept" in note


def test_names_that_are_merely_numbered_are_all_kept(server: NameServer) -> None:
    found = ask(server, Network("127.0.3.0/26"))
    assert len(names(found)) == 64
    assert coverage(found)["127.0.3.0/26"][0] is Outcome.ANSWERED


@pytest.mark.parametrize(
    ("address", "name", "likeness"),
    [
        ("192.0.2.77", "host-077.example.test", "host-#.example.test"),
        ("192.0.2.77", "c000024d.example.test", "#.example.test"),
        ("192.0.2.77", "web78.example.test", "web78.example.test"),
        ("2001:db8::77", "ip-2001-db8-0-0-0-0-0-77.example.test", "ip-#-#-#-#-#-#-#-#.example.test"),
        ("2001:db8::77", "cafe.example.test", "cafe.example.test"),
    ],
)
def test_what_of_a_name_is_the_address(address: str, name: str, likeness: str) -> None:
    assert _likeness(ip_address(address), name) == likeness


def test_excluded_addresses_are_not_asked_about(server: NameServer) -> None:
    before = len(server.asked)
    found = ask(server, Network("127.0.3.0/30"), exclude=("127.0.3.2",))
    assert {asked.name for asked in server.asked[before:]} == {f"{n}.3.0.{ARPA}" for n in (0, 1, 3)}
    assert coverage(found)["127.0.3.0/30"][1] == "3 of 3 addresses have a name"


def test_a_network_that_is_too_large_is_not_looked_at(server: NameServer) -> None:
    found = ask(server, Network("127.0.0.0/8"))
    assert coverage(found)["127.0.0.0/8"][0] is Outcome.NOT_LOOKED_AT


def test_silent_name_servers_are_an_error() -> None:
    found: list[Found] = []
    with pytest.raises(LookupFailed):
        found.extend(probe([Host("127.0.1.1", "x.example.test")], options(), asking(f"127.0.0.1:{free_port()}")))


def test_a_stopped_scan_says_what_was_not_asked(server: NameServer) -> None:
    stopped = threading.Event()
    stopped.set()
    found = ask(server, Network("127.0.1.0/28"), stopped=stopped)
    assert coverage(found)["127.0.1.0/28"][0] is Outcome.NOT_LOOKED_AT


def test_hosts_that_a_network_led_to_are_not_asked_about_twice() -> None:
    assert TOOL.intake_of(Host("192.0.2.1")) is None
    assert TOOL.intake_of(Host("192.0.2.1"), is_root=True)
    assert TOOL.intake_of(Host("192.0.2.1", "www.example.test"))


def test_a_higher_intensity_asks_faster() -> None:
    rates = [configure({}, Pace(intensity, 3600, "all")).rate for intensity in range(6)]
    assert rates == sorted(rates)
    assert rates[0] < rates[-1]


def test_nobody_is_asked_about_loopback() -> None:
    for record in (Network("127.0.1.0/28"), Host("127.0.1.1", "www.example.test"), Host("::1")):
        assert TOOL.intake_of(record, is_root=True) is None
    assert TOOL.intake_of(Host("192.0.2.1"), is_root=True) is not None
