"""Policies as callers write them: read strictly, held against the modules that are here, found by name.

A policy that is read here can be carried out: every module it names exists, and takes the options it is given.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError
from sqlalchemy.orm import Session

from footprint.errors import InvalidPolicy
from footprint.faults import Fault, faults_of
from footprint.older_policy import older_fields, translated
from footprint.policy import INLINE, PRESETS, ScanPolicy, contradictions, unknown_policy
from footprint.store.policies import find_policy
from tasks.catalogue import catalogue
from tasks.tool import Tool
from tasks.unit import pace_of

SHOWN_ONLY = frozenset({"shipped", "created_at", "updated_at"})
"""What is said of a policy beside what it says: left aside where it comes back."""
NOT_FOR_POLICIES = "is not for a policy to say"


def policy_of(said: object, *, name: str | None = None, onto: ScanPolicy | None = None, where: str = "") -> ScanPolicy:
    """Read a policy from JSON's values, fields of older manuals included.

    `name` is what it is called where it does not say so; `onto` is a policy that `said` changes; `where` is the field
    that holds it, for the words of errors. A unit's time that is not given is at most the scan's. Raises
    `InvalidPolicy` that names each wrong field and what it must be.
    """
    if not isinstance(said, Mapping):
        raise InvalidPolicy.because_of([Fault(where or "policy", "an object")])
    new = translated(said, catalogue(), onto.model_dump(mode="json") if onto else None)
    policy, faults = _read({"name": name, **new.body} if name else new.body)
    unknown = _unknown("policy", said, ScanPolicy, older_fields(catalogue()) | SHOWN_ONLY)
    named = [new.blamed(fault) for fault in (*unknown, *new.faults, *faults)]
    if named:
        raise InvalidPolicy.because_of([Fault(_within(where, fault.field), fault.problem) for fault in named])
    return policy


def usable_policy(session: Session, name: str) -> ScanPolicy:
    """The shipped or own policy of that name, if it can be carried out still. Raises `InvalidPolicy`."""
    known = find_policy(session, name)
    if known is None:
        raise unknown_policy(f"one of: {', '.join(PRESETS)}, or one of your own")
    return known.policy if known.is_shipped else policy_of(known.policy.model_dump(mode="json"), where="policy")


def refuse_borrowed_name(session: Session, policy: ScanPolicy) -> None:
    """Raise `InvalidPolicy` where a policy that comes with a scan goes by the name of one that says something else."""
    known = find_policy(session, policy.name)
    if known and known.policy != policy:
        problem = "another policy has this name: leave it out, or take a new one"
        raise InvalidPolicy.because_of([Fault("policy.name", problem)])


def _within(where: str, field: str) -> str:
    return ".".join(part for part in (where, field) if part and field != where) or where


def _read(body: Mapping[str, Any]) -> tuple[ScanPolicy, list[Fault]]:
    """The policy, and what is wrong with it: then it is of those fields only that are in order."""
    known = {name: value for name, value in body.items() if name in ScanPolicy.model_fields}
    modules = known.get("modules")
    if isinstance(modules, dict):
        known["modules"] = {name: {} for name in modules if name in catalogue()}
    policy, wrong = _validated(known)
    faults = [*wrong, *(_module_faults(modules, policy) if isinstance(modules, dict) else ())]
    if not faults:
        policy = policy.model_copy(update={"modules": modules} | _unit_time(policy))
        faults += contradictions(policy)
    return policy, faults


def _validated(body: Mapping[str, Any]) -> tuple[ScanPolicy, tuple[Fault, ...]]:
    try:
        return _strictly(ScanPolicy, body), ()
    except ValidationError as error:
        wrong = error.errors(include_url=False, include_input=False)
        # What is nested too deeply has no place: then nothing of it is kept.
        at_fault = {entry["loc"][0] for entry in wrong} if all(entry["loc"] for entry in wrong) else set(body)
        sound = {name: value for name, value in body.items() if name not in at_fault}
        return _strictly(ScanPolicy, {"name": INLINE, "modules": {}, **sound}), faults_of(wrong)


def _strictly(model: type[Any], body: Mapping[str, Any]) -> Any:
    """JSON is read strictly: "3" and true are no numbers, and a list is what it is."""
    return model.model_validate_json(json.dumps(body), strict=True)


def _unit_time(policy: ScanPolicy) -> dict[str, int]:
    if "unit_timeout" in policy.model_fields_set:
        return {}
    return {"unit_timeout": min(policy.unit_timeout, policy.scan_timeout)}


def _module_faults(modules: Mapping[str, object], policy: ScanPolicy) -> list[Fault]:
    faults: list[Fault] = []
    for number, (name, options) in enumerate(modules.items(), start=1):
        if name not in catalogue():
            faults.append(Fault("modules", f"no. {number} is no module; there are {', '.join(catalogue())}"))
        elif not isinstance(options, dict):
            faults.append(Fault(f"modules.{name}", "an object, of options"))
        else:
            faults += _option_faults(catalogue()[name], options, policy)
    return faults


def _option_faults(tool: Tool, options: Mapping[str, Any], policy: ScanPolicy) -> list[Fault]:
    """What is wrong with a module's options: each by itself, and against what the policy says of time and pace."""
    place = f"modules.{tool.name}"
    faults = _unknown(place, options, tool.options)
    known = {name: value for name, value in options.items() if name in tool.options.model_fields}
    try:
        wanted = _strictly(tool.options, known)
        pace = pace_of(policy.model_copy(update=_unit_time(policy)))
        held = tool.configure({name: value for name, value in known.items() if name not in tool.own_options}, pace)
    except ValidationError as error:
        return [*faults, *faults_of(error.errors(include_url=False, include_input=False), place)]
    for name in known:
        if getattr(held, name) != getattr(wanted, name):
            limit = NOT_FOR_POLICIES if name in tool.own_options else _limit(getattr(held, name))
            faults.append(Fault(f"{place}.{name}", limit))
    return faults


def _limit(held: object) -> str:
    """Why an option does not stay what it was given as: the policy's time bounds it, or the worker sets it."""
    if isinstance(held, int | float):
        return f"at most {held} within this unit_timeout"
    return NOT_FOR_POLICIES


def _unknown(place: str, body: Mapping[str, Any], model: type[BaseModel], besides: Collection[str] = ()) -> list[Fault]:
    """Fields that a model does not have, by their number: their names are the caller's text."""
    there_are = f"there are {', '.join(model.model_fields)}"
    return [
        Fault(place, f"field no. {number} is not known; {there_are}")
        for number, name in enumerate(body, start=1)
        if name not in model.model_fields and name not in besides
    ]
