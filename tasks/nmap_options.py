"""What can be said of how nmap looks at TCP, and what it means by an intensity."""

from __future__ import annotations

from typing import Annotated, Any, Literal, NamedTuple

from pydantic import Field, field_validator

from footprint.budget import INTENSITIES
from footprint.policy import PortRange
from tasks.nmap_call import EVERY_PORT, PATIENCE, Paced
from tasks.nmap_load import affordable
from tasks.nmap_scripts import TcpScript
from tasks.tool import Pace


class Gait(NamedTuple):
    """What an intensity means: nmap's timing template, packets a second, retries, versions, scripts, a guess."""

    timing: int
    max_rate: int
    max_retries: int
    version_intensity: int
    scripts: tuple[TcpScript, ...]
    os_guess: bool


# Templates 0 to 2 wait minutes or send one packet at a time, and no unit would end: the rate is what is gentle.
_RATES = tuple(int(allowed.packets) for allowed in INTENSITIES)
# Every probe waits 5 s where nothing is said: with 9, 400 silent ports of a host took 9 minutes, with 7 90 s.
INTENSITY = (
    Gait(3, _RATES[0], 2, 0, (), False),
    Gait(3, _RATES[1], 2, 2, (), False),
    Gait(3, _RATES[2], 2, 5, (), True),
    Gait(4, _RATES[3], 2, 7, ("safe",), True),
    Gait(4, _RATES[4], 1, 7, ("safe",), True),
    Gait(5, _RATES[5], 1, 7, ("safe",), True),
)


class NmapOptions(Paced):
    """How nmap looks. What is not given follows from the policy's intensity, ports and time-out."""

    technique: Literal["syn", "connect"] = Field(
        default="syn", description="syn: half-open, needs raw sockets. connect: whole connections, needs nothing."
    )
    scripts: tuple[TcpScript, ...] = Field(
        default=("safe",), description="Scripts to run on what was found. safe: all but those that try accounts."
    )
    os_guess: bool = Field(
        default=True,
        description="Guess the operating system by odd packets: needs the syn technique; never on loopback.",
    )
    own_ports: tuple[Annotated[int, Field(ge=1, le=65535)], ...] = Field(
        default=(), description="Ports that are not looked at on loopback: set by the worker that runs the scan."
    )
    ports: str = Field(
        default="top:1000", max_length=2000, description="all, top:N, or ports and ranges such as 22,80,8000-8100."
    )

    @field_validator("ports")
    @classmethod
    def _ports(cls, value: str) -> str:
        if not PortRange.fullmatch(value) or not port_count(value):
            raise ValueError("ports are 'all', 'top:N', or ports and ranges such as 22,80,8000-8100")
        return value


def configure(options: dict[str, Any], pace: Pace) -> NmapOptions:
    """Complete the policy's options with what its intensity means here; raises pydantic's `ValidationError`."""
    patience = max(1, int(pace.unit_timeout * PATIENCE))
    chosen = NmapOptions.model_validate(
        {**INTENSITY[pace.intensity]._asdict(), "host_timeout": patience, "ports": pace.ports, **options}
    )
    versions = affordable(chosen.version_intensity, pace.budget, has_scripts=bool(chosen.scripts))
    patient = {"host_timeout": min(chosen.host_timeout, patience), "version_intensity": versions}
    return chosen.model_copy(update={**patient, "own_ports": pace.own_ports})


def port_count(ports: str) -> int:
    """How many ports a policy's wording names; 0 where it contradicts itself."""
    if ports == "all":
        return EVERY_PORT
    if ports.startswith("top:"):
        return int(ports[4:]) if int(ports[4:]) <= EVERY_PORT else 0
    spans = [(int(low), int(high or low)) for low, _, high in (part.partition("-") for part in ports.split(","))]
    is_sound = all(1 <= low <= high <= EVERY_PORT for low, high in spans)
    return sum(high - low + 1 for low, high in spans) if is_sound else 0


def ports_asked(ports: str) -> tuple[tuple[str, ...], int]:
    """nmap's options for a policy's wording, and how many ports those are."""
    count = port_count(ports)
    if ports.startswith("top:"):
        return ("--top-ports", str(count)), count
    return ("-p", f"1-{EVERY_PORT}" if ports == "all" else ports), count
