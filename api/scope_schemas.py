"""Assets, their scope and their authorisations over the wire."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
)

from api.paging import Page
from api.schemas import Line
from footprint.asset_scope import AssetScope, canonical_exclusion, canonical_target
from footprint.errors import InvalidTarget
from footprint.store.authorizations import Authorization, KnownAuthorization
from footprint.store.left_out import LeftOutView

MOST_ROOTS, MOST_ENTRIES = 100, 1000


def _read_by(reader: Callable[[str], str]) -> AfterValidator:
    def read(text: str) -> str:
        try:
            return reader(text)
        except InvalidTarget as error:
            raise ValueError(error.detail) from None

    return AfterValidator(read)


def _trimmed(text: str) -> str:
    if text != text.strip():
        raise ValueError("no white space at its ends")
    return text


def _written_out(value: object) -> object:
    if not isinstance(value, str):
        raise ValueError("a time such as 2026-01-01T00:00:00Z")
    return value


def _in_utc(time: datetime) -> datetime:
    try:
        return time.astimezone(UTC)
    except OverflowError:
        raise ValueError("within the years 1 to 9999, in UTC") from None


Time = Annotated[AwareDatetime, BeforeValidator(_written_out), AfterValidator(_in_utc)]
TargetText = Annotated[str, Field(max_length=1024), _read_by(canonical_target)]
ExclusionText = Annotated[str, Field(max_length=1024), _read_by(canonical_exclusion)]
Title = Annotated[str, Line, Field(min_length=1, max_length=255), AfterValidator(_trimmed)]
Roots = Annotated[list[TargetText], Field(min_length=1, max_length=MOST_ROOTS)]
EXAMPLE_SCOPE: dict[str, Any] = {
    "include": ["example.net", "198.51.100.0/24"],
    "exclude": ["198.51.100.9", "pay.example.com"],
}


class ScopeBody(BaseModel):
    """What an asset's scans may touch besides their target, and what they never touch: exclusions always win."""

    model_config = ConfigDict(extra="forbid", strict=True, json_schema_extra={"examples": [EXAMPLE_SCOPE]})

    include: list[TargetText] = Field(
        default=[], max_length=MOST_ENTRIES, description="Domains, addresses and networks that may be touched as well."
    )
    exclude: list[ExclusionText] = Field(
        default=[], max_length=MOST_ENTRIES, description="Domains, addresses and networks that are never touched."
    )

    def said(self, roots: list[str] | None = None) -> AssetScope:
        """What it says, for an asset of these roots."""
        return AssetScope(tuple(roots or ()), tuple(self.include), tuple(self.exclude))


class AssetRequest(BaseModel):
    """An asset that is to be known before anything of it is scanned."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={
            "examples": [{"name": "Example Corp", "roots": ["example.com", "203.0.113.0/24"], "scope": EXAMPLE_SCOPE}]
        },
    )

    name: Title
    roots: Roots = Field(description="Domains, addresses and networks that belong to it.")
    scope: ScopeBody = ScopeBody()


class AssetChange(BaseModel):
    """What of an asset is to be another from now on; what is not given stays. `roots` are given whole."""

    model_config = ConfigDict(extra="forbid", strict=True)

    name: Title | None = None
    roots: Roots | None = None


class ScanScopeOut(BaseModel):
    """What assets said of the scope of a scan when it was asked for, besides its target."""

    roots: list[str]
    include: list[str]
    exclude: list[str]


class AuthorizationRequest(BaseModel):
    """Who allowed an asset to be looked at actively, and for how long."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "covers": "example.com",
                    "valid_from": "2026-01-01T00:00:00Z",
                    "valid_until": "2026-07-01T00:00:00Z",
                    "granted_by": "Jo Doe, CISO",
                    "reference": "order 4711",
                }
            ]
        },
    )

    covers: TargetText | None = Field(default=None, description="A domain, address or network; null for all of it.")
    valid_from: Time
    valid_until: Time = Field(description="The first moment at which it does not hold any more.")
    granted_by: Title
    reference: Annotated[str, Line] = Field(default="", max_length=255)
    comment: Annotated[str, Line] = Field(default="", max_length=1000)

    @field_validator("valid_until")
    @classmethod
    def _after_its_beginning(cls, value: datetime, info: ValidationInfo) -> datetime:
        if "valid_from" in info.data and value <= info.data["valid_from"]:
            raise ValueError("later than valid_from")
        return value

    def said(self) -> Authorization:
        """What it says."""
        return Authorization(**self.model_dump())


class AuthorizationOut(BaseModel):
    """An authorisation that an asset carries; `id` is its number, times are UTC."""

    id: int
    covers: str | None
    valid_from: datetime
    valid_until: datetime
    granted_by: str
    reference: str
    comment: str
    created_at: datetime

    @classmethod
    def of(cls, known: KnownAuthorization) -> AuthorizationOut:
        """An authorisation, as it is shown."""
        said = known.said
        return cls(
            id=known.id,
            covers=said.covers,
            valid_from=said.valid_from,
            valid_until=said.valid_until,
            granted_by=said.granted_by,
            reference=said.reference,
            comment=said.comment,
            created_at=known.created_at,
        )


class LeftOutPage(Page[LeftOutView]):
    """A page of what a scan did not touch. `not_listed` counts what is over the bounds of the list, or of the scan."""

    not_listed: int
