"""What is asked of a preview. What it answers is described in `tasks.plan`."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from api.policy_schemas import AskedPolicy
from footprint.policy import DEFAULT_POLICY


class PreviewRequest(BaseModel):
    """What a scan would look at."""

    model_config = ConfigDict(extra="forbid", strict=True, json_schema_extra={"examples": [{"target": "example.com"}]})

    target: str = Field(max_length=1024, description="A domain, an address or a network in CIDR notation.")


class FreePreviewRequest(PreviewRequest):
    """What a scan would look at, and how."""

    policy: AskedPolicy = Field(default=DEFAULT_POLICY, description="A policy's name, or a policy that is not kept.")
