"""How heavy a unit is for its destinations, and how it is held to what it was given of them."""

from __future__ import annotations

from typing import Any

from footprint.budget import Allowance, Load, Share, alone, destinations
from footprint.errors import TooHeavy
from tasks.tool import Batch, Risk, Tool

PACKETS_A_REQUEST = 10.0
"""What a request over a connection of its own sends at most: it opens, asks, acknowledges and closes."""
PACKETS_A_CONNECTION = 60.0
"""A second's worth of one connection after the other, where a tool says no more than how many it has at once."""
PACKETS_UNKNOWN = 300.0


def load_of(tool: Tool, batch: Batch, options: Any) -> Load | None:
    """What a unit sends one destination; None where it sends none of them anything."""
    risk = tool.risk_with(options) if tool.risk_with else tool.risk
    if risk is Risk.PASSIVE or not destinations(batch):
        return None
    return tool.load(batch, options) if tool.load else _guessed(options)


def _guessed(options: Any) -> Load:
    """By what options are called everywhere: `max_rate` is packets, `rate` requests, `parallel` what is at once."""
    parallel = int(getattr(options, "parallel", 1))
    if packets := getattr(options, "max_rate", None):
        return Load(float(packets), 1.0, parallel)
    if rate := getattr(options, "rate", None):
        return Load(rate * PACKETS_A_REQUEST, PACKETS_A_REQUEST, parallel)
    heavy = parallel * PACKETS_A_CONNECTION if hasattr(options, "parallel") else PACKETS_UNKNOWN
    return Load(heavy, heavy, parallel, parallel)


def _held(options: Any, share: Share) -> Any:
    """Options of those names, held to a share."""
    update: dict[str, float | int] = {}
    if hasattr(options, "max_rate"):
        update["max_rate"] = max(1, min(options.max_rate, int(share.packets)))
    elif hasattr(options, "rate"):
        rate = share.packets / PACKETS_A_REQUEST
        update["rate"] = min(options.rate, rate if isinstance(options.rate, float) else max(1, int(rate)))
        if hasattr(options, "parallel"):
            update["parallel"] = max(1, min(options.parallel, share.connections))
    return options.model_copy(update=update)


def paced(tool: Tool, batch: Batch, options: Any, allowance: Allowance, share: Share | None) -> Any:
    """Options for a unit that was given this share of its destinations, or all of them.

    Raises `TooHeavy` where it cannot go as slowly as the policy asks.
    """
    load = load_of(tool, batch, options)
    if load is None:
        return options
    if why := too_heavy(tool.name, load, allowance):
        raise TooHeavy(why, hint="raise the policy's intensity, budget or connections, or leave the module out")
    given = share or alone(load, allowance)
    return tool.at_rate(options, given) if tool.at_rate else _held(options, given)


def too_heavy(module: str, load: Load, allowance: Allowance) -> str:
    """Why a destination can never bear this load; empty where it can."""
    if load.least > allowance.packets:
        return (
            f"{module}: cannot go slower than {load.least:,.0f} packets a second;"
            f" {allowance.packets:,.0f} are allowed for one destination"
        )
    if load.fewest > allowance.connections:
        return (
            f"{module}: needs {load.fewest} connections at once; {allowance.connections} are allowed to one destination"
        )
    return ""
