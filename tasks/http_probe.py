"""What web services answer for their first page: status, title, redirects, icon; and which weaknesses that shows.

Needs no program. An endpoint gets three requests as a rule: its first page, its icon, `/.git/HEAD`; one more for each
redirect that leads to itself, and one where a Git repository seems to be exposed. Endpoints of one service go
together: what is wrong with the address itself and with a name in the same way is said once, of the service.
"""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
from collections.abc import Awaitable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias, TypeVar

import mmh3
from pydantic import BaseModel, ConfigDict, Field

from footprint.errors import InvalidTarget
from footprint.records import Coverage, DomainName, Endpoint, Finding, Outcome, WebPage, subject_of
from footprint.target import parse_name
from footprint.text import clean
from tasks.outside import USER_AGENT, Turns, side_by_side, why_not
from tasks.tool import Asking, Batch, Found, Intake, Pace, Risk, Tool
from tasks.visit import FirstPage, Manners, Reply, Unanswered, Visit, joined, transport
from tasks.web_text import icons_of, is_html, text_of, title_of
from tasks.web_weaknesses import GIT, VERSION, weaknesses

PACES = ((1, 1), (1, 2), (4, 10), (8, 30), (16, 100), (32, 300))
"""Endpoints at once and requests per second, for the intensities 0 to 5."""
MOST_HEAD = 512
"""Bytes of what should be a branch's name or a commit."""
HEAD = re.compile(rb"(?:ref: refs/[\w./+@-]{1,200}|[0-9a-f]{40}|[0-9a-f]{64})\n?")
"""What `.git/HEAD` holds (gitrepository-layout(5))."""

Answer = TypeVar("Answer")
Lack: TypeAlias = tuple[str, bool]
"""What is not known of an endpoint and why, in a note's words; True where time ran out."""


class HttpProbeOptions(BaseModel):
    """What is looked for, and how endpoints are asked."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    git: bool = Field(default=True, description="Ask for /.git/HEAD.")
    listing: bool = Field(default=True, description="Look whether the first page lists a directory.")
    favicon: bool = Field(default=True, description="Ask for the icon of the site, and note its hash.")
    parallel: int = Field(default=8, ge=1, le=64, description="Endpoints at once.")
    rate: float = Field(default=30, ge=0.1, le=1000, description="Requests per second, of one unit.")
    timeout: float = Field(default=20, ge=0.2, le=300, description="Seconds an endpoint has for all of its answers.")
    redirects: int = Field(default=5, ge=0, le=10, description="Redirects to the same endpoint that are followed.")
    user_agent: str = Field(
        default=USER_AGENT, max_length=200, pattern=r"^[!-~]([ -~]*[!-~])?$", description="What it calls itself."
    )


def configure(options: dict[str, Any], pace: Pace) -> HttpProbeOptions:
    """Complete the policy's options with what its intensity means here."""
    parallel, rate = PACES[pace.intensity]
    return HttpProbeOptions.model_validate({"parallel": parallel, "rate": rate, **options})


@dataclass(frozen=True, slots=True)
class Sight:
    """What one endpoint showed. `answer` is its first page's last status and the hash of its body."""

    endpoint: Endpoint
    coverage: Coverage
    page: WebPage | None = None
    names: tuple[DomainName, ...] = ()
    findings: tuple[Finding, ...] = ()

    def shares(self, finding: Finding, plain: Sight) -> Finding | None:
        """The same weakness as the address itself has it, or None where it is of this name alone.

        A version is the server's. All else is shared where both show the same page: the same site, that is, and for
        a repository a page that is more than a refusal.
        """
        alike = next((one for one in plain.findings if one.rule == finding.rule), None)
        if alike is None or alike.evidence != finding.evidence or not (self.page and plain.page):
            return None
        is_same = (self.page.status, self.page.body) == (plain.page.status, plain.page.body)
        if finding.rule == f"http_probe/{GIT.name}":
            is_same = is_same and self.page.status == 200
        return alike if is_same or finding.rule == f"http_probe/{VERSION.name}" else None


class Prober:
    """Looks at endpoints, one visit each."""

    def __init__(self, options: HttpProbeOptions, asking: Asking) -> None:
        self.connections = transport()
        self._options = options
        self._asking = asking
        self._manners = Manners(options.timeout, options.user_agent, options.redirects)
        self._turns = Turns(options.rate)

    async def look(self, endpoint: Endpoint) -> Sight:
        """All that one endpoint is asked."""
        visit = Visit(endpoint, self._manners, self.connections, self._turns)
        subject = subject_of(endpoint)
        try:
            page = await visit.first_page()
        except Unanswered as why:
            return Sight(endpoint, Coverage(subject, why.outcome, why.note))
        listing, options = self._options.listing, self._options
        found = list(weaknesses(subject, page, secured=endpoint.is_tls, listing=listing))
        lacks = [(page.lack, page.is_late)] if page.lack else []
        favicon = None
        if options.favicon and not page.is_late:
            favicon = await _or_lack(_favicon(visit, page.last), "the icon", lacks)
        if options.git and not page.is_late:
            head = await _or_lack(_git_head(visit), ".git/HEAD", lacks)
            found += [GIT.found(subject, f"GET /.git/HEAD was answered with {head}")] if head else []
        return Sight(
            endpoint,
            _coverage(subject, page.last.status, visit.requests, lacks),
            _web_page(subject, visit, page, favicon),
            tuple(self._names(endpoint, page)),
            tuple(found),
        )

    def _names(self, endpoint: Endpoint, page: FirstPage) -> Iterator[DomainName]:
        """Names that redirects tell of, where they belong to the scan."""
        for text in page.redirects:
            led = joined(page.replies[0].url, text)
            try:
                record = DomainName(parse_name(led.raw_host.decode())) if led and led.host else None
            except (InvalidTarget, ValueError):
                continue
            if record and record.name != endpoint.name and self._asking.scope.decide(record).touch:
                yield record


def probe(batch: Batch, options: HttpProbeOptions, asking: Asking) -> Iterator[Found]:
    """Look at every endpoint; yield pages, names and coverage as they come, and the findings at the end."""
    wanted = [record for record in batch if isinstance(record, Endpoint)]
    questions = [*wanted, *_plain_ones(wanted, asking)]
    prober = Prober(options, asking)
    sights: dict[Endpoint, Sight] = {}
    looks = side_by_side(questions, prober.look, asking, parallel=options.parallel, around=prober.connections)
    for sight in looks:
        sights[sight.endpoint] = sight
        asking.report(100 * len(sights) / len(questions))
        if sight.endpoint in wanted:
            yield from [sight.page] if sight.page else []
            yield from sight.names
            yield sight.coverage
    yield from dict.fromkeys(_findings(wanted, sights))
    for endpoint in wanted:
        if endpoint not in sights:
            yield Coverage(subject_of(endpoint), Outcome.NOT_LOOKED_AT, why_not(asking))


def _plain_ones(wanted: Sequence[Endpoint], asking: Asking) -> list[Endpoint]:
    """The endpoints without a name of services that only names came of: those were looked at in another unit.

    They are asked again to compare with, or who comes late would be told apart from who came early.
    """
    plain = dict.fromkeys(replace(endpoint, name=None) for endpoint in wanted)
    return [each for each in plain if each not in wanted and asking.scope.decide(each).touch]


def _findings(wanted: Sequence[Endpoint], sights: Mapping[Endpoint, Sight]) -> Iterator[Finding]:
    for endpoint in wanted:
        sight, plain = sights.get(endpoint), sights.get(replace(endpoint, name=None))
        for finding in sight.findings if sight else ():
            yield (sight.shares(finding, plain) if sight and plain else None) or finding


async def _or_lack(asked: Awaitable[Answer | None], what: str, lacks: list[Lack]) -> Answer | None:
    """An answer, or None and why there is none."""
    try:
        return await asked
    except Unanswered as why:
        lacks.append((f"{what}: {why.note}", why.outcome is Outcome.TIMED_OUT))
        return None


async def _favicon(visit: Visit, page: Reply) -> int | None:
    """The hash of the site's icon: of the one that its page names, where that is of this endpoint."""
    led = (joined(page.url, each) for each in (icons_of(text_of(page)) if is_html(page) else ()))
    url = next((each for each in led if each and visit.is_here(each)), visit.start.join("/favicon.ico"))
    icon = await visit.get(url)
    is_text = is_html(icon) or icon.headers.get("content-type", "").lower().startswith("text/")
    if icon.status != 200 or icon.lack or is_text or not icon.body:
        return None
    return mmh3.hash(base64.encodebytes(icon.body))


async def _git_head(visit: Visit) -> str | None:
    """What `.git/HEAD` holds, where it is there: not where the server has the like at any address."""
    head = await _ref(visit, "/.git/HEAD")
    if head and await _ref(visit, f"/.git-{secrets.token_hex(4)}/HEAD"):
        return None
    return head


async def _ref(visit: Visit, path: str) -> str | None:
    reply = await visit.get(visit.start.join(path), MOST_HEAD)
    is_ref = reply.status == 200 and not reply.lack and HEAD.fullmatch(reply.body)
    return reply.body.decode().strip() if is_ref else None


def _web_page(subject: str, visit: Visit, page: FirstPage, favicon: int | None) -> WebPage:
    last = page.last
    return WebPage(
        subject,
        str(visit.start),
        status=last.status,
        title=title_of(text_of(last)) if is_html(last) else None,
        server=clean(last.headers.get("server", ""), 200) or None,
        redirects=page.redirects,
        favicon=favicon,
        body=hashlib.sha256(last.body).hexdigest(),
    )


def _coverage(subject: str, status: int, requests: int, lacks: Sequence[Lack]) -> Coverage:
    said = [f"HTTP {status}", f"{requests} requests", *(note for note, _ in lacks)]
    is_late = any(late for _, late in lacks)
    return Coverage(subject, Outcome.TIMED_OUT if is_late else Outcome.ANSWERED, clean("; ".join(said), 1000))


TOOL = Tool(
    name="http_probe",
    summary="Asks web services for their first page: status, title, redirects, icon, and what is wrong with them.",
    risk=Risk.SAFE,
    accepts=(
        Intake(
            Endpoint,
            batch=16,
            key=lambda endpoint: (endpoint.address, endpoint.port),
            where=lambda endpoint: endpoint.is_web,
        ),
    ),
    produces=(WebPage, DomainName, Finding),
    options=HttpProbeOptions,
    configure=configure,
    probe=probe,
)
