"""The fields that policies had in older manuals, accepted and put into today's words.

    amass_enabled, nmap_enabled, …  → modules       (dns comes with them: the tools resolved names themselves then)
    intensity_level                 → intensity     (0-5, or LOW, MEDIUM, HIGH)
    optimization_flags              → module options, ports (see older_flags.py)

Pure: which modules there are is told. The same thing said in an old and in a new field is refused.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from footprint.faults import Fault
from footprint.older_flags import FIELD as FLAGS_FIELD
from footprint.older_flags import Chosen, read_flags

LEVELS = {"LOW": 1, "MEDIUM": 3, "HIGH": 4}
SWITCH = "_enabled"
OLDER_MODULES = ("amass", "nmap", "zmap")
"""The modules that older manuals knew: their switches are understood whether the module is here or not."""
RESOLVER = "dns"


@dataclass
class Translation:
    """A policy in today's words, as far as it could be read. `origins` are the older fields by today's ones."""

    body: dict[str, Any]
    origins: dict[str, str] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)

    def blamed(self, fault: Fault) -> Fault:
        """The same fault, told of the older field where that is what was written."""
        return Fault(self.origins.get(fault.field, fault.field), fault.problem)


def older_fields(modules: Collection[str]) -> frozenset[str]:
    """The fields of older policies, where these modules are here."""
    return frozenset({"intensity_level", FLAGS_FIELD, *(f"{name}{SWITCH}" for name in {*modules, *OLDER_MODULES})})


def translated(said: Mapping[str, Any], modules: Collection[str], onto: Mapping[str, Any] | None = None) -> Translation:
    """Put a policy into today's words. `modules` are those that are here; `onto` is a policy that `said` changes."""
    older = older_fields(modules)
    new = Translation({**(onto or {}), **{name: value for name, value in said.items() if name not in older}})
    _translate_level(said, new)
    switches = {name.removesuffix(SWITCH): on for name, on in said.items() if name in older and name.endswith(SWITCH)}
    if switches:
        _translate_switches(switches, said, modules, new)
    if FLAGS_FIELD in said:
        chosen, faults = read_flags(said[FLAGS_FIELD])
        new.faults += faults
        for option in chosen:
            _choose(option, said, new)
    return new


def _translate_level(said: Mapping[str, Any], new: Translation) -> None:
    if "intensity_level" not in said:
        return
    if "intensity" in said:
        new.faults.append(Fault("intensity_level", "is the older name of intensity: give one of them"))
        return
    level = said["intensity_level"]
    if isinstance(level, str) and level.upper() not in LEVELS:
        new.faults.append(Fault("intensity_level", f"0 to 5, or one of {', '.join(LEVELS)}"))
        return
    new.body["intensity"] = LEVELS[level.upper()] if isinstance(level, str) else level
    new.origins["intensity"] = "intensity_level"


def _translate_switches(
    switches: Mapping[str, object], said: Mapping[str, Any], here: Collection[str], new: Translation
) -> None:
    if "modules" in said:
        new.faults += [Fault(f"{name}{SWITCH}", "modules says already which are on") for name in switches]
        return
    modules = dict(new.body.get("modules", {RESOLVER: {}}))
    for name, on in switches.items():
        if not isinstance(on, bool):
            new.faults.append(Fault(f"{name}{SWITCH}", "true or false"))
        elif on and name not in here:
            new.faults.append(Fault(f"{name}{SWITCH}", "there is no such module here"))
        elif on:
            modules.setdefault(name, {})
        else:
            modules.pop(name, None)
    new.body["modules"] = modules


def _choose(chosen: Chosen, said: Mapping[str, Any], new: Translation) -> None:
    """Set what a flag sets, unless it is set already, or its module is off."""
    if not chosen.module:
        where, given, place = new.body, said, chosen.option
    else:
        modules = new.body.get("modules")
        options = modules.get(chosen.module) if isinstance(modules, dict) else None
        if not isinstance(modules, dict) or not isinstance(options, dict):
            new.faults.append(Fault(chosen.field, f"{chosen.module} is not on"))
            return
        where, given = dict(options), _options_given(said, chosen.module)
        new.body["modules"] = {**modules, chosen.module: where}
        place = f"modules.{chosen.module}.{chosen.option}"
    if chosen.option in given or place in new.origins:
        new.faults.append(Fault(chosen.field, "what it sets is set already"))
        return
    where[chosen.option] = chosen.value
    new.origins[place] = chosen.field


def _options_given(said: Mapping[str, Any], module: str) -> Mapping[str, Any]:
    """What the caller's own `modules` say of a module; what an earlier policy said may be changed."""
    modules = said.get("modules")
    options = modules.get(module) if isinstance(modules, dict) else None
    return options if isinstance(options, dict) else {}
