"""What an extension says of itself: `extension.toml`, read and written, every mistake in a sentence."""

from __future__ import annotations

import json
import tomllib
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, field_validator, model_validator

from footprint.errors import InvalidExtension
from footprint.records import DomainName, Host, Record, Service, Severity
from footprint.text import clean

NAME = r"^[a-z][a-z0-9]*(-[a-z0-9]+)*$"
NAME_LENGTH = 32
_LINE = r"^[^\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]*$"
_METRICS = r"[A-Za-z]{1,3}:[A-Za-z]{1,6}(/[A-Za-z]{1,3}:[A-Za-z]{1,6}){3,40}"
MANIFEST_NAME = "extension.toml"
MISTAKES_NAMED = 10

Name = Annotated[str, StringConstraints(pattern=NAME, max_length=NAME_LENGTH)]
Kind = Literal["domain", "host", "service"]
Line = Annotated[str, StringConstraints(pattern=_LINE)]
Vector = Annotated[str, StringConstraints(pattern=rf"^(CVSS:(3\.[01]|4\.0)/)?{_METRICS}$", max_length=255)]
"""A CVSS vector; that of version 2 has no prefix."""
Reference = Annotated[str, StringConstraints(pattern=r"^(https?://[\x21-\x7e]+)?$", max_length=500)]
ServiceName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_/.+-]*$", max_length=64)]
FileName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=64)]
Interpreter = Annotated[str, StringConstraints(pattern=r"^/?[A-Za-z0-9][A-Za-z0-9._+/-]*$", max_length=128)]

_KINDS: dict[type, Kind] = {DomainName: "domain", Host: "host", Service: "service"}


class Manifest(BaseModel):
    """What an extension is, what it is run for, with what it is run, and what its findings weigh."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Name = Field(description="What it is called: as its folder.")
    description: Line = Field(default="", max_length=1000, description="What it looks for.")
    accepts: tuple[Kind, ...] = Field(max_length=3, description="What it is run for, once each.")
    services: tuple[ServiceName, ...] = Field(
        default=(), max_length=50, description="Of services, only these, by the names that nmap gives them."
    )
    ports: tuple[Annotated[int, Field(ge=1, le=65535)], ...] = Field(
        default=(), max_length=100, description="Of services, only those on these ports."
    )
    script: FileName = Field(description="The script's file, beside the manifest.")
    interpreter: Interpreter | None = Field(
        default=None, description="The program of /usr that runs it; else the script's first line names one."
    )
    timeout: int = Field(default=60, ge=1, le=3600, description="Seconds it may take for one record.")
    memory: int = Field(default=128, ge=16, le=2048, description="MiB for all its processes and their files.")
    network: Literal["none", "scoped"] = Field(
        default="none", description="What it reaches: nothing, or its record alone."
    )
    severity: Severity = Field(default=Severity.NONE, description="Of its findings, where they do not say.")
    cvss: Vector | None = Field(default=None, description="CVSS vector of its findings, where they do not say.")
    score: float | None = Field(default=None, ge=0, le=10, allow_inf_nan=False, description="Their base score.")
    reference: Reference = Field(default="", description="Where its findings are explained.")

    @field_validator("accepts", "services", "ports", mode="before")
    @classmethod
    def _one_or_more(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str | int) else value

    @field_validator("accepts")
    @classmethod
    def _each_once(cls, value: tuple[Kind, ...]) -> tuple[Kind, ...]:
        if not value or len(set(value)) < len(value):
            raise ValueError("one or more of domain, host and service, none of them twice")
        return value

    @field_validator("script")
    @classmethod
    def _no_manifest(cls, value: str) -> str:
        if value.startswith(MANIFEST_NAME):
            raise ValueError(f"the script cannot be called {MANIFEST_NAME}")
        return value

    @field_validator("interpreter")
    @classmethod
    def _of_the_system(cls, value: str | None) -> str | None:
        if value is not None and (
            "/../" in f"/{value}/" or ("/" in value and not value.startswith(("/usr/", "/bin/")))
        ):
            raise ValueError("a program's name, or its path below /usr or /bin")
        return value

    @model_validator(mode="after")
    def _filters_have_services(self) -> Self:
        if (self.services or self.ports) and "service" not in self.accepts:
            raise ValueError("services and ports choose among services, which it does not accept")
        return self

    @property
    def is_scoped(self) -> bool:
        """True where it reaches its record over the network."""
        return self.network == "scoped"

    def takes(self, record: Record) -> bool:
        """Whether it is run for this record."""
        if _KINDS.get(type(record)) not in self.accepts:
            return False
        if not isinstance(record, Service):
            return True
        is_named = not self.services or record.name in self.services
        return is_named and (not self.ports or record.port in self.ports)


def read_manifest(text: str) -> Manifest:
    """Read the text of an `extension.toml`. Raises `InvalidExtension` that names every mistake."""
    try:
        return Manifest.model_validate(tomllib.loads(text))
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise InvalidExtension(f"{MANIFEST_NAME} is not TOML: {clean(str(error), 200)}") from None
    except ValidationError as error:
        mistakes = [_sentence(one) for one in error.errors(include_input=False, include_url=False)]
        raise InvalidExtension(
            f"{MANIFEST_NAME}: {'; '.join(mistakes[:MISTAKES_NAMED])}", hint="the README shows a whole manifest"
        ) from None


def write_manifest(manifest: Manifest) -> str:
    """The text of an `extension.toml` that reads as this manifest; what is as it is by default is left out."""
    fields = manifest.model_dump(mode="json", exclude_defaults=True)
    # A string, a number and a list of these are written in TOML as in JSON.
    return "".join(f"{name} = {json.dumps(value, ensure_ascii=False)}\n" for name, value in fields.items())


def _sentence(mistake: Any) -> str:
    place = clean(".".join(str(part) for part in mistake["loc"]), 80)
    if mistake["type"] == "extra_forbidden":
        return f"a manifest has no field {place}"
    said = mistake["msg"].removeprefix("Value error, ")
    return f"{place}: {said}" if place else said
