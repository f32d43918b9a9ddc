"""The tls module: what it asks sslyze, how it reads a report, and real services with something wrong with each."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest

from footprint.errors import InvalidTarget, OutputNotUnderstood, PulsarError, ToolCrashed, ToolTimedOut
from footprint.records import Coverage, DomainName, Endpoint, Finding, Outcome, Severity, subject_of
from footprint.settings import Settings
from tasks import tls_answers
from tasks.runner import Limits, run
from tasks.tls import TOOL, command, installed
from tasks.tls_answers import NAMES_KEPT, parse
from tasks.tls_certificates import matches
from tasks.tls_flaws import FLAWS, flaws
from tasks.tls_options import OPTIONS, TlsOptions, configure
from tasks.tls_report import Results, read
from tasks.tool import Ending, Output, Pace
from tests.estate.odd_listeners import Mail
from tests.estate.tls_hosts import Draft, TlsServer, make_certificates
from tests.tasks.cvss import base_score, severity_word
from tests.tasks.hostile import Listener, drip

HERE = "127.0.0.1"
NAME = "good.example.test"
REPORT = (Path(__file__).parent.parent / "fixtures/tls/good/stdout").read_text()
ALL = Pace(3, 3600, "top:100")


def _endpoint(port: int, name: str | None = NAME, service: str = "https") -> Endpoint:
    return Endpoint(HERE, port, name, service)


def _results(change: Callable[[dict[str, Any]], object] = lambda results: None) -> Results:
    """What sslyze answered of a good service, changed: flaws that no server here has are written into it."""
    results = json.loads(REPORT)["server_scan_results"][0]["scan_result"]
    change(results)
    return Results.model_validate(results)


# Asking


def test_a_target_tells_name_address_and_port_so_that_nothing_is_resolved() -> None:
    batch = [_endpoint(443), _endpoint(8443, None), Endpoint("::1", 443, NAME), Endpoint("::1", 443)]
    lines = command(batch, TlsOptions()).files["targets"].splitlines()
    assert lines == [
        f"{NAME}:443{{127.0.0.1}}", "127.0.0.1:8443{127.0.0.1}", f"{NAME}:443{{::1}}", "[::1]:443{::1}",
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["a{127.0.0.9}.example.test", "-oX.example.test", "a b.test", "a\nb.test", "[x].test"])
def test_a_name_that_sslyze_would_read_otherwise_is_refused(name: str) -> None:
    with pytest.raises(InvalidTarget) as error:
        command([_endpoint(443, name)], TlsOptions())
    assert name not in str(error.value)


@pytest.mark.parametrize(("service", "word"), [("smtp", "smtp"), ("submission", "smtp"), ("postgresql", "postgres")])
def test_services_that_begin_in_plain_text_are_asked_for_tls_in_their_own_way(service: str, word: str) -> None:
    argv = command([_endpoint(25, service=service)], TlsOptions()).argv
    assert argv[argv.index("--starttls") + 1] == word


def test_endpoints_share_a_process_where_address_and_way_into_tls_are_the_same() -> None:
    lane = TOOL.accepts[0].lane
    assert lane(_endpoint(443)) == lane(_endpoint(993, None, "imaps"))
    assert lane(_endpoint(443)) != lane(_endpoint(25, service="smtp")) != lane(_endpoint(143, service="imap"))
    assert lane(_endpoint(443)) != lane(replace(_endpoint(443), address="127.0.0.2"))


def test_it_takes_what_speaks_tls_and_nothing_else() -> None:
    assert TOOL.intake_of(_endpoint(443))
    assert TOOL.intake_of(_endpoint(25, service="smtp"))
    assert TOOL.intake_of(replace(_endpoint(8080, service="http"), tunnel="ssl"))
    assert not TOOL.intake_of(_endpoint(80, service="http"))


def test_a_gentle_scan_asks_less_and_opens_fewer_connections() -> None:
    gentle, usual = (command([_endpoint(443)], configure({}, replace(ALL, intensity=i))).argv for i in (0, 3))
    assert "--slow_connection" in gentle
    assert "--slow_connection" not in usual
    assert {"--robot", "--sslv2"} <= set(usual)
    assert not {"--robot", "--sslv2"} & set(gentle)


def test_only_the_installation_says_which_further_authorities_are_trusted(tmp_path: Path) -> None:
    assert configure({"authorities": "/etc/passwd"}, ALL).authorities == ""
    options = installed(configure({}, ALL), Settings(tls_authorities=tmp_path / "own.pem"), "6.3.1")
    assert f"--certinfo_ca_file={tmp_path / 'own.pem'}" in command([_endpoint(443)], options).argv


# Reading


@pytest.mark.parametrize(
    ("name", "wanted", "is_match"),
    [
        ("www.example.test", "WWW.example.test", True),
        ("*.example.test", "www.example.test", True),
        ("*.example.test", "a.b.example.test", False),
        ("*.example.test", "example.test", False),
        ("*.test", "example.test", False),
        ("w*.example.test", "www.example.test", False),
        ("evil-example.test", "example.test", False),
        ("192.0.2.1", "192.0.2.1", True),
        ("2001:db8::1", "2001:db8:0::1", True),
    ],
)
def test_a_wildcard_is_one_whole_label(name: str, wanted: str, is_match: bool) -> None:
    assert matches((name,), wanted) is is_match


def _report(now: datetime, expiry_days: int) -> set[str]:
    document = json.loads(REPORT)
    document["date_scans_completed"] = now.isoformat()
    place = document["server_scan_results"][0]["server_location"]
    output = Output(json.dumps(document), files={OPTIONS: json.dumps({"expiry_days": expiry_days})})
    found = parse(output, [_endpoint(place["port"])])
    return {each.rule for each in found if isinstance(each, Finding)} - {"tls/untrusted-chain"}


def test_validity_is_judged_by_the_time_of_the_scan() -> None:
    leaf = read(REPORT).server_scan_results[0].scan_result.certificate_info.result  # type: ignore[union-attr]
    certificate = leaf.certificate_deployments[0].received_certificate_chain[0]  # type: ignore[union-attr]
    until, since = certificate.not_valid_after, certificate.not_valid_before
    assert _report(until - timedelta(days=31), 30) == set()
    assert _report(until - timedelta(days=29), 30) == {"tls/near-expiry"}
    assert _report(until - timedelta(days=29), 10) == set()
    assert _report(until + timedelta(days=1), 30) == {"tls/expired"}
    assert _report(since - timedelta(days=1), 30) == {"tls/not-yet-valid"}


SUITE = {"cipher_suite": {"name": "", "is_anonymous": False, "key_size": 0, "openssl_name": ""}, "ephemeral_key": None}


def _offering(protocol: str, suite: str, *, is_anonymous: bool = False) -> Callable[[dict[str, Any]], None]:
    def change(results: dict[str, Any]) -> None:
        result = results[f"{protocol}_cipher_suites"]["result"]
        result["is_tls_version_supported"] = True
        accepted = {"cipher_suite": {**SUITE["cipher_suite"], "name": suite, "is_anonymous": is_anonymous}}  # type: ignore[dict-item]
        result["accepted_cipher_suites"].append(accepted)

    return change


def _answering(check: str, key: str, value: object) -> Callable[[dict[str, Any]], None]:
    return lambda results: results[check]["result"].update({key: value})


FLAWED = [
    ("ssl2", _offering("ssl_2_0", "SSL_CK_DES_192_EDE3_CBC_WITH_SHA")),
    ("ssl3", _offering("ssl_3_0", "TLS_RSA_WITH_AES_128_CBC_SHA")),
    ("tls1.0", _offering("tls_1_0", "TLS_RSA_WITH_AES_128_CBC_SHA")),
    ("tls1.1", _offering("tls_1_1", "TLS_RSA_WITH_AES_128_CBC_SHA")),
    ("null-cipher", _offering("tls_1_2", "TLS_RSA_WITH_NULL_SHA256")),
    ("anonymous-cipher", _offering("tls_1_2", "TLS_DH_anon_WITH_AES_128_CBC_SHA", is_anonymous=True)),
    ("export-cipher", _offering("tls_1_2", "TLS_RSA_EXPORT_WITH_RC4_40_MD5")),
    ("rc4-cipher", _offering("tls_1_2", "TLS_RSA_WITH_RC4_128_SHA")),
    ("64-bit-cipher", _offering("tls_1_2", "TLS_RSA_WITH_3DES_EDE_CBC_SHA")),
    ("heartbleed", _answering("heartbleed", "is_vulnerable_to_heartbleed", True)),
    ("ccs-injection", _answering("openssl_ccs_injection", "is_vulnerable_to_ccs_injection", True)),
    ("robot", _answering("robot", "robot_result", "VULNERABLE_WEAK_ORACLE")),
    ("compression", _answering("tls_compression", "supports_compression", True)),
    ("insecure-renegotiation", _answering("session_renegotiation", "supports_secure_renegotiation", False)),
    ("client-renegotiation", _answering("session_renegotiation", "is_vulnerable_to_client_renegotiation_dos", True)),
]


@pytest.mark.parametrize(("rule", "change"), FLAWED, ids=[rule for rule, _ in FLAWED])
def test_each_flaw_is_told_by_its_own_answer(rule: str, change: Callable[[dict[str, Any]], object]) -> None:
    found = {finding.rule: finding for finding in flaws(_results(change), "x")}
    assert f"tls/{rule}" in found
    assert found[f"tls/{rule}"].evidence
    # The export cipher is RC4 of 40 bits, and SSL 2.0's has blocks of 64.
    assert len(found) == (2 if rule in ("export-cipher", "ssl2") else 1)


def test_every_flaw_was_seen_and_a_good_service_has_none() -> None:
    assert {flaw.name for flaw in FLAWS} == {rule for rule, _ in FLAWED}
    assert list(flaws(_results(), "x")) == []


def test_an_inconsistent_answer_is_no_oracle() -> None:
    assert list(flaws(_results(_answering("robot", "robot_result", "UNKNOWN_INCONSISTENT_RESULTS")), "x")) == []


@pytest.mark.parametrize("flaw", [flaw for flaw in FLAWS if flaw.cvss], ids=lambda flaw: flaw.name)
def test_a_score_is_that_of_its_vector(flaw: Any) -> None:
    assert base_score(flaw.cvss) == flaw.score
    assert severity_word(flaw.cvss, flaw.score) == flaw.severity


def test_a_check_that_failed_makes_it_partial() -> None:
    document = json.loads(REPORT)
    server = document["server_scan_results"][0]
    server["scan_result"]["robot"] = {"status": "ERROR", "error_reason": "BUG_IN_SSLYZE", "error_trace": "x"}
    (coverage,) = [
        each
        for each in parse(Output(json.dumps(document)), [_endpoint(server["server_location"]["port"])])
        if isinstance(each, Coverage)
    ]
    assert coverage.outcome is Outcome.NOT_LOOKED_AT
    assert coverage.note == "11 of 12 checks; not finished: robot (bug in sslyze)"


@pytest.mark.parametrize(
    ("stdout", "error"),
    [
        ("", OutputNotUnderstood),
        ("  Command line error: No targets to scan.\n", ToolCrashed),
        ("{}", OutputNotUnderstood),
        ("{" * 100_000, PulsarError),
        ('{"server_scan_results": [{}], "date_scans_completed": "2026-01-01T00:00:00Z"}', OutputNotUnderstood),
    ],
)
def test_what_is_no_report_is_an_error(stdout: str, error: type[PulsarError]) -> None:
    with pytest.raises(error):
        read(stdout)


def test_an_address_that_held_things_up_is_covered_before_the_error() -> None:
    results = parse(Output("", ending=Ending.TIMED_OUT, returncode=124), [_endpoint(443)])
    assert next(results) == Coverage(f"{NAME}@127.0.0.1:443/tcp", Outcome.TIMED_OUT)
    with pytest.raises(ToolTimedOut):
        next(results)


def test_whoever_made_the_certificate_does_not_decide_how_many_names_are_taken() -> None:
    document = json.loads(REPORT)
    server = document["server_scan_results"][0]
    leaf = server["scan_result"]["certificate_info"]["result"]["certificate_deployments"][0]
    names = [f"n{index}.example.test" for index in range(NAMES_KEPT + 50)]
    leaf["received_certificate_chain"][0]["subject_alternative_name"]["dns_names"] = names
    found = list(parse(Output(json.dumps(document)), [_endpoint(server["server_location"]["port"])]))
    assert len([each for each in found if isinstance(each, DomainName)]) == NAMES_KEPT
    assert f"{NAMES_KEPT} of its certificate's {NAMES_KEPT + 50} names" in found[-1].note  # type: ignore[union-attr]


# Real services


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


def _look(batch: list[Endpoint], directory: Path, authority: Path | None = None, **options: Any) -> list[Any]:
    asked = configure(options, ALL)
    if authority:
        asked = installed(asked, Settings(tls_authorities=authority.with_suffix(".pem")), "")
    return list(parse(run(command(batch, asked), Limits(60, directory)), batch))


def _rules(found: list[Any]) -> set[tuple[str, str]]:
    return {(each.rule, each.subject) for each in found if isinstance(each, Finding)}


def test_a_good_service_has_its_names_told_and_nothing_against_it(
    certificates: dict[str, Path], tmp_path: Path
) -> None:
    with TlsServer(HERE, certificates["good"]) as server:
        batch = [_endpoint(server.port), _endpoint(server.port, "any.apps.example.test"), _endpoint(server.port, None)]
        found = _look(batch, tmp_path, certificates["authority"])
    assert _rules(found) == set()
    assert {each.name for each in found if isinstance(each, DomainName)} == {NAME, "apps.example.test"}
    assert [each.outcome for each in found if isinstance(each, Coverage)] == [Outcome.ANSWERED] * 3
    assert {NAME, "any.apps.example.test", HERE} <= {name for name in server.server_names if name}


def test_each_fault_of_a_certificate_is_found_at_its_own_endpoint(
    certificates: dict[str, Path], tmp_path: Path
) -> None:
    faults = {
        "expired": "expired", "not_yet_valid": "not-yet-valid", "near_expiry": "near-expiry",
        "mismatched": "name-mismatch", "self_signed": "self-signed",
    }  # fmt: skip
    servers = {name: TlsServer(HERE, certificates[name]) for name in faults}
    batch = [_endpoint(server.port) for server in servers.values()]
    for server in servers.values():
        server.__enter__()
    try:
        found = _look(batch, tmp_path, certificates["authority"], checks="certificate")
    finally:
        for server in servers.values():
            server.__exit__()
    assert _rules(found) == {
        (f"tls/{rule}", f"{NAME}@{HERE}:{servers[name].port}/tcp") for name, rule in faults.items()
    }


def test_an_authority_that_nobody_knows_is_said(certificates: dict[str, Path], tmp_path: Path) -> None:
    with TlsServer(HERE, certificates["good"]) as server:
        found = _look([_endpoint(server.port)], tmp_path, checks="certificate")
    assert {rule for rule, _ in _rules(found)} == {"tls/untrusted-chain"}


def test_old_protocols_weak_ciphers_and_a_short_key_are_found_of_the_service(
    certificates: dict[str, Path], tmp_path: Path
) -> None:
    weak = TlsServer(HERE, certificates["weak_key"], first=ssl.TLSVersion.TLSv1, ciphers="ALL:eNULL:@SECLEVEL=0")
    with weak as server:
        found = _look([_endpoint(server.port)], tmp_path, certificates["authority"])
    service = f"{HERE}:{server.port}/tcp"
    assert _rules(found) >= {
        (f"tls/{rule}", service) for rule in ("tls1.0", "tls1.1", "null-cipher", "anonymous-cipher")
    }
    assert ("tls/weak-key", f"{NAME}@{service}") in _rules(found)


@contextmanager
def _mail(certificate: Path) -> Iterator[int]:
    ready, over, ports = Event(), Event(), []

    async def serve() -> None:
        async with await asyncio.start_server(Mail("mail.example.test ESMTP", certificate), HERE, 0) as server:
            ports.append(server.sockets[0].getsockname()[1])
            ready.set()
            await asyncio.get_running_loop().run_in_executor(None, over.wait)

    thread = Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    try:
        assert ready.wait(10)
        yield ports[0]
    finally:
        over.set()
        thread.join()


def test_a_mail_server_is_asked_for_tls_within_smtp(certificates: dict[str, Path], tmp_path: Path) -> None:
    with _mail(certificates["expired"]) as port:
        found = _look([_endpoint(port, service="smtp")], tmp_path, checks="certificate")
    assert {rule for rule, _ in _rules(found)} == {"tls/expired"}


def test_a_host_that_never_ends_its_answer_is_given_up(tmp_path: Path) -> None:
    with Listener(drip) as listener:
        batch = [_endpoint(listener.port)]
        output = run(command(batch, configure({"host_timeout": 5}, ALL)), Limits(60, tmp_path))
    assert output.ending is Ending.TIMED_OUT
    with pytest.raises(ToolTimedOut):
        list(parse(output, batch))


def test_certificates_are_drawn_up_for_any_name_and_time(tmp_path: Path) -> None:
    then = datetime(2020, 1, 1, tzinfo=UTC)
    made = make_certificates(tmp_path, {"one": Draft(names=("one.test",))}, now=then)
    assert made["one"].with_suffix(".pem").read_bytes().startswith(b"-----BEGIN CERTIFICATE")
    assert Severity.NONE not in {flaw.severity for flaw in FLAWS}


def test_what_is_wrong_without_a_name_too_is_said_of_the_service_alone() -> None:
    bare, named = Endpoint("127.0.0.1", 443), Endpoint("127.0.0.1", 443, "a.test")
    expired = Finding("tls/expired", subject_of(bare), evidence="valid until 2020-01-01")
    again = replace(expired, subject=subject_of(named))
    other = replace(again, evidence="valid until 2021-01-01")
    foreign = Finding("tls/name-mismatch", subject_of(named), evidence="names: b.test")
    assert list(tls_answers._told_once([again, foreign, expired])) == [foreign, expired]
    told = list(tls_answers._told_once([other, expired]))
    assert [each.evidence for each in told if isinstance(each, Finding)] == [other.evidence, expired.evidence]
