"""Who is told of a scan's end, and of what: the field `notify` of a policy.

A receiver is `signed-webhook/NAME`, one that the store keeps, or a Prefect block by `TYPE/NAME`, such as
`slack-webhook/oncall` or `smtp-mail/oncall`.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator

from footprint.records import Severity

MOST_RECEIVERS = 16
SIGNED_WEBHOOK = "signed-webhook"
"""The type of the receivers that are Pulsar's own."""
NAME_PATTERN = r"[a-z0-9]([a-z0-9-]{0,62}[a-z0-9])?"
"""What Prefect takes as a block's name, and Pulsar as a webhook's."""
Receiver = Annotated[str, StringConstraints(pattern=rf"^{NAME_PATTERN}/{NAME_PATTERN}$", max_length=129)]


class NotifyOn(BaseModel):
    """Of what receivers are told. `findings` is the least severity that counts; null is none of them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    names: bool = Field(default=True, description="Names and addresses that are new, back or gone.")
    services: bool = Field(default=True, description="Services that are new, changed, gone or back.")
    findings: Severity | None = Field(
        default=Severity.MEDIUM, description="Findings that are new, worse or back, from this severity up; null: none."
    )
    failure: bool = Field(default=True, description="The scan failed.")
    nothing_looked_at: bool = Field(default=True, description="No target of a required module could be looked at.")


class NotifyRules(BaseModel):
    """Who is told, and of what. Each receiver gets one message for a scan, at most."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    to: tuple[Receiver, ...] = Field(
        default=(), max_length=MOST_RECEIVERS, description="`signed-webhook/NAME`, or a Prefect block, `TYPE/NAME`."
    )
    on: NotifyOn = Field(default=NotifyOn(), description="Of what; of all of it unless it is said.")

    @field_validator("to")
    @classmethod
    def _once(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(value)) < len(value):
            raise ValueError("each receiver once")
        return value


def effective_rules(policy: NotifyRules, schedule: NotifyRules | None = None) -> NotifyRules:
    """The rules that hold for a scan: its schedule's where that has any, or else its policy's."""
    return policy if schedule is None else schedule
