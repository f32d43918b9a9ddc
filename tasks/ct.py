"""Which names a domain's certificates were issued for: asked of crt.sh, a search over certificate-transparency logs.

Every publicly trusted certificate is in those logs (RFC 6962), expired ones too. The service is often slow or busy,
so it is asked again with patience. Nothing is sent to the target.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from footprint.errors import InvalidTarget, LookupFailed, OutputNotUnderstood, OutputTooLarge, PulsarError
from footprint.records import Coverage, DomainName, Outcome
from footprint.scope import Scope
from footprint.target import parse_name
from tasks.effort import Effort, Sends
from tasks.outside import Manners, Outside, side_by_side, why_not
from tasks.tool import Asking, Batch, Found, Intake, Pace, Risk, Tool

PAUSES = (30, 20, 10, 5, 2, 1)
"""Seconds first waited before a busy service is asked again, for the intensities 0 to 5."""
MOST_BYTES = 32 << 20


class CtOptions(BaseModel):
    """How certificate logs are searched."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    include_expired: bool = Field(default=True, description="Take the names of expired certificates too.")
    most: int = Field(default=20_000, ge=1, le=200_000, description="Names taken of one domain.")
    timeout: float = Field(default=120, ge=0.1, le=600, description="Seconds the service has for one whole answer.")
    tries: int = Field(default=4, ge=1, le=10, description="How often it is asked where it is busy or away.")
    pause: float = Field(default=5, ge=0.01, le=60, description="Seconds before the second attempt; doubled each time.")


@dataclass(frozen=True, slots=True)
class Search:
    """What the logs hold of a domain. `foreign` counts names outside of it, `malformed` those that are none."""

    root: str
    names: tuple[str, ...]
    certificates: int
    foreign: int
    malformed: int
    is_whole: bool = True


def configure(options: dict[str, Any], pace: Pace) -> CtOptions:
    """Complete the policy's options with what its intensity means here."""
    return CtOptions.model_validate({"pause": PAUSES[pace.intensity], **options})


def effort(batch: Batch, options: CtOptions, scope: Scope) -> Effort:
    """Requests: one, and another where the first answer is too large."""
    return Effort(Sends.REQUESTS, len(batch), len(batch) * (2 if options.include_expired else 1))


def probe(batch: Batch, options: CtOptions, asking: Asking) -> Iterator[Found]:
    """Search for every domain; yield the names below it, its coverage last. Raises `UnitError`s of the search."""
    waiting = dict.fromkeys(record.name for record in batch if isinstance(record, DomainName))
    total, failure = len(waiting), None
    manners = Manners(options.timeout, MOST_BYTES, tries=options.tries, pause=options.pause)
    outside = Outside("ct", asking.settings, manners)

    async def search(root: str) -> Search:
        return await _search(outside, asking.settings.ct_url, root, options)

    try:
        for result in side_by_side(tuple(waiting), search, asking, parallel=1, around=outside):
            del waiting[result.root]
            for name in result.names[: options.most]:
                yield DomainName(name)
            yield _coverage(result, options)
            asking.report(100 * (total - len(waiting)) / total)
    except PulsarError as error:
        failure = error
    for name in waiting:
        yield Coverage(name, Outcome.NOT_LOOKED_AT, failure.detail if failure else why_not(asking))
    if failure:
        raise failure


async def _search(outside: Outside, url: str, root: str, options: CtOptions) -> Search:
    """Ask for all certificates, and for the valid ones alone where all are too many."""
    asked = {"q": f"%.{root}", "output": "json"}
    valid = {**asked, "exclude": "expired"}
    if not options.include_expired:
        return await _ask(outside, url, root, valid)
    try:
        return await _ask(outside, url, root, asked)
    except OutputTooLarge:
        return await _ask(outside, url, root, valid, is_whole=False)


async def _ask(outside: Outside, url: str, root: str, params: dict[str, str], *, is_whole: bool = True) -> Search:
    reply = await outside.get(url, params)
    if reply.status != 200:
        raise LookupFailed(
            f"ct: the search answered {reply.status}", hint="try later, or name another search in PULSAR_CT_URL"
        )
    return read_search(reply.json("ct"), root, is_whole=is_whole)


def read_search(document: Any, root: str, *, is_whole: bool = True) -> Search:
    """Names below `root` in crt.sh's answer: a list of certificates, the names of each as lines of `name_value`.

    Raises `OutputNotUnderstood`.
    """
    if not isinstance(document, list) or not all(isinstance(entry, dict) for entry in document):
        raise OutputNotUnderstood("ct: the search's answer is not a list of certificates", hint="see PULSAR_CT_URL")
    names: dict[str, None] = {}
    foreign: set[str] = set()
    malformed: set[str] = set()
    for line in {line for entry in document for line in str(entry.get("name_value") or "").splitlines()}:
        try:
            name = _name_in(line)
        except InvalidTarget:
            malformed.add(line)
            continue
        if name.endswith(f".{root}"):
            names[name] = None
        elif name != root:
            foreign.add(name)
    return Search(root, tuple(sorted(names)), len(document), len(foreign), len(malformed), is_whole)


def _name_in(line: str) -> str:
    """The name of a line, that of a wildcard being what it stands below. Raises `InvalidTarget`."""
    text = line.strip()
    while text.startswith("*."):
        text = text[2:]
    return parse_name(text)


def _coverage(result: Search, options: CtOptions) -> Coverage:
    which = "certificates" if options.include_expired and result.is_whole else "certificates that have not expired"
    said = [f"{len(result.names)} names in {result.certificates} {which}"]
    if not result.is_whole:
        said.append("the answer for all certificates was too large")
    if len(result.names) > options.most:
        said.append(f"only {options.most} of them were taken")
    if result.foreign:
        said.append(f"{result.foreign} names outside of the domain were dropped")
    if result.malformed:
        said.append(f"{result.malformed} entries that are no names were dropped")
    is_sample = len(result.names) > options.most or not result.is_whole
    found = Outcome.SAMPLED if is_sample else Outcome.ANSWERED
    return Coverage(result.root, found if result.names else Outcome.SILENT, "; ".join(said))


TOOL = Tool(
    name="ct",
    summary="Finds names in certificate-transparency logs (crt.sh).",
    risk=Risk.PASSIVE,
    accepts=(Intake(DomainName, batch=1, key=lambda record: record.name, roots_only=True),),
    produces=(DomainName,),
    options=CtOptions,
    configure=configure,
    effort=effort,
    probe=probe,
)
