"""What a web page says of itself: its title, its icon, whether it lists a directory.

Whoever owns it wrote it: everything here takes time in proportion to its length. The standard library's HTML parser
does not (37 s for 64 KiB of `<a `), and so gets single tags only.
"""

from __future__ import annotations

import codecs
import re
from html import unescape
from html.parser import HTMLParser

from footprint.text import clean
from tasks.visit import Reply

MOST_TEXT = 64 << 10
"""Characters of a page in which its title, icons and headings are looked for."""
MOST_TITLE = 300
MOST_ICONS = 20
CHARSETS = re.compile(
    r"utf-?8|utf-16(le|be)?|windows-?125\d|iso-?8859-\d{1,2}|koi8-[ru]|gb2312|gbk|gb18030|big5|euc-(jp|kr)"
    r"|iso-2022-jp|shift[_-]jis|ibm866"
)
"""What is taken: Python knows others (`punycode`, `unicode_escape`), which no page is written in."""
AS_BROWSERS_DO = {"iso-8859-1": "windows-1252", "iso8859-1": "windows-1252", "gb2312": "gbk"}
"""Encodings that browsers take for a larger one (WHATWG Encoding, 4.2)."""

_CHARSET = re.compile(r"charset\s{0,8}=\s{0,8}[\"']?([\w.:-]{1,40})", re.IGNORECASE)
_TITLE = re.compile(r"<title\b[^<>]*>([^<]*)", re.IGNORECASE)
_LINK = re.compile(r"<link\s[^<>]{0,1000}>", re.IGNORECASE)
_LISTINGS = (
    ("nginx, Apache httpd or lighttpd", re.compile(r"Index of /")),
    ("Python", re.compile(r"Directory listing for /")),
    ("Tomcat", re.compile(r"Directory Listing For \[?/")),
    ("Jetty", re.compile(r"Directory: /")),
    ("serve-index", re.compile(r"listing directory /")),
    ("IIS", re.compile(r"[\w.:\[\]-]{1,255} - /")),
)
"""How the pages begin their titles by which web servers list directories."""
_ENTRY = re.compile(r"<a\s[^<>]{0,500}href=|<pre>", re.IGNORECASE)


def is_html(reply: Reply) -> bool:
    """True where the answer is a page: it says so, or says nothing and begins like one."""
    kind = reply.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind:
        return kind in ("text/html", "application/xhtml+xml")
    return reply.body[:1024].lstrip().lower().startswith((b"<!doctype html", b"<html"))


def text_of(reply: Reply) -> str:
    """The beginning of a page without its comments, decoded as its header or itself says, else as UTF-8."""
    body = reply.body[: 4 * MOST_TEXT]
    text = body.decode(_charset(reply), errors="replace")
    return _without_comments(text.removeprefix("\ufeff")[:MOST_TEXT])


def title_of(text: str) -> str | None:
    """The title of a page in one line, or None where it has none."""
    match = _TITLE.search(text)
    return clean(" ".join(unescape(match[1]).split()), MOST_TITLE) or None if match else None


def icons_of(text: str) -> list[str]:
    """Where a page says that its icons are, as it says it."""
    reader = _Icons()
    for number, match in enumerate(_LINK.finditer(text)):
        if number < MOST_ICONS:
            reader.feed(match[0])
    return reader.found


def listing_of(text: str) -> str | None:
    """Which web server's list of a directory a page is, or None where it is none."""
    title = title_of(text) or ""
    known = next((server for server, pattern in _LISTINGS if pattern.match(title)), None)
    return known if known and _ENTRY.search(text) else None


def _charset(reply: Reply) -> str:
    if reply.body.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    told = _CHARSET.search(reply.headers.get("content-type", "")[:500])
    told = told or _CHARSET.search(reply.body[:1024].decode("latin-1"))
    name = told[1].lower() if told else ""
    name = AS_BROWSERS_DO.get(name, name)
    try:
        return codecs.lookup(name).name if CHARSETS.fullmatch(name) else "utf-8"
    except LookupError:
        return "utf-8"


def _without_comments(text: str) -> str:
    """Found one after another: a pattern would begin again at each of a thousand that never end."""
    kept, at = [], 0
    while (begin := text.find("<!--", at)) >= 0:
        kept.append(text[at:begin])
        end = text.find("-->", begin + 4)
        if end < 0:
            return "".join(kept)
        at = end + 3
    return "".join([*kept, text[at:]])


class _Icons(HTMLParser):
    """Collects what `<link rel=icon>` refers to."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag == "link" and "icon" in (values.get("rel") or "").lower().split() and values.get("href"):
            self.found.append(values["href"] or "")
