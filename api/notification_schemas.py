"""Webhooks and notifications over the wire."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from footprint.notify_rules import NAME_PATTERN
from footprint.store.deliveries import DeliveryView
from footprint.store.webhooks import WebhookView
from footprint.webhook_address import WebhookAddress
from tasks.delivery import Trial


class WebhookRequest(BaseModel):
    """A webhook to be kept. Without a `secret` one is made."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={"examples": [{"name": "siem", "url": "https://hooks.example.com/pulsar"}]},
    )

    name: Annotated[str, StringConstraints(pattern=f"^{NAME_PATTERN}$")] = Field(
        description="What policies call it: `signed-webhook/NAME`."
    )
    url: WebhookAddress = Field(description="Where it is posted to: https, unless PULSAR_NOTIFY_ALLOW has its network.")
    secret: str | None = Field(
        default=None, min_length=16, max_length=255, pattern=r"^[\x21-\x7e]+$", description="What it is signed with."
    )


class WebhookOut(BaseModel):
    """A webhook. Its secret is not shown."""

    name: str
    url: str
    receiver: str = Field(description="What a policy's `notify.to` calls it.")
    created_at: datetime

    @classmethod
    def of(cls, view: WebhookView) -> WebhookOut:
        """A webhook, as it is shown."""
        return cls(name=view.name, url=view.url, receiver=f"signed-webhook/{view.name}", created_at=view.created_at)


class NewWebhookOut(WebhookOut):
    """A webhook that was just made, with its secret: it is shown this once."""

    secret: str


class TrialOut(BaseModel):
    """What became of a test."""

    delivered: bool
    event_id: UUID
    error: str | None

    @classmethod
    def of(cls, trial: Trial) -> TrialOut:
        """A test, as it is shown."""
        return cls(delivered=trial.error is None, event_id=trial.event_id, error=trial.error)


class DeliveryOut(BaseModel):
    """How far one receiver has been told: undecided, pending, delivered, given_up, not_needed where there is no news.

    `event_id` is the same each time it is sent; `digest_id` is that of the message that it went with.
    """

    receiver: str
    status: str
    type: str | None
    event_id: UUID | None
    digest_id: UUID | None
    tries: int
    last_error: str | None
    created_at: datetime
    next_try_at: datetime | None
    delivered_at: datetime | None

    @classmethod
    def of(cls, view: DeliveryView) -> DeliveryOut:
        """A delivery, as it is shown."""
        return cls.model_validate(view, from_attributes=True)
