"""What zones say of themselves, asked of a real name server on loopback: records, names in them, and what is wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from footprint.records import Coverage, DnsRecord, DomainName, Finding, Host, Outcome, Severity
from tasks.dns import DnsOptions, probe
from tasks.dns_records import MAX_VALUES, SERVICES, is_of_service
from tasks.suffixes import registered_domain
from tasks.tool import Found
from tests.estate import zone
from tests.estate.name_server import NameServer
from tests.tasks.asking import asking
from tests.tasks.cvss import base_score, severity_word

SOA = "ns1.example.test. hostmaster.example.test. 2024051501 3600 600 86400 60"
MANY = "\n".join(f'talkative.test TXT "text {number:03}"' for number in range(200))
ZONE = f"""
example.test              SOA {SOA}
example.test              A 127.0.0.1
example.test              NS NS1.example.test.
example.test              NS ns.provider.test.
example.test              MX 10 mail.example.test.
example.test              MX 20 mx.provider.test.
example.test              TXT "v=spf1 mx include:_spf.example.test a:sender.example.test/28 " "-all"
example.test              TXT "proof=1"
example.test              CAA 0 issue "authority.test"
_dmarc.example.test       CNAME policy.provider.test.
policy.provider.test      TXT "v=DMARC1; p=reject"
_sip._tcp.example.test    SRV 10 5 5060 sip.example.test.
_ldap._tcp.example.test   SRV 0 0 389 a\\032b.example.test.
www.example.test          A 127.0.0.2
alias.example.test        CNAME www.example.test.
deep.corp.example.test    A 127.0.0.3
corp.example.test         SOA ns.corp.example.test. hostmaster.example.test. 7 3600 600 86400 60
corp.example.test         NS ns.corp.example.test.
outside.test              SOA {SOA}
anyway.test               SOA {SOA}
*._tcp.anyway.test        SRV 0 0 1 trap.anyway.test.
talkative.test            SOA {SOA}
{MANY}
hostile.test              SOA {SOA}
hostile.test              TXT "\\027[31m=cmd\\226\\128\\174 \\255 {"x" * 200}"
hostile.test              MX 1 -oX.hostile.test.
hostile.test              MX 2 a\\010b.hostile.test.
hostile.test              NS other.hostile.test.
half.test                 SOA {SOA}
half.test                 SERVFAIL TXT
_dmarc.half.test          REFUSED
*.pool.test               A 127.0.0.9
gone1.free.test           CNAME nobody.never-registered.nowhere.
gone2.free.test           CNAME pulsar-old.azurewebsites.net.
azurewebsites.net         SOA {SOA}
gone3.free.test           CNAME lost.partner.test.
partner.test              SOA {SOA}
gone4.free.test           CNAME lost.free.test.
*.lost.test               CNAME nobody.azurewebsites.net.
"""


@pytest.fixture(scope="module")
def server() -> Iterator[NameServer]:
    with NameServer(ZONE) as running:
        yield running


class Run:
    """One unit of `dns`, and what it found."""

    def __init__(self, server: NameServer, *names: str, target: str | None = None, **given: Any) -> None:
        options = DnsOptions.model_validate({"timeout": 1, "tries": 1, "rate": 1000, "parallel": 50, **given})
        batch = [DomainName(name) for name in names]
        self.all: list[Found] = list(probe(batch, options, asking(server.address, target=target or names[0])))

    @property
    def records(self) -> list[tuple[str, str, str]]:
        return [(each.name, each.rdtype, each.value) for each in self.all if isinstance(each, DnsRecord)]

    @property
    def names(self) -> set[str]:
        return {each.name for each in self.all if isinstance(each, DomainName)}

    @property
    def findings(self) -> dict[tuple[str, str], Finding]:
        return {(each.rule, each.subject): each for each in self.all if isinstance(each, Finding)}

    @property
    def notes(self) -> dict[str, str]:
        return {each.subject: each.note for each in self.all if isinstance(each, Coverage)}


def test_a_zone_says_who_serves_it_and_who_takes_its_mail(server: NameServer) -> None:
    assert Run(server, "example.test").records == [
        ("example.test", "SOA", "ns1.example.test hostmaster.example.test"),
        ("example.test", "NS", "ns.provider.test"),
        ("example.test", "NS", "ns1.example.test"),
        ("example.test", "MX", "10 mail.example.test"),
        ("example.test", "MX", "20 mx.provider.test"),
        ("example.test", "TXT", "proof=1"),
        ("example.test", "TXT", "v=spf1 mx include:_spf.example.test a:sender.example.test/28 -all"),
        ("example.test", "CAA", '0 issue "authority.test"'),
        ("_dmarc.example.test", "TXT", "v=DMARC1; p=reject"),
        ("_sip._tcp.example.test", "SRV", "10 5 5060 sip.example.test"),
        ("_ldap._tcp.example.test", "SRV", "0 0 389 a\\032b.example.test"),
    ]


def test_names_in_the_data_are_found_where_they_are_in_the_scope(server: NameServer) -> None:
    labels = ("ns1", "mail", "sip", "_spf", "sender")
    assert Run(server, "example.test").names == {"example.test", *(f"{label}.example.test" for label in labels)}


def test_a_good_domain_has_no_weakness_and_nothing_to_note(server: NameServer) -> None:
    run = Run(server, "example.test")
    assert run.findings == {}
    assert run.notes == {"example.test": ""}


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("www.example.test", {"A": 1, "AAAA": 1, "SOA": 1}),
        ("alias.example.test", {"A": 1, "AAAA": 1}),
        ("nothing.example.test", {"A": 1}),
        ("gone2.free.test", {"A": 1}),
        ("corp.example.test", dict.fromkeys(("A", "AAAA", "SOA", "NS", "MX", "TXT", "CAA"), 1)),
    ],
)
def test_a_name_is_asked_few_questions(server: NameServer, name: str, asked: dict[str, int]) -> None:
    server.asked.clear()
    Run(server, name, wildcards=False)
    assert Counter(question.rdtype for question in server.questions(name)) == asked


def test_a_zone_is_asked_for_the_usual_services_once_each(server: NameServer) -> None:
    server.asked.clear()
    Run(server, "example.test")
    services = Counter(question.name for question in server.asked if question.rdtype == "SRV")
    assert len(services) == len(SERVICES) + 1
    assert set(services.values()) == {1}
    # A, AAAA, SOA, four types of the zone, its DMARC policy, the services, and one that there is not.
    assert len(server.asked) == 2 + 1 + 4 + 1 + len(SERVICES) + 1


def test_nothing_else_is_asked_where_the_policy_says_so(server: NameServer) -> None:
    server.asked.clear()
    run = Run(server, "example.test", records=False)
    assert [question.rdtype for question in server.asked] == ["A", "AAAA"]
    assert run.records == []


def test_a_zone_below_is_found_by_a_name_in_it(server: NameServer) -> None:
    run = Run(server, "deep.corp.example.test", target="example.test")
    assert "corp.example.test" in run.names
    assert run.records == []


def test_a_zone_below_the_domain_is_not_blamed_for_having_no_mail_policies(server: NameServer) -> None:
    run = Run(server, "corp.example.test", target="example.test")
    assert ("corp.example.test", "NS", "ns.corp.example.test") in run.records
    assert run.findings == {}
    assert not server.questions("_dmarc.corp.example.test")


def test_names_out_of_the_scope_stay_in_the_data_only(server: NameServer) -> None:
    run = Run(server, "outside.test")
    assert run.names == {"outside.test"}
    assert run.records[0] == ("outside.test", "SOA", "ns1.example.test hostmaster.example.test")


def test_services_that_a_wildcard_answers_for_are_one_record(server: NameServer) -> None:
    run = Run(server, "anyway.test")
    assert [record[1:] for record in run.records if record[1] == "SRV"] == [("SRV", "0 0 1 trap.anyway.test")]


def test_a_zone_cannot_flood_us_with_records(server: NameServer) -> None:
    run = Run(server, "talkative.test")
    texts = [value for _, rdtype, value in run.records if rdtype == "TXT"]
    assert texts == [f"text {number:03}" for number in range(MAX_VALUES)]
    assert f"only {MAX_VALUES} of its 200 TXT records were kept" in run.notes["talkative.test"]


def test_hostile_data_is_cleaned_and_hostile_names_are_none(server: NameServer) -> None:
    run = Run(server, "hostile.test")
    (text,) = (value for _, rdtype, value in run.records if rdtype == "TXT")
    assert text == f"[31m=cmd \N{REPLACEMENT CHARACTER} {'x' * 200}"
    assert run.names == {"hostile.test", "other.hostile.test"}


def test_what_was_not_answered_is_said_and_nothing_is_concluded_of_it(server: NameServer) -> None:
    run = Run(server, "half.test")
    assert run.findings == {}
    assert {"TXT: SERVFAIL", "TXT: REFUSED"} <= set(run.notes["half.test"].split("; "))


@pytest.mark.parametrize(
    ("label", "severity", "why"),
    [
        ("gone1", Severity.HIGH, "the whole domain never-registered.nowhere is to be had"),
        ("gone2", Severity.HIGH, "any customer of azurewebsites.net may take the name"),
        ("gone3", Severity.MEDIUM, "whoever is given the name by partner.test can answer for ours"),
        ("gone4", Severity.LOW, "a name of the same domain"),
    ],
)
def test_an_alias_of_what_does_not_exist(server: NameServer, label: str, severity: Severity, why: str) -> None:
    name = f"{label}.free.test"
    run = Run(server, name, records=False)
    finding = run.findings["dns/dangling-cname", name]
    assert finding.severity is severity
    assert why in finding.title
    assert finding.evidence.startswith(f"{name} CNAME ")


def test_an_alias_of_what_exists_is_no_weakness(server: NameServer) -> None:
    assert Run(server, "alias.example.test", target="example.test").findings == {}


def test_a_wildcard_that_leads_nowhere_is_one_finding(server: NameServer) -> None:
    run = Run(server, *(f"n{number}.lost.test" for number in range(9)), target="lost.test")
    assert [*run.findings] == [("dns/dangling-cname", "n0.lost.test")]


def test_names_of_a_wildcard_are_marked_and_a_few_lead_to_addresses(server: NameServer) -> None:
    names = [f"n{number:02}.pool.test" for number in range(20)]
    run = Run(server, *reversed(names), target="pool.test", samples=2)
    assert all(each.wildcard for each in run.all if isinstance(each, DomainName))
    assert run.names == set(names)
    assert [each.name for each in run.all if isinstance(each, Host)] == names[:2]
    outcomes = {each.subject: each.outcome for each in run.all if isinstance(each, Coverage)}
    assert outcomes == {name: Outcome.ANSWERED if name in names[:2] else Outcome.SAMPLED for name in names}
    assert run.notes[names[9]] == "a wildcard answers below pool.test: n00.pool.test stands for 20 names"


POLICIES = [
    (None, None, True, [("spf-missing", "medium"), ("dmarc-missing", "medium")]),
    (None, None, False, [("spf-missing", "low"), ("dmarc-missing", "low")]),
    (["v=spf1 -all"], ["v=DMARC1; p=reject"], False, []),
    (["V=SPF1 mx ~all"], ["v=DMARC1;p=quarantine"], True, []),
    (["v=spf1 redirect=_spf.provider.test"], ["v=DMARC1; p=reject"], True, []),
    (["v=spf1 +all"], ["v=DMARC1; p=reject"], True, [("spf-allows-all", "medium")]),
    (["v=spf1 mx ALL"], ["v=DMARC1; p=reject"], True, [("spf-allows-all", "medium")]),
    (["v=spf1 ?all"], ["v=DMARC1; p=reject"], True, [("spf-allows-all", "low")]),
    (["v=spf1 mx"], ["v=DMARC1; p=reject"], True, [("spf-allows-all", "low")]),
    (["v=spf1 -all", "v=spf1 mx -all"], ["v=DMARC1; p=reject"], True, [("spf-invalid", "low")]),
    (["v=spf1 ipv4:192.0.2.1 -all"], ["v=DMARC1; p=reject"], True, [("spf-invalid", "low")]),
    (["v=spf1 ip4:192.0.2.1/24 ip6:2001:db8::/32 exists:%{i}.x.test -all"], ["v=DMARC1; p=reject"], True, []),
    (["v=spf1 ip4:evil -all"], ["v=DMARC1; p=reject"], True, [("spf-invalid", "low")]),
    (
        ["v=spf1 " + "".join(f"include:i{n}.provider.test " for n in range(11)) + "-all"],
        ["v=DMARC1; p=reject"],
        True,
        [("spf-invalid", "low")],
    ),
    (["v=spf10 -all"], ["v=DMARC1; p=reject"], True, [("spf-missing", "medium")]),
    (["v=spf1 -all"], ["v=DMARC1; p=none; rua=mailto:x@provider.test"], True, [("dmarc-none", "low")]),
    (["v=spf1 -all"], ["v=DMARC1"], True, [("dmarc-none", "low")]),
    (["v=spf1 -all"], ["p=reject; v=DMARC1"], True, [("dmarc-missing", "medium")]),
    (["v=spf1 -all"], ["v=DMARC1; p=reject", "v=DMARC1; p=none"], True, [("dmarc-missing", "medium")]),
]


@pytest.mark.parametrize(("texts", "dmarc", "mail", "expected"), POLICIES)
def test_mail_policies_are_judged(
    texts: list[str] | None, dmarc: list[str] | None, *, mail: bool, expected: list[tuple[str, str]]
) -> None:
    lines = [f"mail.test SOA {SOA}", f"mail.test MX {'10 mx.mail.test.' if mail else '0 .'}"]
    lines += [f'mail.test TXT "{text[:200]}" "{text[200:]}"' for text in texts or ()]
    lines += [f'_dmarc.mail.test TXT "{text}"' for text in dmarc or ()]
    with NameServer("\n".join(lines)) as server:
        findings = Run(server, "mail.test").findings
    assert {(rule, subject): each.severity.value for (rule, subject), each in findings.items()} == {
        (f"dns/{rule}", "mail.test"): severity for rule, severity in expected
    }
    for finding in findings.values():
        assert finding.title
        assert finding.evidence
        assert finding.reference.startswith("https://www.rfc-editor.org/rfc/rfc7")
        if finding.cvss:
            assert (base_score(finding.cvss), severity_word(finding.cvss, finding.score or 0)) == (
                finding.score,
                finding.severity.value,
            )


def test_the_registered_domain_is_what_is_below_the_public_suffix() -> None:
    assert registered_domain("a.b.example.co.uk") == "example.co.uk"
    assert registered_domain("x.azurewebsites.net") == "azurewebsites.net"
    assert registered_domain("a.b.pulsar.test") == "pulsar.test"
    assert registered_domain("co.uk") is None


def test_the_estates_zone_gives_its_hidden_names_and_its_weaknesses() -> None:
    with NameServer(zone.text()) as server:
        run = Run(server, zone.ROOT, f"old-shop-3kd.{zone.ROOT}", f"cdn.{zone.ROOT}", zone.CORP, target=zone.ROOT)
    assert run.names >= {f"{label}.{zone.ROOT}" for label in zone.IN_RECORDS}
    assert f"ns.{zone.CORP}" in run.names
    assert {key: each.severity.value for key, each in run.findings.items()} == {
        ("dns/spf-allows-all", zone.ROOT): "medium",
        ("dns/dmarc-missing", zone.ROOT): "medium",
        ("dns/dangling-cname", f"old-shop-3kd.{zone.ROOT}"): "high",
    }


@pytest.mark.parametrize(
    ("name", "is_one"),
    [
        ("_sip._tcp.a.test", True),
        ("_kerberos._udp.b.a.test", True),
        ("_dmarc.a.test", False),
        ("_srv.a.test", False),
        ("sip._tcp.a.test", False),
        ("www.a.test", False),
    ],
)
def test_what_a_service_is_looked_up_by_is_told_from_hosts(name: str, is_one: bool) -> None:
    assert is_of_service(name) is is_one
