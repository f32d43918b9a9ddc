"""Which addresses of an IPv4 network have which TCP ports open, asked with one packet each.

ZMap asks about one port a call; calls for several ports run side by side and share the rate. Where the policy asks for
masscan, one call asks about all ports. Both need raw sockets and send to a gateway whatever is not on this worker's
own link: a network that is on it belongs to nmap_discovery, and the unit says so. See sweep.sh for how each is
called, and zmap_answers.py for how they are read.
"""

from __future__ import annotations

import re
import shutil
from importlib.resources import files
from ipaddress import IPv4Network, ip_network
from json import dumps
from math import ceil
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, field_validator

from footprint.budget import INTENSITIES, Load, Share, addresses_in, paced_load
from footprint.errors import InvalidTarget, NotPrivileged, ToolMissing
from footprint.policy import PortRange
from footprint.records import Host, Network, Record, Service
from footprint.scope import Scope
from footprint.settings import Settings
from footprint.store import Store
from tasks.effort import Effort, Sends, addresses_left
from tasks.runner import search_path
from tasks.tool import Batch, Binary, Command, Degradation, Intake, Pace, Powers, Risk, Tool
from tasks.zmap_answers import FOUND, KEPT, PLAN, Plan, parse, ports_in

SCRIPT, TARGETS = "sweep", "targets"
JOBS = 4
"""Calls of zmap at once, at most: each waits some seconds for late answers after it has sent everything."""
MAX_PORTS = 32
"""Ports of one unit that zmap is asked about: what masscan is for begins here."""
FREQUENT = (
    *(80, 23, 443, 21, 22, 25, 3389, 110, 445, 139, 143, 53, 135, 3306, 8080, 1723, 111, 995, 993, 5900, 1025, 587),
    *(8888, 199, 1720, 465, 548, 113, 81, 6001, 10000, 514),
)
"""The ports that are open most often, most frequent first, as nmap 7.93 has measured it."""


class Gait(NamedTuple):
    """What an intensity means: packets a second, and how often an address is asked about a port."""

    rate: int
    probes: int


PROBES = (2, 2, 2, 2, 1, 1)
INTENSITY = tuple(Gait(int(INTENSITIES[number].packets), probes) for number, probes in enumerate(PROBES))


class ZmapOptions(BaseModel):
    """How a network is swept. What is not given follows from the policy's intensity and ports."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    engine: Literal["zmap", "masscan"] = Field(
        default="zmap",
        description=f"zmap: a call for each port, at most {MAX_PORTS}. masscan: one call for any number.",
    )
    rate: int = Field(default=300, ge=1, le=100_000, description="Packets a second of one unit, at most.")
    probes: int = Field(default=2, ge=1, le=10, description="How often an address is asked about a port.")
    cooldown: int = Field(default=3, ge=1, le=60, description="Seconds to wait for answers after the last packet.")
    ports: str = Field(
        default="top:20",
        max_length=2000,
        description=f"all, top:N (of which the {len(FREQUENT)} most frequent are swept), or ports and ranges.",
    )

    @field_validator("ports")
    @classmethod
    def _ports(cls, value: str) -> str:
        if not PortRange.fullmatch(value) or (value[0].isdigit() and not ports_in(value)):
            raise ValueError("ports are 'all', 'top:N', or ports and ranges such as 22,80,8000-8100")
        return value


def configure(options: dict[str, Any], pace: Pace) -> ZmapOptions:
    """Complete the policy's options with what its intensity means here; raises pydantic's `ValidationError`."""
    return ZmapOptions.model_validate({**INTENSITY[pace.intensity]._asdict(), "ports": pace.ports, **options})


def plan_of(options: ZmapOptions) -> Plan:
    """Which ports are swept, and how many of those that the policy names are not."""
    wanted = 65535
    if options.ports.startswith("top:"):
        wanted = int(options.ports[4:])
        return Plan(options.engine, ",".join(map(str, FREQUENT[:wanted])), max(0, wanted - len(FREQUENT)))
    if options.engine == "masscan":
        return Plan("masscan", "1-65535" if options.ports == "all" else options.ports, 0)
    if options.ports == "all":
        return Plan("zmap", ",".join(map(str, FREQUENT)), wanted - len(FREQUENT))
    named = ports_in(options.ports)
    return Plan("zmap", ",".join(map(str, named[:MAX_PORTS])), max(0, len(named) - MAX_PORTS))


def load(batch: Batch, options: ZmapOptions) -> Load:
    """What a unit sends one destination; of a unit with several it may be all that it sends."""
    plan = plan_of(options)
    ports = sum(int(part.split("-")[-1]) - int(part.split("-")[0]) + 1 for part in plan.ports.split(","))
    return paced_load(ports * options.probes * addresses_in(batch), options.rate)


def at_rate(options: ZmapOptions, share: Share) -> ZmapOptions:
    """Options with a share of a destination as their rate."""
    return options.model_copy(update={"rate": max(1, min(options.rate, int(share.packets)))})


def command(batch: Batch, options: ZmapOptions) -> Command:
    """Sweep the networks of a batch, which travel in a file. Raises `InvalidTarget` for any other record."""
    plan = plan_of(options)
    numbers = (options.rate, options.cooldown, options.probes, _jobs(options, plan))
    argv = ("sh", SCRIPT, options.engine, *map(str, numbers), plan.ports)
    given = {
        SCRIPT: (files("tasks") / "sweep.sh").read_text(encoding="ascii"),
        TARGETS: "".join(f"{network} {network[0]} {network[-1]}\n" for network in map(_aim, batch)),
        PLAN: dumps({"engine": plan.engine, "ports": plan.ports, "left_out": plan.left_out}),
    }
    return Command(argv, given, keeps=(*KEPT, *_outputs(plan)))


def _jobs(options: ZmapOptions, plan: Plan) -> int:
    return min(JOBS, options.rate, plan.ports.count(",") + 1)


def _outputs(plan: Plan) -> tuple[str, ...]:
    if plan.engine == "masscan":
        return (FOUND,)
    return tuple(f"{kind}-{port}" for port in ports_in(plan.ports) for kind in (FOUND, "sent"))


def _aim(record: Record) -> IPv4Network:
    try:
        network = ip_network(record.cidr) if isinstance(record, Network) else None
    except ValueError:
        network = None
    if not isinstance(network, IPv4Network):
        raise InvalidTarget("zmap: takes IPv4 networks only")
    return network


def _is_swept(network: Network) -> bool:
    """Not IPv6, which neither program is asked to sweep, and not loopback, which has no gateway."""
    return ":" not in network.cidr and not network.cidr.startswith("127.")


def effort(batch: Batch, options: ZmapOptions, scope: Scope) -> Effort:
    """Packets: one for each address, port and probe, whether it is answered or not; and the waits for late answers."""
    plan = plan_of(options)
    ports = len(ports_in(plan.ports))
    packets = addresses_left(batch, scope) * ports * options.probes
    rounds = options.probes if plan.engine == "masscan" else ceil(ports / _jobs(options, plan))
    return Effort(Sends.PACKETS, packets, packets, options.rate, float(rounds * options.cooldown))


def degrade(options: ZmapOptions, powers: Powers) -> tuple[ZmapOptions, Degradation | None]:
    """Neither program has a lesser way: raises `NotPrivileged` where raw sockets are not to be had."""
    if powers.raw_sockets:
        return options, None
    raise NotPrivileged(
        f"zmap: needs raw sockets: {powers.reason or 'they are not to be had'}",
        hint="run the worker as root, or with ambient CAP_NET_RAW and CAP_NET_ADMIN",
    )


def check(settings: Settings, store: Store | None) -> None:
    """Raise `ToolMissing` where the way to a network cannot be looked up."""
    if shutil.which("ip", path=search_path()) is None:
        raise ToolMissing("zmap: ip, which tells the way to a network, is not here", hint="apt-get install iproute2")


_DONE = re.compile(r"^(\d+) of (\d+)$|(\d{1,3}\.\d+)% done", re.MULTILINE)


def progress(text: str) -> float | None:
    """The last percentage in a piece of the script's output: ports that zmap is through with, or what masscan says."""
    told = _DONE.findall(text)
    if not told:
        return None
    done, total, percent = told[-1]
    return min(100.0, float(percent) if percent else 100 * int(done) / max(1, int(total)))


ZMAP = Binary(
    name="zmap",
    version_argv=("zmap", "--version"),
    version_pattern=re.compile(r"zmap (\d+(?:\.\d+)+)"),
    minimum=(2, 1),
    install="apt-get install zmap",
    below=(3,),
)
MASSCAN = Binary(
    name="masscan",
    version_argv=("masscan", "--version"),
    version_pattern=re.compile(r"Masscan version (\d+(?:\.\d+)+)"),
    minimum=(1, 3),
    install="apt-get install masscan",
    below=(1, 4),
)


def binary_with(options: ZmapOptions) -> Binary:
    """The program of the engine that the policy asks for."""
    return MASSCAN if options.engine == "masscan" else ZMAP


TOOL = Tool(
    name="zmap",
    summary="Sweeps IPv4 networks for open TCP ports with ZMap, or masscan, through the gateway that leads there.",
    risk=Risk.SAFE,
    accepts=(Intake(Network, batch=64, key=lambda network: network.cidr, where=_is_swept),),
    produces=(Host, Service),
    options=ZmapOptions,
    configure=configure,
    effort=effort,
    binary=ZMAP,
    binary_with=binary_with,
    command=command,
    parse=parse,
    progress=progress,
    degrade=degrade,
    load=load,
    at_rate=at_rate,
    counts_for="nmap",
    check=check,
    exclude_flag="-b",
)
