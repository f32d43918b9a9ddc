"""Scan policies: which modules run, how hard, how far and for how long; the presets that are shipped."""

from __future__ import annotations

import re
from datetime import date, datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator

from footprint.errors import InvalidPolicy
from footprint.faults import Fault
from footprint.notify_rules import NotifyRules
from footprint.text import clean
from footprint.windows import Closed, Open, TimeWindow, standing

ModuleName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,31}$")]
PortRange = re.compile(r"^(top:[1-9]\d{0,4}|all|\d{1,5}(-\d{1,5})?(,\d{1,5}(-\d{1,5})?){0,199})$")


class ScanPolicy(BaseModel):
    """How a scan is done. A scan keeps a frozen copy: editing a policy changes nothing that ran.

    `modules` maps the modules that are on to their options (bounded by each module's own model). `ports` is
    `all`, `top:N` (nmap's N most frequent) or a list of ports and ranges. Times are in seconds.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_-]{0,63}$")]
    description: str = Field(default="", max_length=1000)
    modules: dict[ModuleName, dict[str, Any]] = Field(description="Modules that are on, with their options.")
    concurrency: int = Field(default=8, ge=1, le=64, description="Units at once; 1 is strictly one after another.")
    intensity: int = Field(default=3, ge=0, le=5, description="0 paranoid to 5 reckless: timing, rates, retries.")
    budget: int | None = Field(
        default=None,
        ge=1,
        le=1_000_000,
        description="Packets a second for one destination, a /24 or /64, from all of its scans; as intensity else.",
    )
    connections: int | None = Field(
        default=None, ge=1, le=10_000, description="Connections at once to one destination; as intensity else."
    )
    ports: str = Field(default="top:1000", max_length=2000)
    max_addresses: int = Field(default=4096, ge=1, le=65536, description="Largest network one scan may cover.")
    depth: int = Field(default=8, ge=0, le=16, description="How many discoveries away from the target a scan goes.")
    max_records: int = Field(default=100_000, ge=1, le=1_000_000, description="Records after which a scan takes none.")
    unit_timeout: int = Field(default=3600, ge=10, le=86400, description="Seconds one unit may run.")
    scan_timeout: int = Field(default=21600, ge=30, le=604800, description="Seconds the whole scan may run.")
    required: tuple[ModuleName, ...] = Field(
        default=(), max_length=64, description="Modules without which a scan is a failure."
    )
    windows: tuple[TimeWindow, ...] = Field(default=(), max_length=32, description="When it may work; empty: always.")
    blackouts: tuple[date, ...] = Field(default=(), max_length=366, description="Dates on which it does not work.")
    notify: NotifyRules = Field(default=NotifyRules(), description="Who is told of what when a scan has ended.")

    def standing_at(self, moment: datetime) -> Open | Closed:
        """Whether work may be begun at this moment."""
        return standing(self.windows, self.blackouts, moment)

    @field_validator("description")
    @classmethod
    def _description(cls, value: str) -> str:
        if clean(value) != value:
            raise ValueError("one line, without control or invisible characters")
        return value

    @field_validator("ports")
    @classmethod
    def _ports(cls, value: str) -> str:
        if not PortRange.fullmatch(value):
            raise ValueError("ports are 'all', 'top:N', or ports and ranges such as 22,80,8000-8100")
        if value.startswith("top:") and int(value[4:]) > 65535:
            raise ValueError("top:N takes at most 65535")
        if value[0].isdigit():
            _check_ranges(value)
        return value


def _check_ranges(ports: str) -> None:
    for part in ports.split(","):
        low, _, high = part.partition("-")
        if not 1 <= int(low) <= int(high or low) <= 65535:
            raise ValueError("a port is 1 to 65535, and a range goes upwards")


def contradictions(policy: ScanPolicy) -> tuple[Fault, ...]:
    """What of a policy does not go together, each told of the field that has to give way."""
    faults = [
        Fault(f"required.{place}", "is not among the modules that are on")
        for place, name in enumerate(policy.required)
        if name not in policy.modules
    ]
    if not policy.modules:
        faults.append(Fault("modules", "at least one module is on"))
    never = next((place for place, window in enumerate(policy.windows) if not window.ever_opens), None)
    if never is not None:  # the first only: each takes a while to be sure of
        faults.append(Fault(f"windows.{never}.rrule", "a rule names days that come"))
    if policy.unit_timeout > policy.scan_timeout:
        faults.append(Fault("unit_timeout", f"at most {policy.scan_timeout}, the scan_timeout"))
    return tuple(faults)


_OUTSIDE: dict[str, dict[str, Any]] = {"ct": {}, "amass": {}, "tld_expansion": {}, "ripestat": {}}
"""They ask the public's services, and send nothing to the target."""
_JUDGING: dict[str, dict[str, Any]] = {
    "tls": {},
    "ssh_audit": {},
    "http_probe": {},
    "whatweb": {},
    "service_checks": {},
}
"""They ask each service a little, and say what is wrong with it."""
_PORTS: dict[str, dict[str, Any]] = {"nmap_discovery": {}, "nmap": {}}
_AFTERWARDS: dict[str, dict[str, Any]] = {"cve_match": {}, "extension": {}}
"""They judge what the others found. Of extensions, those that are scoped ask their records once more."""

PRESETS: dict[str, ScanPolicy] = {
    policy.name: policy
    for policy in (
        ScanPolicy(
            name="passive",
            description="Sends nothing to the target: asks the configured name servers and public services only.",
            modules={"dns": {}, "reverse_dns": {}, **_OUTSIDE},
            intensity=1,
            required=("dns",),
        ),
        ScanPolicy(
            name="quick",
            description="A first look within minutes: names, the 100 most frequent TCP ports, what is wrong there.",
            modules={"dns": {}, "reverse_dns": {}, "ct": {}, **_PORTS, **_JUDGING, **_AFTERWARDS},
            intensity=4,
            ports="top:100",
            scan_timeout=3600,
            required=("nmap",),
        ),
        ScanPolicy(
            name="full_discovery",
            description="Everything a careful engineer would look at: names, every TCP port, versions, weaknesses.",
            modules={
                "dns": {},
                "reverse_dns": {},
                **_OUTSIDE,
                "dns_brute": {},
                "zone_transfer": {},
                "zmap": {"ports": "top:20"},
                **_PORTS,
                "nmap_udp": {},
                **_JUDGING,
                **_AFTERWARDS,
            },
            ports="all",
            depth=12,
            required=("nmap",),
        ),
        ScanPolicy(
            name="stealth",
            description="One unit at a time, slowly, few ports: for networks that watch, and for fragile ones.",
            modules={
                "dns": {},
                "reverse_dns": {},
                "ct": {},
                "nmap_discovery": {},
                "nmap": {"version_intensity": 2},
                "http_probe": {"git": False, "favicon": False},
                "cve_match": {},
            },
            concurrency=1,
            intensity=1,
            ports="top:100",
            unit_timeout=21600,
            scan_timeout=172800,
            required=("nmap",),
        ),
        ScanPolicy(
            name="network_sweep",
            description="Which addresses of a network are alive, and what the most telling ports say.",
            modules={"dns": {}, "reverse_dns": {}, "zmap": {}, **_PORTS, **_JUDGING, **_AFTERWARDS},
            intensity=4,
            ports="21,22,23,25,53,80,110,143,443,445,587,993,995,3306,3389,5432,5900,6379,8000,8080,8443",
            required=("nmap",),
        ),
    )
}
DEFAULT_POLICY = "full_discovery"
INLINE = "inline"
"""What a policy that comes with a scan is called where it has no name."""


def policy_named(name: str) -> ScanPolicy:
    """Find a shipped policy, or raise `InvalidPolicy` that lists what there is."""
    try:
        return PRESETS[name]
    except KeyError:
        raise unknown_policy(f"one of: {', '.join(PRESETS)}") from None


def unknown_policy(hint: str) -> InvalidPolicy:
    """The error of a request that names a policy which there is not."""
    said = "there is no policy of that name"
    return InvalidPolicy(said, hint=hint, faults=[Fault("policy", said)])
