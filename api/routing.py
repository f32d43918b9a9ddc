"""How a router is made: its address, strict JSON, the token, and the errors it may answer."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Depends

from api.access import authorized
from api.guard import StrictRoute
from api.schemas import Problem

PROBLEMS: dict[int | str, dict[str, Any]] = {
    code: {"model": Problem, "description": description}
    for code, description in {
        400: "The body is not strict JSON.",
        401: "A valid token is needed.",
        403: "No authorisation that is valid now covers the target of an active scan.",
        404: "There is nothing of that id.",
        409: "It contradicts what is already there.",
        422: "The request is of the wrong shape, or may not be carried out.",
        503: "Prefect or the store is away: try again after `Retry-After` seconds.",
    }.items()
}


def router(noun: str) -> APIRouter:
    """A router at `/api/<noun>/` whose every route needs a token."""
    return APIRouter(
        prefix=f"/api/{noun}",
        tags=[noun],
        route_class=StrictRoute,
        dependencies=[Depends(authorized)],
        responses=PROBLEMS,
    )
