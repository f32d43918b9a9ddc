"""What is wrong with an answer, told by the answer: each weakness by itself, and good answers without any."""

from __future__ import annotations

import httpx
import pytest

from footprint.records import Severity
from tasks.visit import FirstPage, Reply
from tasks.web_weaknesses import MOST_COOKIES, RULES, SHOWN, weaknesses
from tests.tasks.cvss import base_score, severity_word

HTML = {"content-type": "text/html"}
GOOD = {
    **HTML,
    "server": "nginx",
    "strict-transport-security": "max-age=63072000; includeSubDomains",
    "content-security-policy": "default-src 'self'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}
ALL_HEADERS = (
    "Content-Security-Policy, X-Content-Type-Options, X-Frame-Options, Referrer-Policy, Strict-Transport-Security"
)


def reply(
    headers: dict[str, str] | list[tuple[str, str]], status: int = 200, body: bytes = b"<title>x</title>"
) -> Reply:
    return Reply(httpx.URL("https://www.example.test/"), status, httpx.Headers(headers), body)


def found(*replies: Reply, secured: bool = True, listing: bool = True) -> dict[str, str]:
    """The evidence of each finding, by its check."""
    findings = list(weaknesses("subject", FirstPage(replies), secured=secured, listing=listing))
    assert {finding.subject for finding in findings} <= {"subject"}
    assert len({finding.rule for finding in findings}) == len(findings)
    return {finding.rule.removeprefix("http_probe/"): finding.evidence for finding in findings}


def test_a_careful_answer_has_no_weakness() -> None:
    assert found(reply(GOOD)) == {}


@pytest.mark.parametrize("header", [name for name in GOOD if name not in ("content-type", "server")])
def test_each_missing_header_is_named(header: str) -> None:
    evidence = found(reply({name: value for name, value in GOOD.items() if name != header}))["security-headers"]
    also = ["x-frame-options"] if header == "content-security-policy" else []
    assert evidence.lower().split(", ") == [header, *also]


def test_all_that_is_missing_is_one_finding() -> None:
    assert found(reply(HTML)) == {"security-headers": ALL_HEADERS}


def test_without_tls_no_strict_transport_security_is_asked_for() -> None:
    assert "Strict" not in found(reply(HTML), secured=False)["security-headers"]


@pytest.mark.parametrize(
    ("header", "value", "missing"),
    [
        ("strict-transport-security", "max-age=0", "Strict-Transport-Security"),
        ("strict-transport-security", "includeSubDomains", "Strict-Transport-Security"),
        ("x-content-type-options", "sniff", "X-Content-Type-Options"),
        ("content-security-policy", "default-src 'self'", "X-Frame-Options"),
    ],
)
def test_a_header_that_protects_nobody_is_missing(header: str, value: str, missing: str) -> None:
    assert found(reply({**GOOD, header: value})) == {"security-headers": missing}


def test_a_policy_may_stand_in_the_page() -> None:
    page = b"<meta http-equiv='Content-Security-Policy' content=\"default-src 'self'\">"
    assert "Content-Security" not in found(reply(HTML, body=page))["security-headers"]


@pytest.mark.parametrize(
    "answer",
    [
        reply({"content-type": "application/json"}, body=b"{}"),
        reply(HTML, 404),
        reply(HTML, 500),
        reply({**HTML, "location": "https://www.example.test/x"}, 301),
    ],
)
def test_headers_are_asked_of_pages_only(answer: Reply) -> None:
    assert found(answer) == {}


LIST = b'<title>Index of /</title><a href="a">a</a>'


def test_a_list_of_files_is_found_unless_nobody_looks() -> None:
    assert "nginx" in found(reply(GOOD, body=LIST))["directory-listing"]
    assert found(reply(GOOD, body=LIST), listing=False) == {}
    assert found(reply(GOOD, 403, body=LIST)) == {}


@pytest.mark.parametrize(
    ("cookie", "evidence"),
    [
        ("id=1", "id: no Secure, no HttpOnly"),
        ("id=1; Secure", "id: no HttpOnly"),
        ("id=1; httponly; Path=/", "id: no Secure"),
        ("id=1; SECURE; HttpOnly; SameSite=Lax", None),
        ("XSRF-TOKEN=1; Secure", None),
        ("id=; Max-Age=0", None),
        ("id=gone; Max-Age=0", None),
        ("", None),
        (";;;=;", None),
    ],
)
def test_cookies_are_named_with_the_flags_they_lack(cookie: str, evidence: str | None) -> None:
    assert found(reply([*GOOD.items(), ("set-cookie", cookie)])).get("cookie-flags") == evidence


def test_over_plain_text_no_cookie_could_be_secure() -> None:
    answer = reply([*GOOD.items(), ("set-cookie", "id=1"), ("set-cookie", "other=2; HttpOnly")])
    assert found(answer, secured=False)["cookie-flags"] == "id: no HttpOnly"


def test_a_cookie_of_a_redirect_counts_and_its_value_is_not_told() -> None:
    moved = reply([("location", "/in"), ("set-cookie", "session=s3cret")], 302, b"")
    evidence = found(moved, reply(GOOD))["cookie-flags"]
    assert evidence == "session: no Secure, no HttpOnly"


def test_cookies_without_end_are_bounded() -> None:
    many = [("set-cookie", f"{'n' * 500}{number}=1") for number in range(1000)]
    evidence = found(reply([*GOOD.items(), ("set-cookie", "a=1"), *many]))["cookie-flags"]
    assert len(evidence) <= 1000
    many = [("set-cookie", f"n{number}=1") for number in range(1000)]
    assert found(reply([*GOOD.items(), *many]))["cookie-flags"].endswith(f"; and {MOST_COOKIES - SHOWN} more")


@pytest.mark.parametrize(
    ("origin", "credentials", "check"),
    [
        ("null", "true", "cors-null-credentials"),
        ("*", "true", "cors-any-credentials"),
        ("*", "false", None),
        ("https://app.example.test", "true", None),
    ],
)
def test_answers_that_any_site_may_read_are_found(origin: str, credentials: str, check: str | None) -> None:
    headers = {"access-control-allow-origin": origin, "access-control-allow-credentials": credentials}
    assert list(found(reply({**GOOD, **headers}))) == ([check] if check else [])


@pytest.mark.parametrize(
    ("header", "value", "evidence"),
    [
        ("server", "nginx/1.22.1", "Server: nginx/1.22.1"),
        ("server", "Apache/2.4.49 (Unix)", "Server: Apache/2.4.49 (Unix)"),
        ("server", "cloudflare", None),
        ("server", "h2o", None),
        ("x-powered-by", "PHP/8.1.2", "X-Powered-By: PHP/8.1.2"),
        ("x-aspnet-version", "4.0.30319", "X-AspNet-Version: 4.0.30319"),
        ("server", "a/1.0 \x1b[31m", "Server: a/1.0 [31m"),
    ],
)
def test_a_version_that_is_told_is_found(header: str, value: str, evidence: str | None) -> None:
    assert found(reply({**GOOD, header: value})).get("server-version") == evidence


@pytest.mark.parametrize(
    ("status", "asked", "secured", "is_found"),
    [
        (401, 'Basic realm="in"', False, True),
        (401, 'Negotiate, BASIC realm="in"', False, True),
        (401, 'Basic realm="in"', True, False),
        (401, 'Digest realm="basic"', False, False),
        (200, 'Basic realm="in"', False, False),
    ],
)
def test_a_password_in_plain_text_is_found(status: int, asked: str, secured: bool, is_found: bool) -> None:
    said = found(reply({**GOOD, "www-authenticate": asked}, status), secured=secured)
    assert ("basic-auth-plain-text" in said) is is_found


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_a_rule_says_what_it_is_worth(rule) -> None:  # type: ignore[no-untyped-def]
    finding = rule.found("subject", "x" * 5000)
    assert finding.rule == f"http_probe/{rule.name}"
    assert finding.reference == f"https://cwe.mitre.org/data/definitions/{rule.cwe}.html"
    assert len(finding.evidence) == 1000
    assert finding.severity is not Severity.NONE
    if rule.cvss:
        assert base_score(rule.cvss) == rule.score
        assert severity_word(rule.cvss, rule.score) == rule.severity


def test_no_two_rules_have_one_name() -> None:
    assert len({rule.name for rule in RULES}) == len(RULES)
