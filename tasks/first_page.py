"""What a web server's first page gives away: the page that came with it, or a search engine open to anybody."""

from __future__ import annotations

import re

from footprint.records import Severity
from tasks.checks import AUTH, Check, Said, Weakness, shown
from tasks.open_stores import FULL_CONTROL, json_of
from tasks.talk import Place
from tasks.web_page import Page, get

TITLE = re.compile(r"<title[^>]{0,200}>([^<]{0,200})</title>", re.IGNORECASE)
DEFAULT_PAGES = (
    ("nginx", re.compile(r"Welcome to nginx!?|(?:Welcome to|Test Page for) (?:the )?nginx\b.{0,80}", re.IGNORECASE)),
    ("Apache httpd", re.compile(r"Apache2 .{0,40}Default Page.{0,20}|Test Page for the Apache.{0,80}")),
    ("the distribution's web server", re.compile(r".{0,20}HTTP Server Test Page.{0,80}|Test Page for the HTTP.{0,80}")),
    (
        "IIS",
        re.compile(r"IIS Windows(?: Server)?|IIS ?\d{1,2}(?:\.\d)?|(?:.{0,20} )?Internet Information Services.{0,5}"),
    ),
    ("Tomcat", re.compile(r"Apache Tomcat(?:/[\w.-]{1,20})?")),
    (
        "lighttpd",
        re.compile(r"Welcome to lighttpd.{0,40}|lighttpd.{0,40}(?:placeholder|default).{0,40}", re.IGNORECASE),
    ),
    ("Caddy", re.compile(r"Caddy works!?")),
    ("Plesk", re.compile(r"(?:Default (?:Parallels )?Plesk Page|Web Server's Default Page)", re.IGNORECASE)),
)
"""Titles, whole, of the pages that come with a web server."""
SERVED = (200, 403)
"""Some distributions serve Apache's test page as what is forbidden."""
IT_WORKS = re.compile(r"\s*<html>\s*<body>\s*<h1>\s*It works!\s*</h1>\s*</body>\s*</html>\s*", re.IGNORECASE)

DEFAULT = Weakness("default-page", Severity.LOW, "https://owasp.org/Top10/A05_2021-Security_Misconfiguration/")
SEARCH = Weakness(
    "elasticsearch-open",
    Severity.CRITICAL,
    "https://www.elastic.co/guide/en/elasticsearch/reference/current/security-minimal-setup.html",
    FULL_CONTROL,
)


def first_page(place: Place) -> Said:
    """What the first page is. It is looked at without following where it leads."""
    page = get(place, "/")
    if page.status == 401:
        return Said(f"{AUTH} (HTTP 401)")
    if 300 <= page.status < 400:
        return Said(f"it leads elsewhere (HTTP {page.status}), which was not followed")
    return _search_engine(page) or _default(page) or Said(f"a page of its own (HTTP {page.status})")


def _search_engine(page: Page) -> Said | None:
    """Elasticsearch and OpenSearch name their cluster and version to those who may come in."""
    told = json_of(page.body) if page.status == 200 else {}
    version = told.get("version")
    if "cluster_name" not in told or not isinstance(version, dict) or "lucene_version" not in version:
        return None
    product = "OpenSearch" if version.get("distribution") == "opensearch" else "Elasticsearch"
    number, cluster = shown(version.get("number")), shown(told["cluster_name"], 200)
    return SEARCH.found(
        f"{product} serves anybody", f"its first page was shown without a password: version {number}, cluster {cluster}"
    )


def _default(page: Page) -> Said | None:
    match = TITLE.search(page.body)
    title = " ".join(match[1].split()) if match and page.status in SERVED else ""
    evidence = f"the title of its first page is: {title}"
    product = next((product for product, known in DEFAULT_PAGES if known.fullmatch(title)), None)
    if product is None and page.status == 200 and IT_WORKS.fullmatch(page.body):
        product, evidence = "Apache httpd", "its first page says: It works!"
    return DEFAULT.found(f"The first page is the one that comes with {product}", evidence) if product else None


CHECKS = (
    Check(
        "first page",
        "GET /",
        first_page,
        names=("http", "https", "http-alt", "https-alt", "http-proxy", "elasticsearch", "opensearch"),
        ports=(9200,),
    ),
)
