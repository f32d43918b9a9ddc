"""Scan policies: which modules run, how hard, how far and for how long; the presets that are shipped."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator

from footprint.errors import InvalidPolicy

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
    required: tuple[ModuleName, ...] = Field(default=(), description="Modules without which a scan is a failure.")

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


PRESETS: dict[str, ScanPolicy] = {
    policy.name: policy
    for policy in (
        ScanPolicy(
            name="passive",
            description="Sends nothing to the target: names are resolved through the configured name servers only.",
            modules={"dns": {}},
            intensity=1,
            required=("dns",),
        ),
        ScanPolicy(
            name="quick",
            description="A first look within minutes: names, the 100 most frequent TCP ports, versions.",
            modules={"dns": {}, "nmap": {}},
            intensity=4,
            ports="top:100",
            scan_timeout=3600,
            required=("nmap",),
        ),
        ScanPolicy(
            name="full_discovery",
            description="Everything a careful engineer would look at: names, every TCP port, versions.",
            modules={
                "dns": {},
                "ct": {},
                "amass": {},
                "dns_brute": {},
                "tld_expansion": {},
                "ripestat": {},
                "nmap": {},
                "tls": {},
                "ssh_audit": {},
                "service_checks": {},
                "cve_match": {},
            },
            ports="all",
            depth=12,
            required=("nmap",),
        ),
        ScanPolicy(
            name="stealth",
            description="One unit at a time, slowly, few ports: for networks that watch, and for fragile ones.",
            modules={"dns": {}, "nmap": {"version_intensity": 2}},
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
            modules={"dns": {}, "nmap": {}},
            intensity=4,
            ports="21,22,23,25,53,80,110,143,443,445,587,993,995,3306,3389,5432,5900,6379,8000,8080,8443",
            required=("nmap",),
        ),
    )
}
DEFAULT_POLICY = "full_discovery"


def policy_named(name: str) -> ScanPolicy:
    """Find a shipped policy, or raise `InvalidPolicy` that lists what there is."""
    try:
        return PRESETS[name]
    except KeyError:
        raise InvalidPolicy("there is no policy of that name", hint=f"one of: {', '.join(PRESETS)}") from None
