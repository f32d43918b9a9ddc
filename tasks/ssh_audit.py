"""Which algorithms SSH services offer that nobody should use any more, and which software they run.

Asked with ssh-audit, some ten connections to each service; its rate test, another 38 at once, is left out. It takes
what a hostile service says into its text unquoted, so a unit is about one address: none can speak for another.
"""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from footprint.budget import Load
from footprint.errors import InvalidTarget
from footprint.records import Finding, Record, Service, Technology
from footprint.scope import Scope
from tasks.bounds import bounded
from tasks.effort import Effort, Sends
from tasks.ssh_answers import OPTIONS, parse
from tasks.tool import Batch, Binary, Command, Intake, Pace, Risk, Tool

TARGETS = "targets"
MEGABYTES = 400
"""A service that never ends its greeting fills what there is."""

CONNECTIONS = 10
"""To one service, about."""
PACKETS = 8
"""What a service is sent in all: measured, OpenSSH 9.2 in a namespace. It takes less than a second."""

PACES = (1, 1, 2, 4, 8, 8)
"""Services at once, for the intensities 0 to 5."""


class SshAuditOptions(BaseModel):
    """How SSH services are looked at."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    parallel: int = Field(default=4, ge=1, le=32, description="Services of one address at once.")
    timeout: int = Field(default=5, ge=1, le=60, description="Seconds to wait for a connection and for each answer.")
    host_timeout: int = Field(
        default=120, ge=5, le=86400, description="Seconds after which an address that holds things up is given up."
    )
    strict: bool = Field(
        default=False,
        description="Report also what is advised against but widely in use: NIST curves, 2048 bits, no post-quantum.",
    )


def configure(options: dict[str, Any], pace: Pace) -> SshAuditOptions:
    """Complete the policy's options with what its intensity means here; raises pydantic's `ValidationError`."""
    return SshAuditOptions.model_validate({"parallel": PACES[pace.intensity], **options})


def load(batch: Batch, options: SshAuditOptions) -> Load:
    """One short conversation with each service; ssh-audit cannot be told to leave time between them."""
    packets, connections = float(PACKETS * len(batch)), min(options.parallel, len(batch))
    return Load(packets, packets, connections, connections)


def command(batch: Batch, options: SshAuditOptions) -> Command:
    """Ask what services offer. Raises `InvalidTarget` for a record that is no service at a sound address."""
    lines = "".join(f"{_place(record)}\n" for record in batch)
    asked = ("--skip-rate-test", "-t", str(options.timeout), "--threads", str(options.parallel), "-T", TARGETS)
    # What it wrote before it was ended counts, so none of it may be held back.
    asking = ("env", "PYTHONUNBUFFERED=1", "ssh-audit", "-j", "-n", *asked)
    argv = bounded(*asking, seconds=options.host_timeout, megabytes=MEGABYTES)
    return Command(argv, {TARGETS: lines, OPTIONS: options.model_dump_json()}, keeps=(OPTIONS,))


def effort(batch: Batch, options: SshAuditOptions, scope: Scope) -> Effort:
    """Connections: one shows what a service offers, the others its keys and groups."""
    return Effort(Sends.CONNECTIONS, len(batch), CONNECTIONS * len(batch))


def _place(record: Record) -> str:
    if not isinstance(record, Service):
        raise InvalidTarget("ssh_audit: takes services only")
    try:
        address = ip_address(record.address)
    except ValueError:
        raise InvalidTarget("ssh_audit: a target of this unit is no address") from None
    if not 0 < record.port < 65536:
        raise InvalidTarget("ssh_audit: a target of this unit has no port")
    return f"[{address}]:{record.port}" if address.version == 6 else f"{address}:{record.port}"


TOOL = Tool(
    name="ssh_audit",
    summary="Finds weak key exchanges, host keys, ciphers and MACs of SSH services, and their software.",
    risk=Risk.SAFE,
    accepts=(
        Intake(
            Service,
            batch=8,
            key=lambda service: (service.address, service.port),
            lane=lambda service: service.address,
            where=lambda service: service.name == "ssh" and service.protocol == "tcp",
        ),
    ),
    produces=(Technology, Finding),
    options=SshAuditOptions,
    configure=configure,
    effort=effort,
    binary=Binary(
        name="ssh-audit",
        version_argv=("ssh-audit", "--help"),
        version_pattern=re.compile(r"ssh-audit v(\d+(?:\.\d+)+)"),
        minimum=(3, 0),
        below=(4,),
        install="pip install ssh-audit",
    ),
    command=command,
    parse=parse,
    load=load,
)
