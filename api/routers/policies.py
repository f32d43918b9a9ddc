"""`/api/policies/`: how a scan may be done. A scan keeps a copy: what is changed here changes no scan there is."""

from __future__ import annotations

import re
from typing import Annotated

from fastapi import Path, Request, Response
from pydantic import BeforeValidator
from sqlalchemy.orm import Session

from api.paging import Page, PagingDep
from api.policy_schemas import PolicyBody, PolicyChange, PolicyOut
from api.reading import ReadingDep
from api.routing import router
from api.writing import WritingDep
from footprint.errors import InvalidPolicy, NotFound
from footprint.faults import Fault
from footprint.store.policies import (
    KnownPolicy,
    add_policy,
    delete_policy,
    own_policy,
    policies_page,
    policy_by_name,
    replace_policy,
)
from tasks.policies import policy_of

policies = router("policies")


def _sound(name: str) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9_-]{0,63}", name):
        raise NotFound("there is no policy of that name", hint="`GET /api/policies/` lists them")
    return name


Name = Annotated[str, Path(description="A policy's name."), BeforeValidator(_sound)]


@policies.get("/", response_model=Page[PolicyOut])
async def list_policies(paging: PagingDep, reading: ReadingDep) -> Response:
    """Policies: those that are shipped first, then your own by name."""

    def page(session: Session) -> Page[PolicyOut]:
        found, count = policies_page(session, paging.offset, paging.limit)
        return paging.of([PolicyOut.of(known) for known in found], count)

    return await reading(page)


@policies.get("/{name}/", response_model=PolicyOut)
async def read_policy(name: Name, reading: ReadingDep) -> Response:
    """One policy."""
    return await reading(lambda session: PolicyOut.of(policy_by_name(session, name)))


@policies.post("/", status_code=201)
async def create_policy(said: PolicyBody, request: Request, response: Response, writing: WritingDep) -> PolicyOut:
    """Keep a policy of your own, for scans to name."""
    known = await writing(lambda session: add_policy(session, policy_of(said)))
    response.headers["Location"] = str(request.url_for("read_policy", name=known.policy.name))
    return PolicyOut.of(known)


@policies.put("/{name}/")
async def replace_own_policy(name: Name, said: PolicyBody, writing: WritingDep) -> PolicyOut:
    """Have a policy of your own say this from now on, and nothing of what it said."""
    return PolicyOut.of(await writing(lambda session: _changed(session, name, said, is_whole=True)))


@policies.patch("/{name}/")
async def change_own_policy(name: Name, said: PolicyChange, writing: WritingDep) -> PolicyOut:
    """Change some fields of a policy of your own; a field that is given is replaced whole."""
    return PolicyOut.of(await writing(lambda session: _changed(session, name, said, is_whole=False)))


@policies.delete("/{name}/", status_code=204)
async def delete_own_policy(name: Name, writing: WritingDep) -> None:
    """Forget a policy of your own."""
    await writing(lambda session: delete_policy(session, name))


def _changed(session: Session, name: str, said: object, *, is_whole: bool) -> KnownPolicy:
    known = own_policy(session, name)
    policy = policy_of(said, name=name, onto=None if is_whole else known.policy)
    if policy.name != name:
        raise InvalidPolicy.because_of([Fault("name", "stays what it is: leave it out, or make a new policy")])
    return replace_policy(session, policy)
