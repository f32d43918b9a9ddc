"""`/api/policies/`: how a scan may be done."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path

from api.paging import Page, PagingDep
from api.routing import router
from api.schemas import PolicyOut
from footprint.errors import NotFound
from footprint.policy import PRESETS

policies = router("policies")


@policies.get("/")
def list_policies(paging: PagingDep) -> Page[PolicyOut]:
    """The policies there are."""
    found = [PolicyOut(**policy.model_dump(mode="json")) for policy in PRESETS.values()]
    return paging.of(found[paging.offset : paging.offset + paging.limit], len(found))


@policies.get("/{name}/")
def read_policy(name: Annotated[str, Path(max_length=64)]) -> PolicyOut:
    """One policy."""
    if name not in PRESETS:
        raise NotFound("there is no policy of that name")
    return PolicyOut(**PRESETS[name].model_dump(mode="json"))
