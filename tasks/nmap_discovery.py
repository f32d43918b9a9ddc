"""Which addresses of a network are alive, asked with nmap's host discovery (`-sn`): no port is scanned.

With raw sockets nmap asks with ICMP, a SYN and an ACK, and on its own network with ARP or neighbour discovery; without
them it connects to ports 80 and 443. What it finds comes back as hosts, which nmap then sweeps in batches.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from footprint.budget import Load
from footprint.errors import InvalidTarget
from footprint.records import Coverage, Host, Network, Outcome, Record
from footprint.scope import Scope
from tasks.effort import Effort, addresses_left
from tasks.nmap_answers import report_of
from tasks.nmap_call import NMAP, TARGETS
from tasks.nmap_effort import discovery
from tasks.nmap_load import load_of_question
from tasks.nmap_options import INTENSITY
from tasks.nmap_xml import Report
from tasks.tool import Batch, Command, Degradation, Found, Intake, Output, Pace, Powers, Risk, Tool


class NmapDiscoveryOptions(BaseModel):
    """How live addresses are looked for. What is not given follows from the policy's intensity."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    technique: Literal["ping", "connect"] = Field(
        default="ping", description="ping: ICMP, ARP, SYN and ACK, needs raw sockets. connect: whole connections."
    )
    timing: int = Field(default=3, ge=2, le=5, description="nmap's timing template (-T).")
    max_rate: int = Field(default=300, ge=1, le=100_000, description="Packets a second of one nmap, at most.")
    max_retries: int = Field(default=2, ge=0, le=10, description="How often an address that is silent is asked again.")


def configure(options: dict[str, Any], pace: Pace) -> NmapDiscoveryOptions:
    """Complete the policy's options with what its intensity means here; raises pydantic's `ValidationError`."""
    gait = INTENSITY[pace.intensity]
    paced = {"timing": gait.timing, "max_rate": gait.max_rate, "max_retries": gait.max_retries}
    return NmapDiscoveryOptions.model_validate({**paced, **options})


def load(batch: Batch, options: NmapDiscoveryOptions) -> Load:
    """What a unit sends one destination: some probes to every address."""
    return load_of_question(batch, 0, options.max_rate)


def command(batch: Batch, options: NmapDiscoveryOptions) -> Command:
    """Ask who is there in the networks of a batch, which travel in a file; they are of one address family.

    Raises `InvalidTarget` for a record that is no network.
    """
    aims = [_aim(record) for record in batch]
    raw = "--privileged" if options.technique == "ping" else "--unprivileged"
    family = ("-6",) if aims[0].version == 6 else ()
    asked = (raw, "-sn", "--max-retries", str(options.max_retries), *_rates(options, aims))
    reporting = ("--stats-every", "1s", "-oX", "-", "-iL", TARGETS)
    argv = ("nmap", f"-T{options.timing}", "-n", *family, *asked, *reporting)
    return Command(argv, {TARGETS: "".join(f"{aim}\n" for aim in aims)})


def _aim(record: Record) -> IPv4Network | IPv6Network:
    if not isinstance(record, Network):
        raise InvalidTarget("nmap_discovery: takes networks only")
    try:
        return ip_network(record.cidr)
    except ValueError:
        raise InvalidTarget("nmap_discovery: a target of this unit is no network") from None


def _rates(options: NmapDiscoveryOptions, aims: list[IPv4Network | IPv6Network]) -> tuple[str, ...]:
    """Packets a second, from and to: without a least rate nmap slows down before silence, as most of a network is."""
    if all(aim.is_loopback for aim in aims):
        return ()
    return ("--max-rate", str(options.max_rate), "--min-rate", str(max(1, options.max_rate // 2)))


def parse(output: Output, batch: Batch) -> Iterator[Found]:
    """The live hosts of a batch, and exactly one coverage for each network. Raises as `nmap_answers.report_of`."""
    report = report_of(output)
    for record in batch:
        if isinstance(record, Network):
            yield from _discovered(record, report)


def _discovered(target: Network, report: Report) -> Iterator[Found]:
    network = ip_network(target.cidr)
    up = {ip_address(address) for host in report.hosts if host.is_up for address in host.addresses}
    alive = sorted(address for address in up if address.version == network.version and address in network)
    yield from (Host(str(address)) for address in alive)
    note = f"{len(alive)} of {network.num_addresses} addresses answered"
    if not report.is_complete or report.error:
        yield Coverage(target.cidr, Outcome.NOT_LOOKED_AT, f"nmap ended before it was through: {note}")
    elif not report.total:
        yield Coverage(target.cidr, Outcome.NOT_LOOKED_AT, "nmap did not take it as a target")
    else:
        yield Coverage(target.cidr, Outcome.ANSWERED if alive else Outcome.SILENT, note)


_PROGRESS = re.compile(r'<taskprogress task="[^"]*Ping Scan"[^>]* percent="(\d{1,3}(?:\.\d+)?)"')


def progress(text: str) -> float | None:
    """The last percentage in a piece of nmap's output."""
    told = _PROGRESS.findall(text)
    return min(float(told[-1]), 100.0) if told else None


def effort(batch: Batch, options: NmapDiscoveryOptions, scope: Scope) -> Effort:
    """Packets: a few for each address."""
    rate = None if all(_aim(record).is_loopback for record in batch) else options.max_rate
    return discovery(addresses_left(batch, scope), options.max_retries, rate)


def degrade(options: NmapDiscoveryOptions, powers: Powers) -> tuple[NmapDiscoveryOptions, Degradation | None]:
    """Connect where raw sockets are not to be had: a host that has ports 80 and 443 filtered is then missed."""
    if powers.raw_sockets or options.technique == "connect":
        return options, None
    lesser = options.model_copy(update={"technique": "connect"})
    reason = powers.reason or "raw sockets are not to be had"
    return lesser, Degradation("ICMP and ARP", "connecting to ports 80 and 443", reason)


TOOL = Tool(
    name="nmap_discovery",
    summary="Finds the live addresses of networks with nmap's host discovery, without a port scan.",
    risk=Risk.SAFE,
    accepts=(
        Intake(
            Network, batch=1, key=lambda network: network.cidr, lane=lambda network: "6" if ":" in network.cidr else "4"
        ),
    ),
    produces=(Host,),
    options=NmapDiscoveryOptions,
    configure=configure,
    effort=effort,
    binary=NMAP,
    command=command,
    parse=parse,
    progress=progress,
    degrade=degrade,
    load=load,
    counts_for="nmap",
    exclude_flag="--excludefile",
)
