"""Which UDP ports answer, and what speaks on them.

A unit of its own, so that it holds up nothing that TCP finds: UDP is silence, and silence is waited for. Ports come
first here too, and versions are asked of those that answered: of a silent one nmap asks everything that it knows, which
takes 37 s a port. Services travel by port, so that no host of a unit is asked about another one's.

A port is open where it answers, closed where an ICMP message says so, and otherwise anything: no application may
know what nmap sent, or a firewall may have dropped it. It is never said to be closed then. Linux sends one such ICMP
message a second and host (after a burst of six); the least rate keeps nmap from waiting for the others, so that most
closed ports count as silent and the open ones are found in seconds. Needs raw sockets; nothing replaces them.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from pydantic import Field, field_validator

from footprint.budget import Load
from footprint.errors import NotPrivileged
from footprint.policy import PortRange
from footprint.records import Finding, Host, Service, Technology
from footprint.scope import Scope
from tasks.effort import Effort
from tasks.nmap_answers import parse_udp
from tasks.nmap_call import NMAP, PATIENCE, Paced, aims_of, are_local, asking, family_of, march, progress, recognising
from tasks.nmap_effort import effort_of
from tasks.nmap_load import affordable, at_rate, load_of_question, packets_a_service
from tasks.nmap_options import port_count, ports_asked
from tasks.nmap_scripts import UdpScript, running
from tasks.tool import Batch, Command, Degradation, Intake, Pace, Powers, Risk, Tool

TELLING = (
    "53,67,69,111,123,137,161,177,389,427,443,500,520,623,1194,1434,1604,1645,1701,1812,1900,2049,3283,3391,3478,"
    "4500,5060,5351,5353,5632,5683,10001,11211,17185,27015,64738"
)
"""Ports whose protocols nmap speaks, so that a service that is there answers."""
MOST_PORTS = 1000


class Gait(NamedTuple):
    """What an intensity means: nmap's timing template, packets a second, version intensity, scripts."""

    timing: int
    max_rate: int
    version_intensity: int
    scripts: tuple[UdpScript, ...]


INTENSITY = (
    Gait(3, 5, 0, ()),
    Gait(3, 20, 2, ()),
    Gait(3, 100, 5, ()),
    Gait(4, 500, 7, ("safe",)),
    Gait(4, 1_000, 7, ("safe",)),
    Gait(5, 5_000, 9, ("safe",)),
)


class NmapUdpOptions(Paced):
    """How nmap looks at UDP. What is not given follows from the policy's intensity and time-out."""

    ports: str = Field(
        default=TELLING,
        max_length=2000,
        description=f"top:N, or ports and ranges such as 53,123,161-162; {MOST_PORTS} at most.",
    )
    max_retries: int = Field(default=1, ge=0, le=10, description="How often a port that is silent is asked again.")
    scripts: tuple[UdpScript, ...] = Field(
        default=("safe",), description="Scripts to run on what was found. safe: all of them."
    )

    @field_validator("ports")
    @classmethod
    def _ports(cls, value: str) -> str:
        if not PortRange.fullmatch(value) or not 1 <= port_count(value) <= MOST_PORTS:
            raise ValueError(f"UDP ports are 'top:N', or ports and ranges such as 53,123,161-162: {MOST_PORTS} at most")
        return value


def configure(options: dict[str, Any], pace: Pace) -> NmapUdpOptions:
    """Complete the policy's options with what its intensity means here; raises pydantic's `ValidationError`."""
    patience = max(1, int(pace.unit_timeout * PATIENCE))
    chosen = NmapUdpOptions.model_validate({**INTENSITY[pace.intensity]._asdict(), "host_timeout": patience, **options})
    versions = affordable(chosen.version_intensity, pace.budget, has_scripts=bool(chosen.scripts))
    patient = {"host_timeout": min(chosen.host_timeout, patience), "version_intensity": versions}
    return chosen.model_copy(update=patient)


def command(batch: Batch, options: NmapUdpOptions) -> Command:
    """Ask of hosts which UDP ports answer, of services what they are; a batch is of one kind.

    Targets travel in a file. Raises `InvalidTarget` for a record that is no address.
    """
    aims = aims_of(batch)
    asked, count = _asked_ports(batch, options)
    retries = ("--max-retries", str(options.max_retries))
    patient = recognising(options, len(batch)) if isinstance(batch[0], Service) else options
    pace = march(len(aims), count, patient, is_local=are_local(aims))
    return asking(aims, ("--privileged", "-Pn", "-sU", *asked, *retries, *pace), options)


def _asked_ports(batch: Batch, options: NmapUdpOptions) -> tuple[tuple[str, ...], int]:
    found = sorted({record.port for record in batch if isinstance(record, Service)})
    if not found:
        return ports_asked(options.ports)
    versions = ("-sV", "--version-intensity", str(options.version_intensity))
    return (*versions, *running("udp", options.scripts), "-p", ",".join(map(str, found))), len(found)


def effort(batch: Batch, options: NmapUdpOptions, scope: Scope) -> Effort:
    """Packets: of hosts by their ports, of services by how long nmap guesses, and what scripts ask besides."""
    return effort_of(batch, port_count(options.ports), options, has_scripts=bool(options.scripts))


def load(batch: Batch, options: NmapUdpOptions) -> Load:
    """What a unit sends one destination."""
    a_service = packets_a_service(options.version_intensity, has_scripts=bool(options.scripts))
    return load_of_question(batch, port_count(options.ports), options.max_rate, a_service)


def degrade(options: NmapUdpOptions, powers: Powers) -> tuple[NmapUdpOptions, Degradation | None]:
    """Nothing replaces raw sockets here. Raises `NotPrivileged` where there are none."""
    if powers.raw_sockets:
        return options, None
    raise NotPrivileged(
        f"nmap_udp: UDP ports were not looked at: {powers.reason or 'raw sockets are not to be had'}",
        hint="run the worker as root, or with ambient CAP_NET_RAW and CAP_NET_ADMIN",
    )


TOOL = Tool(
    name="nmap_udp",
    summary="Finds UDP ports that answer, and the product and version that answers there.",
    risk=Risk.SAFE,
    accepts=(
        Intake(Host, batch=64, key=lambda host: host.address, lane=family_of),
        Intake(
            Service,
            batch=8,
            key=lambda service: service.address,
            lane=lambda service: f"{family_of(service)}/{service.port}",
            where=lambda service: service.protocol == "udp",
        ),
    ),
    produces=(Host, Service, Technology, Finding),
    options=NmapUdpOptions,
    configure=configure,
    effort=effort,
    binary=NMAP,
    command=command,
    parse=parse_udp,
    progress=progress,
    degrade=degrade,
    load=load,
    at_rate=at_rate,
    exclude_flag="--excludefile",
)
