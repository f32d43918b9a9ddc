"""What is wrong with the way a web endpoint answered, as far as its answers themselves tell. Nothing is asked here."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from footprint.records import Finding, Severity
from footprint.text import clean
from tasks.visit import FirstPage, Reply
from tasks.web_text import is_html, listing_of, text_of

MOST_COOKIES = 50
SHOWN = 10
VERSIONED = ("Server", "X-Powered-By", "X-AspNet-Version", "X-AspNetMvc-Version")
READ_BY_SCRIPTS = re.compile("csrf|xsrf", re.IGNORECASE)
"""Cookies that a page's own scripts are to read, and send back in a header."""

_VERSION = re.compile(r"\d+\.\d+")
_BASIC = re.compile(r"(?:^|,)\s*basic\b", re.IGNORECASE)
_MAX_AGE = re.compile(r"max-age\s*=\s*\"?0*[1-9]", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Rule:
    """A check: its name without the module's, and what is said where it finds something."""

    name: str
    title: str
    severity: Severity
    cwe: int
    cvss: str | None = None
    score: float | None = None

    def found(self, subject: str, evidence: str) -> Finding:
        """The finding; its evidence names no host, so that the same weakness reads the same under every name."""
        return Finding(
            f"http_probe/{self.name}",
            subject,
            title=self.title,
            severity=self.severity,
            evidence=clean(evidence, 1000),
            reference=f"https://cwe.mitre.org/data/definitions/{self.cwe}.html",
            cvss=self.cvss,
            score=self.score,
        )


HEADERS = Rule("security-headers", "Its pages lack headers that have browsers protect visitors", Severity.LOW, 693)
LISTING = Rule(
    "directory-listing",
    "A directory is listed to anybody",
    Severity.MEDIUM,
    548,
    "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:L/I:N/A:N",
    5.3,
)
COOKIES = Rule(
    "cookie-flags",
    "Cookies are set without Secure or HttpOnly",
    Severity.LOW,
    1004,
    "CVSS:3.1/AV:N/AC:H/PR:N/UI:R/S:U/C:L/I:N/A:N",
    3.1,
)
CORS_NULL = Rule(
    "cors-null-credentials",
    "Pages of any site can read what it answers its users, by way of a sandboxed frame",
    Severity.MEDIUM,
    942,
    "CVSS:3.1/AV:N/AC:H/PR:N/UI:R/S:U/C:H/I:N/A:N",
    5.3,
)
CORS_ANY = Rule(
    "cors-any-credentials", "It would let pages of any site read what it answers its users", Severity.LOW, 942
)
"""Browsers refuse this very pair (Fetch, 3.3.6): it tells of a mistake, and harms nobody yet."""
VERSION = Rule("server-version", "It tells the version of its software", Severity.LOW, 497)
BASIC_AUTH = Rule(
    "basic-auth-plain-text",
    "It asks for a password that travels in plain text",
    Severity.MEDIUM,
    523,
    "CVSS:3.1/AV:N/AC:H/PR:N/UI:R/S:U/C:H/I:N/A:N",
    5.3,
)
GIT = Rule(
    "git",
    "A Git repository can be read by anybody",
    Severity.HIGH,
    527,
    "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:N/A:N",
    7.5,
)
RULES = (HEADERS, LISTING, COOKIES, CORS_NULL, CORS_ANY, VERSION, BASIC_AUTH, GIT)


def weaknesses(subject: str, page: FirstPage, *, secured: bool, listing: bool = True) -> Iterator[Finding]:
    """Every weakness that the first page shows; `secured` where it came over TLS."""
    last = page.last
    is_page = 200 <= last.status < 300 and is_html(last)
    said = {
        HEADERS: ", ".join(lacking_headers(last, secured=secured)) if is_page else "",
        LISTING: _listed(last) if is_page and listing else "",
        COOKIES: "; ".join(unguarded_cookies(page, secured=secured)),
        CORS_NULL: _shared(last, "null"),
        CORS_ANY: _shared(last, "*"),
        VERSION: "; ".join(_versions(last)),
        BASIC_AUTH: "" if secured else _basic_auth(last),
    }
    yield from (rule.found(subject, evidence) for rule, evidence in said.items() if evidence)


def lacking_headers(reply: Reply, *, secured: bool) -> list[str]:
    """Headers that a page should come with, and does not. Strict-Transport-Security means nothing without TLS."""
    headers = reply.headers
    policy = headers.get("content-security-policy", "").lower()
    is_there = {
        "Content-Security-Policy": bool(policy) or "content-security-policy" in text_of(reply).lower(),
        "X-Content-Type-Options": "nosniff" in headers.get("x-content-type-options", "").lower(),
        "X-Frame-Options": "frame-ancestors" in policy or bool(headers.get("x-frame-options")),
        "Referrer-Policy": bool(headers.get("referrer-policy")),
    }
    if secured:
        is_there["Strict-Transport-Security"] = bool(_MAX_AGE.search(headers.get("strict-transport-security", "")))
    return [name for name, there in is_there.items() if not there]


def unguarded_cookies(page: FirstPage, *, secured: bool) -> list[str]:
    """Cookies by name, with the flags that they lack; never their values. Over plain text none can be Secure."""
    lines = [line for reply in page.replies for line in reply.headers.get_list("set-cookie")]
    lacking: dict[str, list[str]] = {}
    for line in lines[:MOST_COOKIES]:
        (name, value), flags = _cookie(line)
        if not value or "max-age=0" in flags:
            continue  # it is taken back
        missing = ["Secure"] if secured and "secure" not in flags else []
        missing += ["HttpOnly"] if "httponly" not in flags and not READ_BY_SCRIPTS.search(name) else []
        if missing:
            lacking[clean(name, 64)] = missing
    told = [f"{name}: no {', no '.join(missing)}" for name, missing in sorted(lacking.items())]
    return [*told[:SHOWN], f"and {len(told) - SHOWN} more"] if len(told) > SHOWN else told


def _cookie(line: str) -> tuple[tuple[str, str], set[str]]:
    pair, *attributes = line.split(";")
    name, _, value = pair.partition("=")
    return (name.strip(), value.strip()), {each.strip().lower() for each in attributes}


def _listed(reply: Reply) -> str:
    server = listing_of(text_of(reply))
    return f"the first page is a list of files as {server} makes it" if server else ""


def _shared(reply: Reply, origin: str) -> str:
    with_credentials = reply.headers.get("access-control-allow-credentials", "").strip().lower() == "true"
    if reply.headers.get("access-control-allow-origin", "").strip() != origin or not with_credentials:
        return ""
    return f"Access-Control-Allow-Origin: {origin}, and Access-Control-Allow-Credentials: true"


def _versions(reply: Reply) -> list[str]:
    told = ((name, reply.headers.get(name, "")) for name in VERSIONED)
    return [f"{name}: {clean(value, 200)}" for name, value in told if _VERSION.search(value)]


def _basic_auth(reply: Reply) -> str:
    asked = reply.headers.get("www-authenticate", "")
    return f"WWW-Authenticate: {clean(asked, 200)}" if reply.status == 401 and _BASIC.search(asked) else ""
