"""What a preview says in words: what is left out, why a module has nothing to do, what will not go as asked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from ipaddress import ip_network

from footprint.policy import ScanPolicy
from footprint.records import DomainName, Host, Network, Record
from footprint.scope import Scope
from tasks.effort import excluded_by, holes
from tasks.least_time import Bound, Planned
from tasks.plan import Step, When
from tasks.reach import Outline
from tasks.tool import Tool

SECONDS_TOLD = 1.0
"""From how long on it is said what sets the time."""


def left_out(target: DomainName | Host | Network, scope: Scope) -> Iterator[str]:
    """What of a target the scope keeps out, as far as that can be told of the target alone."""
    match target:
        case Network(cidr=cidr):
            for hole in holes(ip_network(cidr), excluded_by(scope)):
                yield f"{hole.network_address if hole.num_addresses == 1 else hole}: excluded"
        case DomainName(name=name):
            below = [entry for entry in (*scope.exclude, *scope.asset_exclude) if entry.endswith(f".{name}")]
            yield from (f"{entry} and what is below: excluded" for entry in below)
            yield from (f"addresses in {network}: excluded" for network in excluded_by(scope))
            allowed = " ".join(map(str, scope.allow))
            yield f"special-purpose addresses{f', beside those in {allowed}' if allowed else ''}"
            yield "addresses behind an alias that is outside of the scope"


def why_never(tool: Tool, outline: Outline, roots: Sequence[Record], depth: int) -> str:
    """Why a module has nothing to do with these roots, nor with what is found from them."""
    kinds = tuple(dict.fromkeys(intake.record for intake in tool.accepts))
    words = " and ".join(_plural(kind) for kind in kinds)
    if not kinds:
        return "there is nothing here that it would be run for"
    if any(each.depth > depth and tool.intake_of(each.record) for each in outline.arrivals):
        return f"takes {words}, which are further from the target than the policy's depth, {depth}"
    if any(isinstance(root, kind) for kind in kinds for root in roots[:1]):
        return f"takes {words}, but none such as this target"
    if all(intake.roots_only for intake in tool.accepts):
        return f"takes {words} only, and only those that a scan is asked for"
    if not any(outline.may_hold(kind) for kind in kinds):
        return f"takes {words} only, which are outside of the scope of this target"
    return f"takes {words} only, and nothing in this policy leads to any that it takes"


def _plural(kind: type[Record]) -> str:
    return f"{kind.kind.replace('_', ' ')}s".replace("technologys", "technologies")


def remarks(policy: ScanPolicy, steps: Sequence[Step], units: Sequence[Planned], bound: Bound) -> Iterator[str]:
    """What will not go as the policy asks, and what the preview takes for granted."""
    if bound.why and bound.seconds >= SECONDS_TOLD:
        yield f"the time is set by {bound.why}"
    if bound.seconds > policy.scan_timeout:
        yield (
            f"it takes {bound.seconds:,.0f} s at least, and is cut short after {policy.scan_timeout:,} s, "
            "the policy's scan_timeout"
        )
    longest = max((unit.seconds for unit in units), default=0.0)
    if longest > policy.unit_timeout:
        yield (
            f"a unit takes {longest:,.0f} s at least, and is ended after {policy.unit_timeout:,} s, "
            "the policy's unit_timeout"
        )
    for step in steps:
        if step.module in policy.required and (step.lacking or step.when is When.NEVER):
            yield f"the scan fails: {step.module} is required, and {step.lacking or step.why}"
    if any(step.runs and step.without_raw_sockets for step in steps):
        yield "commands are those of a worker that may open raw sockets"
