"""What WhatWeb says of pages: a line of JSON for each that was answered, and one of text for each that was not."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from pydantic import BaseModel, Field, ValidationError

from footprint.errors import OutputNotUnderstood, ToolCrashed, ToolTimedOut
from footprint.records import Coverage, Endpoint, Outcome, Technology, subject_of
from footprint.text import clean
from tasks.tool import Batch, Ending, Found, Output

ERRORS = "errors"
MOST = 60
"""Technologies of one service."""
SHOWN = 6
"""Values in one detail."""
SURE, LIKELY = 100, 50
"""WhatWeb's certainty, in per cent: what is below `LIKELY` is a guess, and left out."""

PAGE_FACTS = frozenset(
    "Access-Control-Allow-Methods,Allow,Content-Language,Content-Security-Policy,Cookies,Country,Email,Frame,HTML5,"
    "HttpOnly,IP,Index-Of,Meta-Author,Meta-Refresh-Redirect,Object,Open-Graph-Protocol,OpenSearch,P3P,PasswordField,"
    "RedirectLocation,Script,Strict-Transport-Security,Title,UncommonHeaders,Via-Proxy,WWW-Authenticate,"
    "X-Cache,X-Frame-Options,X-Forwarded-For,X-Host,X-Machine,X-UA-Compatible,X-XSS-Protection,X-Backend,Meta-Geo,"
    "X-Pingback,X-Hacker,Crossdomain_XML,Error_Log,Evercookie,Robots_txt".lower().split(",")
)
"""Plugins that tell of a page and not of what it is made with."""
NAMING = {
    "httpserver": "Server",
    "x-powered-by": "X-Powered-By",
    "metagenerator": "generator",
    "metapoweredby": "powered-by",
}
"""Plugins whose texts name products themselves, and where those stood."""

_OPENING = re.compile(r"ERROR Opening: \S+#(\d{1,4}) - ([^\n]*)")
_PRODUCT = re.compile(r"([A-Za-z][\w.+ -]{0,60}?)[/ ]v?(\d[\w.+~:-]{0,60})")
_NAME = re.compile(r"[A-Za-z][\w.+ -]{1,60}")
_LATE = ("execution expired", "timed out", "Timeout")


class Matched(BaseModel):
    """What one plugin found."""

    certainty: int = SURE
    version: list[Any] = Field(default_factory=list)
    string: list[Any] = Field(default_factory=list)
    os: list[Any] = Field(default_factory=list)
    model: list[Any] = Field(default_factory=list)
    firmware: list[Any] = Field(default_factory=list)
    module: list[Any] = Field(default_factory=list)
    account: list[Any] = Field(default_factory=list)

    def versions(self) -> list[str]:
        """What it may be, each once."""
        return _texts(self.version)

    def said(self) -> list[str]:
        """All else, each once."""
        return _texts([*self.string, *self.model, *self.firmware, *self.module, *self.account, *self.os])


class Page(BaseModel):
    """One answered target."""

    target: str
    http_status: int | None = None
    plugins: dict[str, Matched] = Field(default_factory=dict)

    @property
    def number(self) -> int:
        """Which of the batch it is, or -1."""
        digits = self.target.rpartition("#")[2]
        return int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 5 else -1


def parse(output: Output, batch: Batch) -> Iterator[Found]:
    """Technologies, and one coverage for each endpoint.

    Raises `ToolCrashed` where WhatWeb gave up, `OutputNotUnderstood` where it said nothing of any target, and
    `ToolTimedOut` at the end where a page held it up.
    """
    if output.is_complete and (output.returncode != 0 or not output.stdout.startswith("[")):
        first = (output.stderr or output.stdout).strip().partition("\n")[0]
        raise ToolCrashed("whatweb: it gave up", hint=clean(first, 200))
    pages = {page.number: page for page in _pages(output.stdout)}
    unopened = {int(number): _why(said) for number, said in _OPENING.findall(output.files.get(ERRORS, ""))}
    if output.is_complete and not pages and not unopened:
        raise OutputNotUnderstood("whatweb: it said nothing of any target", hint=clean(output.stderr, 200))
    for number, record in enumerate(batch):
        assert isinstance(record, Endpoint)
        if number in pages:
            yield from _told(subject_of(record), pages[number])
        else:
            yield Coverage(subject_of(record), *_untold(unopened.get(number), output))
    if output.ending is Ending.TIMED_OUT:
        raise ToolTimedOut(f"whatweb: a page held it up for {round(output.seconds)} s")


def _pages(text: str) -> Iterator[Page]:
    """The pages that are whole; each is a line."""
    for line in text.splitlines():
        if line.startswith("{"):
            try:
                yield Page.model_validate_json(line)
            except ValidationError:
                continue


def _why(said: str) -> str:
    """Why a page was not opened. WhatWeb fails in its own way to say that an answer is no HTTP."""
    return "it does not speak HTTP" if "HTTPBadResponse" in said else clean(said, 200)


def _untold(why: str | None, output: Output) -> tuple[Outcome, str]:
    if why is not None:
        return (Outcome.TIMED_OUT if any(word in why for word in _LATE) else Outcome.SILENT), why
    if output.ending is Ending.TIMED_OUT:
        return Outcome.TIMED_OUT, "WhatWeb was not through with it"
    return Outcome.NOT_LOOKED_AT, "WhatWeb said nothing of it"


def _told(subject: str, page: Page) -> Iterator[Found]:
    found = {technology.name.casefold(): technology for technology in _technologies(subject, page)}
    yield from list(found.values())[:MOST]
    outcome = Outcome.SAMPLED if len(found) > MOST else Outcome.ANSWERED
    yield Coverage(subject, outcome, f"HTTP {page.http_status}, {len(found)} technologies")


def _technologies(subject: str, page: Page) -> Iterator[Technology]:
    """Those that texts name first: what plugins make of the same product counts more."""
    plugins = {name: matched for name, matched in page.plugins.items() if matched.certainty >= LIKELY}
    texts = [
        (place, text)
        for name, place in NAMING.items()
        for plugin, matched in plugins.items()
        if plugin.lower() == name
        for text in _texts(matched.string)
    ]
    for place, text in texts:
        for name, version in _products(text):
            yield Technology(subject, name, version, f"{place}: {clean(text, 400)}")
    for name, matched in plugins.items():
        if name.lower() not in PAGE_FACTS and name.lower() not in NAMING:
            named = [f"{place}: {clean(text, 400)}" for place, text in texts if name.casefold() in text.casefold()]
            yield _technology(subject, name, matched, named)


def _technology(subject: str, name: str, matched: Matched, named: list[str]) -> Technology:
    versions = matched.versions()
    details = [*(("likely",) if matched.certainty < SURE else ()), *named[:1]]
    if len(versions) > 1:
        details.append(f"one of {', '.join(versions[:SHOWN])}")
    details += [text for text in matched.said() if not any(text in told for told in details)][:SHOWN]
    version = versions[0] if len(versions) == 1 else None
    return Technology(subject, clean(name, 100), version, clean("; ".join(details), 600) or None)


def _products(text: str) -> Iterator[tuple[str, str | None]]:
    """Products that a text names, `name/1.2 (note) other/3`; the whole text where it is a bare name."""
    plain = re.sub(r"\([^)]*\)", " ", clean(text, 400))
    pairs = [(name.strip(), version) for name, version in _PRODUCT.findall(plain)]
    if pairs:
        yield from pairs
    elif _NAME.fullmatch(plain.strip()):
        yield plain.strip(), None


def _texts(values: Iterable[Any]) -> list[str]:
    """Values as texts, bounded, each once and none empty."""
    texts = (clean(str(value), 200).strip() for value in values if isinstance(value, str | int | float))
    return list(dict.fromkeys(text for text in texts if text))
