"""Services that do more for strangers than they should: FTP for anybody, a first page that nobody made."""

from __future__ import annotations

import re

from footprint.records import Severity
from footprint.text import clean
from tasks.checks import Check, Said, weakness
from tasks.talk import Garbled, Place, Talk, get

REPLY_LINES = 200
TITLE = re.compile(r"<title[^>]*>([^<]{0,200})</title>", re.IGNORECASE)
DEFAULT_PAGES = (
    ("nginx", re.compile(r"Welcome to nginx|Test Page for (?:the )?Nginx", re.IGNORECASE)),
    ("Apache httpd", re.compile(r"Apache2 \w+ Default Page|Test Page for the Apache|^Apache HTTP Server Test Page")),
    ("IIS", re.compile(r"^IIS(?: Windows(?: Server)?|\d)|^Internet Information Services")),
    ("Tomcat", re.compile(r"^Apache Tomcat(?:/\d|$)")),
    ("lighttpd", re.compile(r"lighttpd.*(?:placeholder|default)|^Welcome page$", re.IGNORECASE)),
    ("Caddy", re.compile(r"^Caddy works!?")),
    ("Plesk or cPanel", re.compile(r"^Default (?:Parallels Plesk|Web Site|PLESK) Page", re.IGNORECASE)),
)
"""Titles of the pages that come with a web server."""
IT_WORKS = re.compile(r"^\s*<html>\s*<body>\s*<h1>\s*It works!\s*</h1>\s*</body>\s*</html>\s*$", re.IGNORECASE)


def anonymous_ftp(place: Place) -> Said:
    """Whether `anonymous` may log in (RFC 1635); nothing is listed, and nothing written."""
    with Talk(place) as talk:
        greeting, said = _reply(talk)
        if greeting != 220:
            return Said(f"it serves nobody now ({said})")
        code, said = _command(talk, "USER anonymous")
        if code == 331:
            code, said = _command(talk, "PASS anonymous@")
        if code == 230:
            talk.say(b"QUIT\r\n")
    if code != 230:
        return Said(f"anonymous may not log in ({code} {said})")
    return weakness(
        "ftp-anonymous",
        "FTP lets anybody in",
        Severity.MEDIUM,
        f"anonymous was let in: {code} {said}",
        "https://www.rfc-editor.org/rfc/rfc1635",
        ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:L/I:N/A:N", 5.3),
    )


def _command(talk: Talk, text: str) -> tuple[int, str]:
    talk.say(f"{text}\r\n".encode())
    return _reply(talk)


def _reply(talk: Talk) -> tuple[int, str]:
    """A reply's code and its last line (RFC 959, 4.2)."""
    for _ in range(REPLY_LINES):
        line = talk.line()
        if re.match(rb"\d{3} ", line) or re.fullmatch(rb"\d{3}", line):
            return int(line[:3]), clean(line[4:].decode(errors="replace"), 120)
        if not line:
            break
    raise Garbled("it does not speak FTP")


def default_page(place: Place) -> Said:
    """Whether the first page is still the one that came with the web server."""
    page = get(place, "/")
    match = TITLE.search(page.body)
    title = match[1].strip() if match else ""
    for product, known in DEFAULT_PAGES:
        if known.search(title):
            return _unmade(product, f"its title is {clean(title, 120)}")
    if IT_WORKS.match(page.body):
        return _unmade("Apache httpd", "it says: It works!")
    return Said(f"HTTP {page.status}, a page of its own")


def _unmade(product: str, evidence: str) -> Said:
    return weakness(
        "default-page",
        f"The first page is the one that comes with {product}",
        Severity.LOW,
        evidence,
        "https://cwe.mitre.org/data/definitions/1188.html",
    )


CHECKS = (
    Check("anonymous FTP", anonymous_ftp, names=("ftp",), ports=(21,)),
    Check("default page", default_page, names=("http", "https", "http-alt", "https-alt", "http-proxy")),
)
