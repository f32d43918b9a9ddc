"""Policies over the wire. What comes in is described here for readers, and read by `tasks.policies`."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Any

from fastapi import Body
from pydantic import BaseModel, Field, PlainValidator, create_model

from footprint.notify_rules import NotifyRules
from footprint.older_policy import LEVELS, OLDER_MODULES, SWITCH
from footprint.policy import INLINE, ScanPolicy
from footprint.store.policies import KnownPolicy
from footprint.windows import TimeWindow
from tasks.catalogue import catalogue

LONGEST_NAME = 64

_modules: dict[str, Any] = {
    name: (tool.options, Field(default=None, description=tool.summary)) for name, tool in catalogue().items()
}
_older: dict[str, Any] = {
    **{
        f"{name}{SWITCH}": (bool, Field(default=None, deprecated=True, description=f"Older: {name} among `modules`."))
        for name in OLDER_MODULES
    },
    "intensity_level": (
        int | str,
        Field(default=None, deprecated=True, description=f"Older: `intensity`, also {', '.join(LEVELS)}."),
    ),
    "optimization_flags": (
        str | list[str],
        Field(default=None, deprecated=True, description="Older: flags such as `-T3 --max-rate 100`, a few of them."),
    ),
}
_described: dict[str, Any] = {
    "modules": (
        create_model("Modules", **_modules),
        Field(description="Modules that are on, with their options. Older fields that say it may stand in its place."),
    ),
    **_older,
}
PolicyIn = create_model("PolicyIn", __base__=ScanPolicy, __doc__="How a scan is to be done.", **_described)
"""What a policy may say, for the description of the API only."""
InlinePolicy = create_model(
    "InlinePolicy",
    __base__=ScanPolicy,
    __doc__="How this one scan is to be done.",
    name=(str, Field(default=INLINE, description="What the scan's `policy` is then called.")),
    **_described,
)
"""The same for a policy that comes with a scan."""


def _name_or_policy(said: object) -> str | dict[str, Any]:
    if isinstance(said, dict) or (isinstance(said, str) and len(said) <= LONGEST_NAME):
        return said
    raise ValueError(f"a policy's name of at most {LONGEST_NAME} characters, or an object that says a policy")


def _as_said(said: object) -> object:
    return said


AskedPolicy = Annotated[
    str | dict[str, Any],
    PlainValidator(_name_or_policy, json_schema_input_type=Annotated[str, Field(max_length=64)] | InlinePolicy),
]
PolicyBody = Annotated[Any, Body(), PlainValidator(_as_said, json_schema_input_type=PolicyIn)]
PolicyChange = Annotated[Any, Body(), PlainValidator(_as_said, json_schema_input_type=dict[str, Any])]


class FrozenPolicyOut(BaseModel):
    """A policy with all that it says."""

    name: str
    description: str
    modules: dict[str, dict[str, Any]]
    concurrency: int
    intensity: int
    budget: int | None
    connections: int | None
    ports: str
    max_addresses: int
    depth: int
    max_records: int
    unit_timeout: int
    scan_timeout: int
    required: list[str]
    windows: list[TimeWindow]
    blackouts: list[date]
    notify: NotifyRules


class PolicyOut(FrozenPolicyOut):
    """A policy. A shipped one cannot be changed and has no times; times are UTC."""

    shipped: bool
    created_at: datetime | None
    updated_at: datetime | None

    @classmethod
    def of(cls, known: KnownPolicy) -> PolicyOut:
        """A policy, as it is shown."""
        times = {"created_at": known.created_at, "updated_at": known.updated_at}
        return cls(**known.policy.model_dump(mode="json"), shipped=known.is_shipped, **times)
