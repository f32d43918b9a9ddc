"""Which known weaknesses web services show, by templates that somebody wrote for each.

Asked with ProjectDiscovery's nuclei 3 and the templates of one directory (`PULSAR_NUCLEI_TEMPLATES`), of which only
those over HTTP are taken: none that runs code, a browser or an interaction server. A unit is about one address: its
names are told to nuclei in a hosts file, so that none of them is resolved. Redirects are not followed. A template that
names another host of its own accord is not kept from it, but from networks inside (`-lna`) where the target is outside.
"""

from __future__ import annotations

import re
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from footprint.errors import FeedMissing, InvalidTarget
from footprint.records import Endpoint, Finding
from footprint.scope import Scope
from footprint.settings import Settings
from footprint.store import Store
from tasks.bounds import bounded
from tasks.effort import Effort, Sends
from tasks.endpoints import sound
from tasks.nuclei_answers import FOUND, PROBE, parse, progress
from tasks.tool import Batch, Binary, Command, Intake, Pace, Risk, Tool

BATCH = 8
"""A start with ten thousand templates takes seconds; endpoints of one address are rarely more."""
TARGETS, HOSTS, RESOLVERS, ANSWERS = "targets", "hosts", "resolvers", "answers.yaml"
NOBODY = "127.0.0.1:1\n"
"""Asked for names that are in no hosts file, in place of the public resolvers that are built in."""
BODY_BYTES = 1024 * 1024
MEGABYTES, GO_MEGABYTES = 3000, 2000
"""What it may take, and what Go's collector aims at: ten thousand templates take some hundred."""
REMEDY = "set PULSAR_NUCLEI_TEMPLATES to a copy of github.com/projectdiscovery/nuclei-templates, or to your own"

Level = Literal["info", "low", "medium", "high", "critical"]
Tag = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]*$", max_length=40)]


class Gait(NamedTuple):
    """What an intensity means: requests a second, and templates at once."""

    rate: int
    parallel: int


INTENSITY = (Gait(5, 2), Gait(20, 5), Gait(50, 10), Gait(150, 25), Gait(500, 50), Gait(1_000, 100))


class NucleiOptions(BaseModel):
    """Which templates are tried, and how hard."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    severities: tuple[Level, ...] = Field(
        default=("low", "medium", "high", "critical"),
        min_length=1,
        max_length=5,
        description="Severities of the templates that are tried.",
    )
    tags: tuple[Tag, ...] = Field(default=(), max_length=100, description="Only templates with one of these tags.")
    exclude_tags: tuple[Tag, ...] = Field(
        default=("dos", "fuzz", "fuzzing", "intrusive", "bruteforce", "brute-force", "default-login"),
        max_length=100,
        description="No templates with one of these tags: by default those that do harm, guess or log in.",
    )
    rate: int = Field(default=150, ge=1, le=5_000, description="Requests a second to the services of one address.")
    parallel: int = Field(default=25, ge=1, le=500, description="Templates at once.")
    timeout: int = Field(default=5, ge=1, le=60, description="Seconds to wait for each answer.")
    retries: int = Field(default=1, ge=0, le=5, description="How often a request that failed is sent again.")
    host_timeout: int = Field(default=1800, ge=5, le=86400, description="Seconds after which an address is given up.")
    templates: str = Field(
        default="", max_length=4096, description="Their directory: set by the worker, from PULSAR_NUCLEI_TEMPLATES."
    )


def configure(options: dict[str, Any], pace: Pace) -> NucleiOptions:
    """Complete the policy's options with what its intensity means here; raises pydantic's `ValidationError`."""
    return NucleiOptions.model_validate({**INTENSITY[pace.intensity]._asdict(), **options})


def effort(batch: Batch, options: NucleiOptions, scope: Scope) -> Effort:
    """Requests: one at least; as many more as the templates here make."""
    return Effort(Sends.REQUESTS, len(batch), None, options.rate)


def check(settings: Settings, store: Store | None) -> None:
    """Raise `FeedMissing` where there are no templates."""
    _templates(settings)


def installed(options: NucleiOptions, settings: Settings, version: str) -> NucleiOptions:
    """Options with the templates of this installation, whatever the policy says. Raises `FeedMissing`."""
    return options.model_copy(update={"templates": str(_templates(settings))})


def _templates(settings: Settings) -> Path:
    if settings.nuclei_templates is None:
        raise FeedMissing("nuclei: it has no templates on this worker", hint=REMEDY)
    directory = settings.nuclei_templates.expanduser().absolute()
    if not directory.is_dir() or next(directory.rglob("*.yaml"), None) is None:
        raise FeedMissing("nuclei: its directory of templates has none", hint=REMEDY)
    if "," in str(directory):
        raise FeedMissing("nuclei: it takes no directory with a comma in its name", hint=REMEDY)
    return directory


def command(batch: Batch, options: NucleiOptions) -> Command:
    """Try templates on endpoints of one address. Raises `InvalidTarget` for what is no endpoint, or of two."""
    endpoints = [sound(record, "nuclei") for record in batch]
    addresses = {endpoint.address for endpoint in endpoints}
    if len(addresses) > 1:
        raise InvalidTarget("nuclei: the targets of this unit are of several addresses")
    files = {
        TARGETS: "".join(f"{endpoint.url}\n" for endpoint in endpoints),
        HOSTS: "".join(f"{endpoint.address} {endpoint.name}\n" for endpoint in endpoints if endpoint.name),
        RESOLVERS: NOBODY,
        ANSWERS: _probe(options),
    }
    settings = ("env", f"HOSTS_PATH={HOSTS}", f"GOMEMLIMIT={GO_MEGABYTES}MiB")
    # Its progress goes to its errors, and is watched in its output; what it finds goes to a file.
    argv = (*settings, "sh", "-c", 'exec "$@" 2>&1', "sh", "nuclei", *_what(options), *_how(options))
    if all(ip_address(address).is_global for address in addresses):
        argv = (*argv, "-lna")
    return Command(bounded(*argv, seconds=options.host_timeout, megabytes=MEGABYTES), files, keeps=(FOUND,))


def _what(options: NucleiOptions) -> tuple[str, ...]:
    """Which templates, of what there may be in the directory."""
    chosen: tuple[str, ...] = ("-l", TARGETS, "-t", ANSWERS, "-t", options.templates, "-pt", "http")
    chosen = (*chosen, "-s", ",".join(options.severities))
    if options.tags:
        chosen = (*chosen, "-tags", ",".join(options.tags))
    return (*chosen, "-etags", ",".join(options.exclude_tags)) if options.exclude_tags else chosen


def _how(options: NucleiOptions) -> tuple[str, ...]:
    told = ("-jsonl", "-o", FOUND, "-or", "-ot", "-nc", "-stats", "-sj", "-si", "2")
    alone = ("-duc", "-ni", "-dr", "-nh", "-no-stdin", "-r", RESOLVERS)
    pace = ("-rl", str(options.rate), "-c", str(options.parallel), "-bs", str(BATCH), "-timeout", str(options.timeout))
    return (*told, *alone, *pace, "-retries", str(options.retries), "-rsr", str(BODY_BYTES))


def _probe(options: NucleiOptions) -> str:
    """A template that any answer matches, and no filter leaves out: nuclei does not say who answered."""
    tags = f", tags: {options.tags[0]}" if options.tags else ""
    return (
        f"id: {PROBE}\n"
        f"info: {{name: It answers, author: pulsar, severity: {options.severities[0]}{tags}}}\n"
        "http:\n"
        "  - method: GET\n"
        "    path: ['{{BaseURL}}']\n"
        "    matchers: [{type: dsl, dsl: ['status_code > 0']}]\n"
        "    extractors: [{type: dsl, dsl: ['status_code']}]\n"
    )


TOOL = Tool(
    name="nuclei",
    summary="Tries templates of known weaknesses on web services (ProjectDiscovery's nuclei).",
    risk=Risk.INTRUSIVE,
    accepts=(
        Intake(
            Endpoint,
            batch=BATCH,
            key=lambda endpoint: endpoint,
            lane=lambda endpoint: endpoint.address,
            where=lambda endpoint: endpoint.is_web,
        ),
    ),
    produces=(Finding,),
    options=NucleiOptions,
    configure=configure,
    effort=effort,
    binary=Binary(
        name="nuclei",
        version_argv=("nuclei", "-version"),
        version_pattern=re.compile(r"Nuclei Engine Version: v(\d+(?:\.\d+)+)"),
        minimum=(3, 4, 10),
        below=(3, 5),
        install="make tools (needs Go), or a release of github.com/projectdiscovery/nuclei",
    ),
    command=command,
    parse=parse,
    progress=progress,
    installed=installed,
    own_options=("templates",),
    check=check,
)
