"""Which TCP ports of addresses are open, and what answers there.

Two questions, each its own call: which ports are open (hosts), what speaks on them (services). The ports come first
and versions are asked of open ones only, since a version takes seconds of waiting and a port takes none.

Needs raw sockets (root, or CAP_NET_RAW with `--privileged`) for SYN scans, and falls back to connecting without.
nmap exits 0 for hosts that timed out, for targets it did not take and for hosts that are down: see nmap_answers.py.
`--open` is not used: with it, a host whose every port is closed is not in the report at all.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network, ip_network
from math import ceil
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, field_validator

from footprint.budget import INTENSITIES, Load
from footprint.errors import InvalidTarget, OutputNotUnderstood
from footprint.policy import PortRange
from footprint.records import Host, Record, Service
from footprint.text import clean
from tasks.nmap_answers import parse
from tasks.nmap_load import at_rate, load_of_question
from tasks.nmap_xml import read
from tasks.tool import Batch, Binary, Command, Degradation, Intake, Output, Pace, Powers, Risk, Tool

TARGETS = "targets"
EVERY_PORT = 65535

PATIENCE = 0.85
"""The part of a unit's time in which nmap gives slow hosts up, so that it ends before it is ended."""
MARGIN = 0.8
"""The part of a host time-out that a sweep may be planned to take."""
PORTS_AT_ONCE = 16 * EVERY_PORT
"""Ports of one host group: nmap keeps about 120 bytes for each (64 hosts with all ports were 508 MB)."""


class Gait(NamedTuple):
    """What an intensity means: nmap's timing template, packets a second, retries, version intensity."""

    timing: int
    max_rate: int
    max_retries: int
    version_intensity: int


# Templates 0 to 2 wait minutes or send one packet at a time, and no unit would end: the rate is what is gentle.
INTENSITY = tuple(
    Gait(timing, int(INTENSITIES[number].packets), max_retries, version_intensity)
    for number, (timing, max_retries, version_intensity) in enumerate(
        ((3, 2, 0), (3, 2, 2), (3, 2, 5), (4, 2, 7), (4, 1, 7), (5, 1, 9))
    )
)


class NmapOptions(BaseModel):
    """How nmap looks. What is not given follows from the policy's intensity, ports and time-out."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    technique: Literal["syn", "connect"] = Field(
        default="syn", description="syn: half-open, needs raw sockets. connect: whole connections, needs nothing."
    )
    timing: int = Field(default=3, ge=2, le=5, description="nmap's timing template (-T).")
    max_rate: int = Field(default=300, ge=1, le=100_000, description="Packets a second of one nmap, at most.")
    min_rate: int = Field(
        default=1, ge=1, le=100_000, description="Packets a second at least; half of max_rate where that is more."
    )
    max_retries: int = Field(default=2, ge=0, le=10, description="How often a port that is silent is asked again.")
    host_timeout: int = Field(
        default=3060,
        ge=1,
        le=86400,
        description="Seconds after which a host is given up; always less than the policy's unit_timeout.",
    )
    version_intensity: int = Field(default=7, ge=0, le=9, description="0: likely probes only. 9: every probe.")
    own_ports: tuple[Annotated[int, Field(ge=1, le=65535)], ...] = Field(
        default=(), description="Ports that are not looked at on loopback: set by the worker that runs the scan."
    )
    ports: str = Field(
        default="top:1000", max_length=2000, description="all, top:N, or ports and ranges such as 22,80,8000-8100."
    )

    @field_validator("ports")
    @classmethod
    def _ports(cls, value: str) -> str:
        if not PortRange.fullmatch(value) or not _port_count(value):
            raise ValueError("ports are 'all', 'top:N', or ports and ranges such as 22,80,8000-8100")
        return value


def configure(options: dict[str, Any], pace: Pace) -> NmapOptions:
    """Complete the policy's options with what its intensity means here; raises pydantic's `ValidationError`."""
    patience = max(1, int(pace.unit_timeout * PATIENCE))
    chosen = NmapOptions.model_validate(
        {**INTENSITY[pace.intensity]._asdict(), "host_timeout": patience, "ports": pace.ports, **options}
    )
    update = {"host_timeout": min(chosen.host_timeout, patience), "own_ports": pace.own_ports}
    return chosen.model_copy(update=update)


def _port_count(ports: str) -> int:
    """How many ports a policy's wording names; 0 where it contradicts itself."""
    if ports == "all":
        return EVERY_PORT
    if ports.startswith("top:"):
        return int(ports[4:]) if int(ports[4:]) <= EVERY_PORT else 0
    spans = [(int(low), int(high or low)) for low, _, high in (part.partition("-") for part in ports.split(","))]
    is_sound = all(1 <= low <= high <= EVERY_PORT for low, high in spans)
    return sum(high - low + 1 for low, high in spans) if is_sound else 0


def command(batch: Batch, options: NmapOptions) -> Command:
    """Ask of hosts which ports are open, of services what they are; a batch is of one kind.

    Targets travel in a file. Raises `InvalidTarget` for a record that is no address.
    """
    aims = list(dict.fromkeys(_aim(record) for record in batch))
    argv = ("nmap", f"-T{options.timing}", "-n", *_family(aims), *_question(batch, aims, options))
    reporting = ("--stats-every", "1s", "-oX", "-", "-iL", TARGETS)
    return Command((*argv, *reporting), {TARGETS: "".join(f"{_spelled(aim)}\n" for aim in aims)})


def _aim(record: Record) -> IPv4Network | IPv6Network:
    match record:
        case Host(address=text) | Service(address=text):
            try:
                return ip_network(text)
            except ValueError:
                raise InvalidTarget("nmap: a target of this unit is no address") from None
        case _:
            raise InvalidTarget("nmap: takes hosts and services only")


def _spelled(aim: IPv4Network | IPv6Network) -> str:
    return str(aim.network_address) if aim.prefixlen == aim.max_prefixlen else str(aim)


def _family(aims: Sequence[IPv4Network | IPv6Network]) -> tuple[str, ...]:
    return ("-6",) if aims[0].version == 6 else ()


def _question(batch: Batch, aims: Sequence[IPv4Network | IPv6Network], options: NmapOptions) -> tuple[str, ...]:
    is_local = all(aim.is_loopback for aim in aims)
    raw, scan = ("--privileged", "-sS") if options.technique == "syn" else ("--unprivileged", "-sT")
    retries = ("--max-retries", str(options.max_retries))
    asked, count = _asked_ports(batch, options)
    march = _march(len(aims), count, options)
    group = ("--min-hostgroup", str(march.group), "--max-hostgroup", str(march.group))
    patience = ("--host-timeout", f"{march.host_timeout}s")
    own = ("--exclude-ports", ",".join(map(str, options.own_ports))) if is_local and options.own_ports else ()
    return (raw, "-Pn", scan, *asked, *own, *retries, *_rates(options, march.min_rate, is_local), *group, *patience)


def _asked_ports(batch: Batch, options: NmapOptions) -> tuple[tuple[str, ...], int]:
    """The options that say which ports, and how many those are."""
    found = sorted({record.port for record in batch if isinstance(record, Service)})
    if found:
        union = ",".join(map(str, found))
        return ("-sV", "--version-intensity", str(options.version_intensity), "-p", union), len(found)
    count = _port_count(options.ports)
    if options.ports.startswith("top:"):
        return ("--top-ports", str(count)), count
    return ("-p", f"1-{EVERY_PORT}" if options.ports == "all" else options.ports), count


def _rates(options: NmapOptions, least: int, is_local: bool) -> tuple[str, ...]:
    """Packets a second, from and to. On loopback nothing leaves the machine, and nothing is to be spared.

    Without a least rate nmap slows down before silence, to some 20 packets a second: 1,000 filtered ports of one host
    then take 101 s instead of 1.5 s, and all ports of a filtered host outlast any time-out.
    """
    if is_local:
        return ()
    return ("--max-rate", str(options.max_rate), "--min-rate", str(min(options.max_rate, max(options.min_rate, least))))


class March(NamedTuple):
    """How a batch is swept: hosts at once, seconds for each such group, packets a second at least."""

    group: int
    host_timeout: int
    min_rate: int


def _march(hosts: int, ports: int, options: NmapOptions) -> March:
    """Plan a sweep so that silent hosts cost no one else a time-out: nmap times all hosts of a group at once.

    A silent port is asked twice, whatever `max_retries` is above 0. Groups follow one another and share the time.
    Where the rate does not suffice for all hosts, groups are made so small that each is through before its time-out:
    the unit is then cut off between groups, and those that were swept count.
    """
    tries = 2 if options.max_retries else 1
    seconds_a_host = tries * ports / options.max_rate
    planned = MARGIN * options.host_timeout
    group = max(1, min(hosts, PORTS_AT_ONCE // ports, int(planned / seconds_a_host)))
    share = options.host_timeout / ceil(hosts / group)
    needed = group * seconds_a_host / MARGIN
    host_timeout = max(1, int(min(options.host_timeout, max(share, needed))))
    least = ceil(group * tries * ports / (MARGIN * host_timeout))
    return March(group, host_timeout, max(least, options.max_rate // 2))


def load(batch: Batch, options: NmapOptions) -> Load:
    """What a unit sends one destination; an option below what the intensity means wants less."""
    return load_of_question(batch, _port_count(options.ports), options.max_rate)


def degrade(options: NmapOptions, powers: Powers) -> tuple[NmapOptions, Degradation | None]:
    """Connect where raw sockets are not to be had."""
    if powers.raw_sockets or options.technique == "connect":
        return options, None
    lesser = options.model_copy(update={"technique": "connect"})
    return lesser, Degradation("SYN scan", "connect scan", powers.reason or "raw sockets are not to be had")


def powers_probe() -> Command:
    """What to run, with the launcher that scans use, to learn whether raw sockets are to be had; takes 0.1 s."""
    asked = ("-n", "-Pn", "-sS", "-p", "9", "--max-retries", "0", "--host-timeout", "5s", "127.0.0.1")
    return Command(("nmap", "--privileged", *asked, "-oX", "-"))


def powers_of(output: Output) -> Powers:
    """Read the answer to `powers_probe`. `--privileged` makes nmap claim a SYN scan: only a reply proves one."""
    try:
        report = read(output.stdout)
    except OutputNotUnderstood as error:
        return Powers(raw_sockets=False, reason=clean(output.stderr, 200) or error.detail)
    states = {state for host in report.hosts for state, _ in host.tally()}
    if report.scan_type == "syn" and states & {"open", "closed"}:
        return Powers(raw_sockets=True)
    return Powers(raw_sockets=False, reason=report.error or "nmap got no reply to a SYN on loopback")


_PROGRESS = re.compile(r'<taskprogress task="([^"]+)"[^>]* percent="(\d{1,3}(?:\.\d+)?)"')
_PHASES = (("Ping Scan", 0, 10), ("Service scan", 60, 95), ("NSE", 95, 100), ("", 10, 60))
"""What each of nmap's tasks, which all count from 0 to 100, is of the whole; ports are what is left."""


def progress(text: str) -> float | None:
    """The last percentage in a piece of nmap's output, mapped so that each task begins where the one before ended."""
    told = _PROGRESS.findall(text)
    if not told:
        return None
    task, percent = told[-1]
    low, high = next((low, high) for name, low, high in _PHASES if name in task)
    return low + (high - low) * min(float(percent), 100) / 100


def _family_of(record: Host | Service) -> str:
    return "6" if ":" in record.address else "4"


TOOL = Tool(
    name="nmap",
    summary="Finds open TCP ports, and the product and version that answers there.",
    risk=Risk.SAFE,
    accepts=(
        Intake(Host, batch=64, key=lambda host: host.address, lane=_family_of),
        Intake(Service, batch=8, key=lambda service: service.address, lane=_family_of),
    ),
    produces=(Host, Service),
    options=NmapOptions,
    configure=configure,
    binary=Binary(
        name="nmap",
        version_argv=("nmap", "--version"),
        version_pattern=re.compile(r"Nmap version (\d+(?:\.\d+)+)"),
        minimum=(7, 80),
        install="apt-get install nmap",
    ),
    command=command,
    parse=parse,
    progress=progress,
    degrade=degrade,
    load=load,
    at_rate=at_rate,
    exclude_flag="--excludefile",
)
