"""Which software web services are made with, as their first pages and headers give it away.

Asked with WhatWeb, one request to each service and no redirect followed; more where a recognised product can be told
closer (`aggression` 3). A service is asked by its name at the one address that was resolved for it: see
`whatweb_guard`, without which WhatWeb is given no targets at all.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from footprint.budget import Load
from footprint.records import Endpoint, Technology
from footprint.scope import Scope
from tasks.bounds import bounded
from tasks.effort import Effort, Sends
from tasks.endpoints import sound
from tasks.tool import Batch, Binary, Command, Intake, Pace, Risk, Tool
from tasks.whatweb_answers import ERRORS, parse
from tasks.whatweb_guard import GUARD, PLACES, SOURCE, TARGETS

BATCH = 8
"""A start takes 0.4 s of one core, a page 0.1 s, all of which Ruby does on one core: small enough to spread."""
PAGE_BYTES = 256 * 1024
"""What is read of a page; products give themselves away in its head."""
MEGABYTES = 500
PACKETS = {1: 8, 3: 40}
"""What a service is sent in all, by `aggression`: measured, nginx with TLS, for 1; an allowance for 3."""
AFTERWARDS = 30
"""Seconds that all targets together may need beyond the time of one: they are asked at once, and read in turn."""


class WhatWebOptions(BaseModel):
    """How web services are looked at."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    aggression: Literal[1, 3] = Field(
        default=1, description="1: one request a service. 3: more, where a product was recognised."
    )
    timeout: int = Field(default=5, ge=1, le=60, description="Seconds to wait for a connection and for each answer.")
    host_timeout: int = Field(default=60, ge=5, le=86400, description="Seconds after which a service is given up.")


def configure(options: dict[str, Any], pace: Pace) -> WhatWebOptions:
    """Complete the policy's options with what its intensity means here; raises pydantic's `ValidationError`."""
    return WhatWebOptions.model_validate({"aggression": 3 if pace.intensity >= 4 else 1, **options})


def load(batch: Batch, options: WhatWebOptions) -> Load:
    """All services at once: WhatWeb cannot be told to leave time between them."""
    packets = float(PACKETS[options.aggression] * len(batch))
    return Load(packets, packets, len(batch), len(batch))


def command(batch: Batch, options: WhatWebOptions) -> Command:
    """Ask for first pages. Raises `InvalidTarget` for a record that is no endpoint at a sound address and name."""
    places = "".join(f"{line}\n" for line in _places(batch))
    patience = ("--open-timeout", str(options.timeout), "--read-timeout", str(options.timeout))
    asked = ("--follow-redirect", "never", "--header", "Accept-Encoding:identity", "--max-threads", str(BATCH))
    told = ("-q", "--colour=never", "--log-json=-", f"--log-errors={ERRORS}")
    bounds = (f"TARGET_SECONDS={options.host_timeout}", f"TARGET_BYTES={PAGE_BYTES}")
    guarded = ("-p", f"+{GUARD}", "--input-file", TARGETS)
    argv = ("env", *bounds, "whatweb", "-a", str(options.aggression), *told, *patience, *asked, *guarded)
    return Command(
        bounded(*argv, seconds=options.host_timeout + AFTERWARDS, megabytes=MEGABYTES),
        {PLACES: places, GUARD: SOURCE},
        keeps=(ERRORS,),
    )


def _places(batch: Batch) -> Iterator[str]:
    """URL and address of each; its number in the batch tells one from another of the same URL."""
    for number, record in enumerate(batch):
        endpoint = sound(record, "whatweb")
        yield f"{endpoint.url}#{number} {endpoint.address}"


def effort(batch: Batch, options: WhatWebOptions, scope: Scope) -> Effort:
    """Requests: one for each service, and with aggression 3 as many more as its products ask for."""
    return Effort(Sends.REQUESTS, len(batch), len(batch) if options.aggression == 1 else None)


def risk_with(options: WhatWebOptions) -> Risk:
    """More requests, for pages that nothing links to, are not what every visitor does."""
    return Risk.INTRUSIVE if options.aggression == 3 else Risk.SAFE


TOOL = Tool(
    name="whatweb",
    summary="Recognises the software of web services, with its versions, by their pages and headers (WhatWeb).",
    risk=Risk.SAFE,
    accepts=(Intake(Endpoint, batch=BATCH, key=lambda endpoint: endpoint, where=lambda endpoint: endpoint.is_web),),
    produces=(Technology,),
    options=WhatWebOptions,
    configure=configure,
    effort=effort,
    binary=Binary(
        name="whatweb",
        version_argv=("whatweb", "--version"),
        version_pattern=re.compile(r"WhatWeb version (\d+(?:\.\d+)+)"),
        minimum=(0, 5, 5),
        below=(0, 6),
        install="apt-get install whatweb",
    ),
    command=command,
    parse=parse,
    risk_with=risk_with,
    load=load,
)
