"""How any nmap is called: its targets, its pace, and how much of a unit's time it may plan to take."""

from __future__ import annotations

import re
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from math import ceil
from typing import NamedTuple, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from footprint.errors import InvalidTarget
from footprint.records import Host, Record, Service
from tasks.tool import Binary, Command

TARGETS = "targets"
PATIENCE = 0.85
"""The part of a unit's time in which nmap gives slow hosts up, so that it ends before it is ended."""
MARGIN = 0.8
"""The part of a host time-out that a sweep may be planned to take."""
EVERY_PORT = 65535
PORTS_AT_ONCE = 16 * EVERY_PORT
"""Ports of one host group: nmap keeps about 120 bytes for each (64 hosts with all ports were 508 MB)."""

VERSION_SECONDS = 60
"""For the first step of version intensity and each more: what services get until nmap gives their host up."""
RECOGNISED_AT_ONCE = {2: 1, 3: 20, 4: 30, 5: 40}
"""How many services nmap asks at once what they are, by timing template (service_scan.cc)."""

NMAP = Binary(
    name="nmap",
    version_argv=("nmap", "--version"),
    version_pattern=re.compile(r"Nmap version (\d+(?:\.\d+)+)"),
    minimum=(7, 80),
    install="apt-get install nmap",
)

Aim = IPv4Address | IPv6Address


Options = TypeVar("Options", bound="Paced")


class Paced(BaseModel):
    """How fast nmap goes, and how long it waits. What is not given follows from the policy's intensity and time-out."""

    model_config = ConfigDict(extra="forbid", frozen=True)

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


def aims_of(batch: Sequence[Record]) -> list[Aim]:
    """The addresses of a batch, each once; `InvalidTarget` for a record that has none."""
    return list(dict.fromkeys(_aim(record) for record in batch))


def _aim(record: Record) -> Aim:
    match record:
        case Host(address=text) | Service(address=text):
            try:
                return ip_address(text)
            except ValueError:
                raise InvalidTarget("nmap: a target of this unit is no address") from None
        case _:
            raise InvalidTarget("nmap: takes hosts and services only")


def asking(aims: Sequence[Aim], question: Sequence[str], options: Paced) -> Command:
    """Put a question to targets, which travel in a file; the report is XML with progress in it."""
    family = ("-6",) if aims[0].version == 6 else ()
    reporting = ("--stats-every", "1s", "-oX", "-", "-iL", TARGETS)
    argv = ("nmap", f"-T{options.timing}", "-n", *family, *question, *reporting)
    return Command(argv, {TARGETS: "".join(f"{aim}\n" for aim in aims)})


def are_local(aims: Sequence[Aim]) -> bool:
    """True where every target is on loopback: nothing leaves the machine, and nothing is to be spared."""
    return all(aim.is_loopback for aim in aims)


def _rates(options: Paced, least: int, *, is_local: bool) -> tuple[str, ...]:
    """Packets a second, from and to; none on loopback.

    Without a least rate nmap slows down before silence, to some 20 packets a second: 1,000 filtered ports of one host
    then take 101 s instead of 1.5 s, and all ports of a filtered host outlast any time-out.
    """
    if is_local:
        return ()
    return ("--max-rate", str(options.max_rate), "--min-rate", str(min(options.max_rate, max(options.min_rate, least))))


def recognising(options: Options, services: int) -> Options:
    """Options for a question what so many services are: none may hold the unit, and what it claims, for long.

    Only the wait for answers takes time there: a service that is silent, or drips, for ever took 37 s with version
    intensity 2, 88 s with 5, 162 s with 7 and 522 s with 9, and so did 8 at once.
    """
    rounds = ceil(services / RECOGNISED_AT_ONCE[options.timing])
    longest = VERSION_SECONDS * (1 + options.version_intensity) * rounds
    return options.model_copy(update={"host_timeout": min(options.host_timeout, longest)})


def march(hosts: int, ports: int, options: Paced, *, is_local: bool) -> tuple[str, ...]:
    """The options of a sweep: rates, hosts at once, and seconds for a host."""
    plan = _planned(hosts, ports, options)
    group = ("--min-hostgroup", str(plan.group), "--max-hostgroup", str(plan.group))
    return (*_rates(options, plan.min_rate, is_local=is_local), *group, "--host-timeout", f"{plan.host_timeout}s")


class _March(NamedTuple):
    """How a batch is swept: hosts at once, seconds for each such group, packets a second at least."""

    group: int
    host_timeout: int
    min_rate: int


def _planned(hosts: int, ports: int, options: Paced) -> _March:
    """Plan a sweep so that silent hosts cost no one else a time-out: nmap times all hosts of a group at once.

    A silent port is asked twice, whatever `max_retries` is above 0. Groups follow one another and share the time.
    Where the rate does not suffice for all hosts, groups are made so small that each is through before its time-out:
    the unit is then cut off between groups, and those that were swept count.
    """
    tries = 2 if options.max_retries else 1
    seconds_a_host = tries * ports / options.max_rate
    fitting = MARGIN * options.host_timeout
    group = max(1, min(hosts, PORTS_AT_ONCE // ports, int(fitting / seconds_a_host)))
    share = options.host_timeout / ceil(hosts / group)
    needed = group * seconds_a_host / MARGIN
    host_timeout = max(1, int(min(options.host_timeout, max(share, needed))))
    least = ceil(group * tries * ports / (MARGIN * host_timeout))
    return _March(group, host_timeout, max(least, options.max_rate // 2))


def family_of(record: Host | Service) -> str:
    """The lane of a record: an nmap asks one address family."""
    return "6" if ":" in record.address else "4"


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
