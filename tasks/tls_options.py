"""How TLS services are looked at, as a policy says it."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from tasks.tool import Pace

OPTIONS = "options"
"""The file in which a unit's options travel to where its answer is read."""

Checks = Literal["certificate", "protocols", "all"]


class Gait(NamedTuple):
    """What an intensity means. Connections that one endpoint saw: certificate 6, protocols 165, all 174.

    More than certificates needs some 2,800 packets within a second, which the lower three do not have.
    """

    checks: Checks
    slow: bool


PACES = (
    Gait("certificate", True),
    Gait("certificate", True),
    Gait("certificate", True),
    Gait("all", False),
    Gait("all", False),
    Gait("all", False),
)


class TlsOptions(BaseModel):
    """How TLS services are looked at. What is not given follows from the policy's intensity."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    checks: Checks = Field(
        default="all", description="certificate; protocols: and which ciphers it takes; all: and known flaws."
    )
    slow: bool = Field(default=False, description="Two connections to a service at once instead of five.")
    expiry_days: int = Field(default=30, ge=0, le=3650, description="A certificate is near its end this long before.")
    host_timeout: int = Field(
        default=300, ge=5, le=86400, description="Seconds after which an address that holds things up is given up."
    )
    authorities: str = Field(
        default="", max_length=4096, description="Further authorities to trust: set by the worker (PEM file)."
    )


def configure(options: dict[str, Any], pace: Pace) -> TlsOptions:
    """Complete the policy's options with what its intensity means here; raises pydantic's `ValidationError`."""
    # A policy names no files of the worker's: only its own settings do.
    return TlsOptions.model_validate({**PACES[pace.intensity]._asdict(), **options, "authorities": ""})
