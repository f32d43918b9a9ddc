"""What differs between two scans: nothing is gone that was not looked at, and every field is compared."""

from __future__ import annotations

import random
import time
from collections.abc import Iterable, Sequence
from dataclasses import fields, replace

import pytest

from footprint.drift import COMPARED, Change, Difference, Memory, Step, compare
from footprint.policy import ScanPolicy
from footprint.records import (
    Certificate,
    DnsRecord,
    DomainName,
    Finding,
    Host,
    Outcome,
    Record,
    Service,
    Severity,
    Technology,
    WebPage,
)
from footprint.snapshots import Look, Sighted, Snapshot
from footprint.store.packing import KINDS
from footprint.verdict import UnitStatus

MODULES = (
    "dns", "ct", "amass", "dns_brute", "zone_transfer", "reverse_dns", "nmap_discovery", "zmap", "nmap", "tls",
    "http_probe", "whatweb", "cve_match", "ripestat",
)  # fmt: skip
POLICY = ScanPolicy(name="all", modules={name: {} for name in MODULES}, ports="1-1024")
ADDRESS, NAME = "127.0.0.5", "www.example.test"
WEB, SITE = f"{ADDRESS}:443/tcp", f"{NAME}@{ADDRESS}:443/tcp"
SERVICE = Service(ADDRESS, 443, name="https", product="nginx", version="1.22.1")

Unit = tuple[str, str, tuple[Record, ...], Outcome]


def unit(module: str, subject: str, *found: Record, outcome: Outcome = Outcome.ANSWERED) -> Unit:
    """One unit: a module, its target, what it found there, what became of it."""
    return module, subject, found, outcome


def scan(*units: Unit, policy: ScanPolicy = POLICY, note: str = "", status: UnitStatus = UnitStatus.DONE) -> Snapshot:
    """A scan that was made of these units."""
    things: dict[Record, list[Sighted]] = {}
    looks = []
    for number, (module, subject, found, outcome) in enumerate(units):
        looks.append(Look(module, number, subject, outcome, note, status))
        for record in found:
            things.setdefault(record, []).append(Sighted(module, number, record))
    return Snapshot(policy, things, looks)


def told(differences: Iterable[Difference]) -> list[tuple[Change, Record]]:
    return [(each.change, each.record) for each in differences]


@pytest.mark.parametrize(
    ("before", "after", "is_change"),
    [
        ("Linux 5.3 - 5.4 (96 %)", "Linux 5.3 - 5.4 (95 %)", False),
        ("Linux 5.3 - 5.4 (96 %)", "Linux 3.2 or Linux 5.3 - 5.4 or Linux 3.1 (95 %)", False),
        ("Linux 2.6.32 or FreeBSD 11 (92 %)", "FreeBSD 12 (92 %)", False),
        ("Linux 5.3 - 5.4 (96 %)", "FreeBSD 12 (92 %)", True),
        (None, "Linux 5.3 - 5.4 (96 %)", False),
    ],
)
def test_a_system_is_guessed_anew_with_every_look(before: str | None, after: str, is_change: bool) -> None:
    earlier, later = (scan(unit("nmap", ADDRESS, Host(ADDRESS, os=guess))) for guess in (before, after))
    steps = [each.steps for each in compare(earlier, later)]
    assert steps == ([(Step("os", before, after),)] if is_change else [])


NETWORK = "127.0.0.0/28"
CASES: dict[str, tuple[Record, Sequence[tuple[str, str]]]] = {
    "a name that was looked up": (DomainName(NAME), [("dns", NAME)]),
    "a name that was guessed": (DomainName(NAME), [("dns_brute", "example.test")]),
    "an address that a name led to": (Host(ADDRESS, NAME), [("dns", NAME)]),
    "an address that was the target": (Host(ADDRESS), [("nmap", ADDRESS)]),
    "an address of a network": (Host(ADDRESS), [("nmap_discovery", NETWORK)]),
    "an address of a swept network": (Host(ADDRESS), [("zmap", NETWORK)]),
    "a service of a host": (SERVICE, [("nmap", ADDRESS)]),
    "a service of a swept network": (SERVICE, [("zmap", NETWORK)]),
    "a record": (DnsRecord(NAME, "TXT", "v=spf1 -all"), [("dns", NAME)]),
    "a pointer": (DnsRecord("5.0.0.127.in-addr.arpa", "PTR", NAME), [("reverse_dns", ADDRESS)]),
    "a pointer of a network": (DnsRecord("5.0.0.127.in-addr.arpa", "PTR", NAME), [("reverse_dns", NETWORK)]),
    "a technology": (Technology(SITE, "PHP", version="8.2"), [("whatweb", SITE)]),
    "a certificate": (Certificate(SITE, "ab" * 32), [("tls", SITE)]),
    "a page": (WebPage(SITE, f"https://{NAME}/", status=200), [("http_probe", SITE)]),
    "a finding of a name": (Finding("dns/no-spf", NAME), [("dns", NAME)]),
    "a finding of a site": (Finding("http_probe/git", SITE), [("http_probe", SITE)]),
    "a flaw of a service by its names": (Finding("tls/heartbleed", WEB), [("tls", WEB), ("tls", SITE)]),
    "a flaw of a technology": (Finding("cve_match/CVE-1", WEB), [("cve_match", f"{WEB} nginx")]),
}
EVERY = [(name, outcome) for name in CASES for outcome in Outcome]


def _pair(name: str, outcome: Outcome, status: UnitStatus = UnitStatus.DONE) -> tuple[Snapshot, Snapshot]:
    record, looks = CASES[name]
    before = scan(*(unit(module, subject, record) for module, subject in looks))
    return before, scan(*(unit(*look, outcome=outcome) for look in looks), status=status)


@pytest.mark.parametrize(("name", "outcome"), EVERY)
def test_a_thing_is_gone_only_where_it_was_looked_at_to_the_end(name: str, outcome: Outcome) -> None:
    (found,) = compare(*_pair(name, outcome))
    proves = {Outcome.SILENT} if name == "a name that was looked up" else {Outcome.ANSWERED, Outcome.SILENT}
    assert found.change is (Change.GONE if outcome in proves else Change.NOT_LOOKED_AT), found.reason
    assert found.record == CASES[name][0]
    assert found.reason


@pytest.mark.parametrize("status", [UnitStatus.FAILED, UnitStatus.SKIPPED, UnitStatus.PLANNED, UnitStatus.RUNNING])
@pytest.mark.parametrize(("name", "outcome"), EVERY)
def test_a_unit_that_failed_removes_nothing(name: str, outcome: Outcome, status: UnitStatus) -> None:
    assert [found.change for found in compare(*_pair(name, outcome, status))] == [Change.NOT_LOOKED_AT]


@pytest.mark.parametrize("name", CASES)
def test_what_nobody_was_asked_about_is_not_gone(name: str) -> None:
    before, _ = _pair(name, Outcome.ANSWERED)
    assert [found.change for found in compare(before, scan())] == [Change.NOT_LOOKED_AT]
    elsewhere = scan(*(unit(module, "elsewhere.test") for module, _ in CASES[name][1]))
    assert [found.change for found in compare(before, elsewhere)] == [Change.NOT_LOOKED_AT]


@pytest.mark.parametrize("missing", [0, 1])
def test_a_flaw_is_not_gone_while_one_of_its_targets_was_not_looked_at(missing: int) -> None:
    before, after = _pair("a flaw of a service by its names", Outcome.ANSWERED)
    partly = Snapshot(POLICY, {}, [look for place, look in enumerate(after.looks) if place != missing])
    assert [found.change for found in compare(before, partly)] == [Change.NOT_LOOKED_AT]


@pytest.mark.parametrize(
    "name", ["a technology", "a certificate", "a page", "a finding of a site", "a record", "a finding of a name"]
)
def test_other_options_of_a_module_show_nothing(name: str) -> None:
    before, after = _pair(name, Outcome.ANSWERED)
    module = CASES[name][1][0][0]
    for policy in (
        POLICY.model_copy(update={"modules": {**POLICY.modules, module: {"timeout": 3}}}),
        POLICY.model_copy(update={"modules": {"nmap": {}}}),
        POLICY.model_copy(update={"intensity": 1}),
    ):
        (found,) = compare(before, replace(after, policy=policy))
        assert (found.change, module in found.reason) == (Change.NOT_LOOKED_AT, True)


PORTS = [
    ("1-1024", "1-1024", True),
    ("1-1024", "all", True),
    ("1-1024", "22,400-500", True),
    ("1-1024", "22,80", False),
    ("1-1024", "top:1000", False),
    ("all", "top:65535", False),
    ("top:100", "top:100", True),
    ("top:100", "top:1000", True),
    ("top:1000", "top:100", False),
]


@pytest.mark.parametrize(("then", "now", "is_gone"), PORTS)
def test_a_service_is_not_gone_where_its_port_was_not_asked_for(then: str, now: str, is_gone: bool) -> None:
    def with_ports(ports: str) -> ScanPolicy:
        return POLICY.model_copy(update={"ports": ports})

    before = scan(unit("nmap", ADDRESS, SERVICE), policy=with_ports(then))
    (found,) = compare(before, scan(unit("nmap", ADDRESS), policy=with_ports(now)))
    assert found.change is (Change.GONE if is_gone else Change.NOT_LOOKED_AT)
    assert is_gone or now in found.reason
    of_module = POLICY.model_copy(update={"modules": {"nmap": {"ports": now}}, "ports": "all"})
    (found,) = compare(before, scan(unit("nmap", ADDRESS), policy=of_module))
    assert found.change is (Change.GONE if is_gone else Change.NOT_LOOKED_AT)


def test_a_port_that_only_another_module_had_swept_is_not_among_the_most_frequent() -> None:
    policy = POLICY.model_copy(update={"ports": "top:100"})
    zmap, nmap = unit("zmap", NETWORK, SERVICE), unit("nmap", WEB, SERVICE)
    after = scan(unit("nmap", ADDRESS), policy=policy)
    assert told(compare(scan(zmap, nmap, policy=policy), after)) == [(Change.NOT_LOOKED_AT, SERVICE)]


@pytest.mark.parametrize("outcome", Outcome)
def test_a_sweep_that_was_not_through_outweighs_another_that_was(outcome: Outcome) -> None:
    before = scan(unit("zmap", NETWORK, SERVICE), unit("nmap", ADDRESS, SERVICE))
    after = scan(unit("zmap", NETWORK), unit("nmap", ADDRESS, outcome=outcome))
    is_sound = outcome in (Outcome.ANSWERED, Outcome.SILENT)
    assert [found.change for found in compare(before, after)] == [Change.GONE if is_sound else Change.NOT_LOOKED_AT]


@pytest.mark.parametrize("change", [{"ports": "80"}, {"engine": "masscan"}])
def test_a_sweep_with_another_plan_shows_nothing(change: dict[str, str]) -> None:
    policy = POLICY.model_copy(update={"modules": {**POLICY.modules, "zmap": change}})
    for record in (SERVICE, Host(ADDRESS)):
        before = scan(unit("zmap", NETWORK, record))
        assert told(compare(before, scan(unit("zmap", NETWORK), policy=policy))) == [(Change.NOT_LOOKED_AT, record)]


def test_a_udp_service_that_is_silent_is_not_gone_but_goes_with_its_host() -> None:
    snmp = Service(ADDRESS, 161, "udp")
    seen = unit("nmap_discovery", NETWORK, Host(ADDRESS)), unit("nmap_udp", ADDRESS, snmp)
    alive = scan(seen[0], unit("nmap_udp", ADDRESS), unit("nmap", ADDRESS))
    assert told(compare(scan(*seen), alive)) == [(Change.NOT_LOOKED_AT, snmp)]
    assert {each.change for each in compare(scan(*seen), scan(unit("nmap_discovery", NETWORK)))} == {Change.GONE}


@pytest.mark.parametrize("hole", [ADDRESS, "127.0.0.4/30"])
def test_what_is_excluded_by_now_inside_of_a_swept_network_is_not_gone(hole: str) -> None:
    for module in ("nmap_discovery", "zmap"):
        for record in (Host(ADDRESS), SERVICE):
            before = scan(unit(module, NETWORK, record))
            after = replace(scan(unit(module, NETWORK)), left_out=frozenset({hole, NAME}))
            assert told(compare(before, after)) == [(Change.NOT_LOOKED_AT, record)]


def test_a_port_that_the_platform_took_itself_is_not_gone() -> None:
    before = scan(unit("nmap", ADDRESS, SERVICE))
    after = replace(scan(unit("nmap", ADDRESS)), own_ports={ADDRESS: frozenset({443})})
    assert told(compare(before, after)) == [(Change.NOT_LOOKED_AT, SERVICE)]


def test_a_name_that_is_listed_but_does_not_exist_is_gone_and_one_that_never_did_is_nothing() -> None:
    listed = unit("ct", "example.test", DomainName(NAME))
    exists, missing = unit("dns", NAME, DomainName(NAME)), unit("dns", NAME, outcome=Outcome.SILENT)
    assert told(compare(scan(listed, exists), scan(listed, missing))) == [(Change.GONE, DomainName(NAME))]
    assert compare(scan(listed, missing), scan(listed, missing)) == ()
    assert told(compare(scan(listed, missing), scan(listed, exists))) == [(Change.NEW, DomainName(NAME))]
    late = unit("dns", NAME, outcome=Outcome.TIMED_OUT)
    assert compare(scan(listed, exists), scan(listed, late)) == ()


@pytest.mark.parametrize("module", ["ct", "amass", "zone_transfer", "reverse_dns"])
def test_a_source_that_no_longer_lists_a_name_says_nothing(module: str) -> None:
    before = scan(unit(module, "example.test", DomainName(NAME)))
    assert told(compare(before, scan(unit(module, "example.test")))) == [(Change.NOT_LOOKED_AT, DomainName(NAME))]


def test_an_address_stays_until_every_name_that_led_to_it_leads_elsewhere() -> None:
    other = "mail.example.test"
    before = scan(unit("dns", NAME, Host(ADDRESS, NAME)), unit("dns", other, Host(ADDRESS, other)))
    elsewhere = unit("dns", NAME, Host("127.0.0.9", NAME))
    for outcome in Outcome:
        differences = compare(before, scan(elsewhere, unit("dns", other, outcome=outcome)))
        found = {each.record: each.change for each in differences}
        is_gone = outcome in (Outcome.ANSWERED, Outcome.SILENT)
        assert found == {
            Host(ADDRESS): Change.GONE if is_gone else Change.NOT_LOOKED_AT,
            Host("127.0.0.9"): Change.NEW,
        }


def test_the_names_of_an_address_change_only_as_far_as_they_were_looked_up() -> None:
    other = "mail.example.test"
    before = scan(unit("dns", NAME, Host(ADDRESS, NAME)), unit("dns", other, Host(ADDRESS, other)))
    here = unit("dns", NAME, Host(ADDRESS, NAME))
    assert compare(before, scan(here, unit("dns", other, outcome=Outcome.TIMED_OUT))) == ()
    new, found = compare(before, scan(here, unit("dns", other, Host("127.0.0.9", other))))
    assert new.change is Change.NEW
    assert found.steps == (Step("names", (other, NAME), (NAME,)),)


@pytest.mark.parametrize(
    ("note", "address", "is_gone"),
    [
        ("AAAA: no answer", ADDRESS, True),
        ("A: SERVFAIL", ADDRESS, False),
        ("AAAA: no answer", "::5", False),
        ("MX, TXT: no answer", ADDRESS, True),
    ],
)
def test_half_an_answer_takes_no_address_away(note: str, address: str, is_gone: bool) -> None:
    before = scan(unit("dns", NAME, Host(address, NAME)))
    (found,) = compare(before, scan(unit("dns", NAME), note=note))
    assert found.change is (Change.GONE if is_gone else Change.NOT_LOOKED_AT)


@pytest.mark.parametrize(
    ("rdtype", "note", "is_gone"),
    [
        ("TXT", "has no address", True),
        ("TXT", "has no address; MX, TXT: no answer", False),
        ("TXT", "CAA: SERVFAIL", True),
        ("MX", "SOA: no answer", False),
        ("TXT", "only 100 of its 130 TXT records were kept", False),
    ],
)
def test_half_an_answer_takes_no_record_away(rdtype: str, note: str, is_gone: bool) -> None:
    before = scan(unit("dns", NAME, DnsRecord(NAME, rdtype, "said")))
    (found,) = compare(before, scan(unit("dns", NAME), note=note))
    assert found.change is (Change.GONE if is_gone else Change.NOT_LOOKED_AT)


def test_what_a_service_told_goes_with_it_and_with_the_name_that_led_there() -> None:
    things = (
        Technology(SITE, "PHP"),
        WebPage(SITE, "https://x/"),
        Certificate(SITE, "ab"),
        Finding("http_probe/git", SITE),
    )
    around = [unit("dns", NAME, DomainName(NAME), Host(ADDRESS, NAME)), unit("nmap", ADDRESS, SERVICE)]
    before = scan(*around, unit("whatweb", SITE, *things))
    closed = compare(before, scan(around[0], unit("nmap", ADDRESS)))
    assert {each.change for each in closed} == {Change.GONE}
    assert len(closed) == 5
    moved = compare(
        before,
        scan(
            unit("dns", NAME, DomainName(NAME), Host("127.0.0.9", NAME)),
            around[1],
            unit("dns", "b", Host(ADDRESS, "b")),
        ),
    )
    assert {each.record.kind for each in moved if each.change is Change.GONE} == {each.kind for each in things}
    late = compare(before, scan(around[0], unit("nmap", ADDRESS, outcome=Outcome.TIMED_OUT)))
    assert {each.change for each in late} == {Change.NOT_LOOKED_AT}


def test_services_go_with_a_host_that_was_probed_and_not_with_one_that_lost_its_name() -> None:
    swept = scan(unit("nmap_discovery", NETWORK, Host(ADDRESS)), unit("nmap", ADDRESS, SERVICE))
    assert {each.change for each in compare(swept, scan(unit("nmap_discovery", NETWORK)))} == {Change.GONE}
    named = scan(unit("dns", NAME, DomainName(NAME), Host(ADDRESS, NAME)), unit("nmap", ADDRESS, SERVICE))
    unnamed = compare(named, scan(unit("dns", NAME, outcome=Outcome.SILENT)))
    assert [each.change for each in unnamed] == [Change.GONE, Change.GONE, Change.NOT_LOOKED_AT]


SAMPLES: dict[str, Record] = {
    "domain": DomainName(NAME, "a.example.test"),
    "host": Host(ADDRESS, NAME, None, "Linux 5", 64500, "127.0.0.0/8", "Holder", "DE"),
    "service": Service(ADDRESS, 443, "tcp", "https", "nginx", "1.22.1", "Debian", "ssl", ("cpe:/a:nginx:nginx",)),
    "technology": Technology(SITE, "PHP", "8.2", "debug"),
    "certificate": Certificate(SITE, "ab", "CN=a", "CN=b", (NAME,), "2026-01-01", "2027-01-01", "01", "RSA 2048", "x"),
    "web_page": WebPage(SITE, "https://x/", 200, "Welcome", "nginx", ("https://x/a",), 7, "digest"),
    "finding": Finding("http_probe/git", SITE, "Git", Severity.LOW, 0.5, "e", "r", "CVSS:3.1/AV:N", 7.5, "http_probe"),
}  # fmt: skip
UNTOLD = {
    "host": {"via"},
    "certificate": {"serial"},
    "web_page": {"body"},
    "finding": {"evidence", "reference", "module"},
}
"""What is described and on purpose not compared."""
OF_KIND = {"domain": ("dns", NAME), "host": ("dns", NAME), "service": ("nmap", ADDRESS)}
OTHERWISE = {("host", "names"), ("certificate", "fingerprint")}
"""What is no field of a single record."""
EVERY_FIELD = [
    (kind, field)
    for kind, names in COMPARED.items()
    for field in names
    if kind in SAMPLES and (kind, field) not in OTHERWISE
]


def test_every_field_of_every_kind_is_compared_or_left_out_on_purpose() -> None:
    for kind, names in COMPARED.items():
        described = {field.name for field in fields(KINDS[kind]) if not field.compare} - UNTOLD.get(kind, set())
        renamed = {"names" if kind == "host" and name == "name" else name for name in described}
        assert set(names) - {"fingerprint"} == renamed, kind


def _other(value: object) -> object:
    if isinstance(value, bool):
        return not value
    if isinstance(value, Severity):
        return Severity.CRITICAL
    return (
        (*value, "more")
        if isinstance(value, tuple)
        else value + 1
        if isinstance(value, int | float)
        else f"another {value}"
    )


@pytest.mark.parametrize(("kind", "field"), EVERY_FIELD)
def test_a_field_that_changed_is_told_from_what_to_what(kind: str, field: str) -> None:
    record = SAMPLES[kind]
    value = "Windows 10 (90 %)" if field == "os" else _other(getattr(record, field))
    changed = replace(record, **{field: value})  # type: ignore[arg-type]
    module, subject = OF_KIND.get(kind, ("whatweb", SITE))
    (found,) = compare(scan(unit(module, subject, record)), scan(unit(module, subject, changed)))
    assert found.change is Change.CHANGED
    assert found.steps == (Step(field, getattr(record, field), getattr(changed, field)),)


@pytest.mark.parametrize("guess", ["Linux 5.3 - 5.4 or Linux 3.1 (95 %)", "FreeBSD 13 or Linux 5 (88 %)", None])
def test_a_guess_at_an_operating_system_that_wavers_is_no_change(guess: str | None) -> None:
    host = SAMPLES["host"]
    other = replace(host, os=guess)  # type: ignore[arg-type]
    for one, another in ((host, other), (other, host)):
        assert compare(scan(unit("nmap", ADDRESS, one)), scan(unit("nmap", ADDRESS, another))) == ()


def test_an_address_goes_with_the_name_that_led_to_it_where_the_name_is_only_known_by_guessing() -> None:
    guessed, led = unit("dns_brute", "example.test", DomainName(NAME)), unit("dns", NAME, Host(ADDRESS, NAME))
    (name, address) = compare(scan(guessed, led), scan(unit("dns_brute", "example.test")))
    assert (name.change, address.change, address.reason) == (Change.GONE, Change.GONE, f"{NAME} is gone")
    failed = compare(scan(guessed, led), scan(unit("dns_brute", "example.test", outcome=Outcome.NOT_LOOKED_AT)))
    assert [each.change for each in failed] == [Change.NOT_LOOKED_AT] * 2


@pytest.mark.parametrize("outcome", Outcome)
@pytest.mark.parametrize("field", ["product", "version", "cpes", "tunnel"])
def test_what_is_not_said_any_more_changed_only_where_it_was_asked_again(field: str, outcome: Outcome) -> None:
    record = SAMPLES["service"]
    silent = replace(record, **{field: () if field == "cpes" else None})  # type: ignore[arg-type]
    swept = unit("nmap", ADDRESS, Service(ADDRESS, 443))
    before = scan(swept, unit("nmap", WEB, record))
    found = compare(before, scan(swept, unit("nmap", WEB, silent, outcome=outcome)))
    is_sound = outcome in (Outcome.ANSWERED, Outcome.SILENT)
    assert [each.steps for each in found] == (
        [(Step(field, getattr(record, field), getattr(silent, field)),)] if is_sound else []
    )
    assert compare(before, scan(swept)) == ()


def test_a_renewed_certificate_changed_and_two_are_not_mixed_up() -> None:
    old = SAMPLES["certificate"]
    new = replace(old, fingerprint="cd", not_after="2028-01-01")  # type: ignore[arg-type]
    (found,) = compare(scan(unit("tls", SITE, old)), scan(unit("tls", SITE, new)))
    assert (found.change, found.record) == (Change.CHANGED, new)
    assert found.steps == (Step("fingerprint", "ab", "cd"), Step("not_after", "2027-01-01", "2028-01-01"))
    ecdsa = replace(old, fingerprint="ef", key="ECDSA 256")  # type: ignore[arg-type]
    both = compare(scan(unit("tls", SITE, old)), scan(unit("tls", SITE, ecdsa)))
    assert [each.change for each in both] == [Change.NEW, Change.GONE]
    late = compare(scan(unit("tls", SITE, old)), scan(unit("tls", SITE, new, outcome=Outcome.TIMED_OUT)))
    assert [each.change for each in late] == [Change.NEW, Change.NOT_LOOKED_AT]


def test_what_was_gone_is_back_and_what_was_not_looked_at_is_not_new() -> None:
    then = [Sighted("nmap", 7, replace(SERVICE, version="1.18.0"))]
    before, after = scan(unit("nmap", ADDRESS)), scan(unit("nmap", ADDRESS, SERVICE))
    step = (Step("version", "1.18.0", "1.22.1"),)
    assert [each.change for each in compare(before, after)] == [Change.NEW]
    (back,) = compare(before, after, {SERVICE: Memory(True, then)})
    assert (back.change, back.steps) == (Change.BACK, step)
    (known,) = compare(before, after, {SERVICE: Memory(False, then)})
    assert (known.change, known.steps) == (Change.CHANGED, step)
    assert compare(before, after, {SERVICE: Memory(False, [Sighted("nmap", 7, SERVICE)])}) == ()


def _random_scan(chance: random.Random) -> Snapshot:
    units = []
    for name, (record, looks) in CASES.items():
        for module, subject in looks:
            seen = (record,) if chance.random() < 0.6 else ()
            units.append(unit(module, subject, *seen, outcome=chance.choice(list(Outcome))))
        assert name
    return scan(*units)


def test_a_scan_compared_with_itself_has_no_differences() -> None:
    chance = random.Random(6)
    for _ in range(300):
        one = _random_scan(chance)
        assert compare(one, one) == ()
        assert compare(one, replace(one, things=dict(reversed(one.things.items())))) == ()


def test_nothing_is_gone_after_a_scan_in_which_every_tool_failed() -> None:
    chance = random.Random(7)
    for _ in range(300):
        before = _random_scan(chance)
        after = replace(before, things={}, looks=[replace(look, status=UnitStatus.FAILED) for look in before.looks])
        found = compare(before, after)
        assert {each.change for each in found} <= {Change.NOT_LOOKED_AT}


def test_what_is_gone_one_way_is_new_the_other_way() -> None:
    chance = random.Random(8)
    for _ in range(200):
        one, other = _random_scan(chance), _random_scan(chance)
        gone = {each.record for each in compare(one, other) if each.change is Change.GONE}
        new = {each.record for each in compare(other, one) if each.change is Change.NEW}
        assert gone <= new


def test_five_thousand_services_are_compared_in_two_seconds() -> None:
    hosts = [f"127.{first}.{second}.1" for first in range(10) for second in range(50)]

    def estate(version: str, ports: range) -> Snapshot:
        swept = [unit("nmap", host, *(Service(host, port) for port in ports)) for host in hosts]
        named = [
            unit("nmap", f"{host}:{port}/tcp", Service(host, port, "tcp", "http", "nginx", version))
            for host in hosts
            for port in ports
        ]
        return scan(*swept, *named)

    before, after = estate("1", range(1, 11)), estate("2", range(2, 12))
    began = time.perf_counter()
    found = compare(before, after)
    assert time.perf_counter() - began < 2
    counts = [sum(each.change is change for each in found) for change in (Change.NEW, Change.CHANGED, Change.GONE)]
    assert counts == [500, 4500, 500]
