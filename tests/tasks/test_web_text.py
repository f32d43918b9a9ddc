"""What a page says of itself: titles in many writings, icons, lists of files; and pages that are made to cost time."""

from __future__ import annotations

import time

import httpx
import pytest

from tasks.visit import MOST_BYTES, Reply
from tasks.web_text import MOST_TITLE, icons_of, is_html, listing_of, text_of, title_of

URL = httpx.URL("http://127.0.0.1/")


def reply(body: bytes | str, kind: str = "text/html") -> Reply:
    headers = httpx.Headers({"content-type": kind} if kind else {})
    return Reply(URL, 200, headers, body.encode() if isinstance(body, str) else body)


def title(body: bytes | str, kind: str = "text/html") -> str | None:
    return title_of(text_of(reply(body, kind)))


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("<title>Welcome</title>", "Welcome"),
        ("<TITLE lang=en>\n  two\t lines\n</TITLE>", "two lines"),
        ("<title>a &amp; b &lt;i&gt; &#x41;&eacute;</title>", "a & b <i> Aé"),
        ("<title>never ended", "never ended"),
        ("<title></title>", None),
        ("<title>  &nbsp; </title>", None),
        ("no title", None),
        ("<!-- <title>old</title> --><title>new</title>", "new"),
        ("<!-- <title>never shown</title>", None),
        ("<title>first</title><svg><title>second</title></svg>", "first"),
        ("<titles>no</titles>", None),
        ("<title>\x1b[31m\u202ered\x00\ud83d</title>".encode(errors="surrogatepass"), "[31mred\ufffd\ufffd\ufffd"),
    ],
)
def test_the_title_is_one_clean_line(body: bytes | str, expected: str | None) -> None:
    assert title(body) == expected


def test_a_long_title_is_cut() -> None:
    cut = title(f"<title>{'ä' * 5000}</title>")
    assert cut == "ä" * (MOST_TITLE // 2)


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ("<title>é</title>".encode("latin-1"), "text/html; charset=ISO-8859-1"),
        ("<title>é</title>".encode("latin-1"), 'text/html; charset="windows-1252"'),
        ('<meta charset="iso-8859-1"><title>é</title>'.encode("latin-1"), "text/html"),
        (b"\xff\xfe" + "<title>é</title>".encode("utf-16-le"), "text/html"),
        (b"\xef\xbb\xbf" + "<title>é</title>".encode(), "text/html; charset=utf-8"),
        ("<title>é</title>".encode(), "text/html; charset=no-such-thing"),
        ("<title>é</title>".encode(), "text/html; charset=punycode"),
        ("<title>é</title>".encode(), "text/html; charset=iso-8859-99"),
    ],
)
def test_a_page_is_read_in_its_own_encoding(body: bytes, kind: str) -> None:
    assert title(body, kind) == "é"


def test_eastern_encodings_are_read() -> None:
    assert title("<title>日本</title>".encode("shift_jis"), "text/html; charset=Shift_JIS") == "日本"
    assert title("<title>中文</title>".encode("gb18030"), "text/html; charset=GB2312") == "中文"


def test_what_is_a_page_is_told_by_its_type_or_its_beginning() -> None:
    assert is_html(reply("", "text/html; charset=utf-8"))
    assert is_html(reply("\n <!DOCTYPE html>", ""))
    assert not is_html(reply("<html>", "application/json"))
    assert not is_html(reply("{}", ""))


def test_icons_are_what_links_name_so() -> None:
    page = """<link rel="shortcut icon" href="/a.ico?x=1&amp;y=2"><LINK HREF=b.png REL=Icon />
    <link rel=mask-icon href=c><link rel=stylesheet href=d><link rel=icon><!-- <link rel=icon href=e> -->"""
    assert icons_of(text_of(reply(page))) == ["/a.ico?x=1&y=2", "b.png"]


NGINX = '<html><head><title>Index of /</title></head><body><h1>Index of /</h1><hr><pre><a href="../">../</a></pre>'
IIS = '<html><head><title>10.0.0.1 - /</title></head><body><H1>10.0.0.1 - /</H1><hr><pre><A HREF="/a.txt">a.txt</A>'


@pytest.mark.parametrize(
    ("page", "server"),
    [
        (NGINX, "nginx"),
        ('<title>Index of /files</title><h1>Index of /files</h1><a href="?C=N;O=D">Name</a>', "Apache"),
        ('<title>Directory listing for /</title><ul><li><a href="a">a</a>', "Python"),
        ('<title>Directory Listing For [/]</title><a href="/a">', "Tomcat"),
        ('<title>Directory: /</title><a href="/a">', "Jetty"),
        (IIS, "IIS"),
    ],
)
def test_a_list_of_files_is_known_by_its_maker(page: str, server: str) -> None:
    assert server in (listing_of(page) or "")


@pytest.mark.parametrize(
    "page",
    [
        "<title>Index of /</title><p>We have no such thing.",
        '<title>The index of /r/all</title><a href="a">',
        '<title>Shop - /home</title><a href="a">'.replace("Shop", "Our shop"),
        '<p>Index of /</p><a href="a">',
    ],
)
def test_a_page_about_lists_is_none(page: str) -> None:
    assert listing_of(page) is None


COSTLY = (
    "<!--", "<a ", "<a b='", "</a ", "<!", "<![", "&", "&#", "<script>", "<title>", "<title", "<", "<a/", "<link ",
    "<link rel=icon href=x ", "<link rel=icon href=x>", "<link rel='", "charset=", "charset  ", "<!-- -->", "<pre>",
    " ",
)  # fmt: skip


@pytest.mark.parametrize("piece", COSTLY)
def test_a_page_made_to_cost_time_costs_none(piece: str) -> None:
    hostile = reply((piece * MOST_BYTES)[:MOST_BYTES])
    begun = time.process_time()
    text = text_of(hostile)
    title_of(text)
    icons_of(text)
    listing_of(text)
    assert time.process_time() - begun < 1
