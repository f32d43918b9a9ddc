"""What nmap sends one destination, by the question it is asked, and how it is held to a share of that."""

from __future__ import annotations

from typing import TypeVar

from pydantic import BaseModel

from footprint.budget import Load, Share, addresses_in, paced_load
from footprint.records import Host, Network
from tasks.tool import Batch

PROBES = 4
"""How an address is asked whether it is there: an echo, a timestamp, a SYN and an ACK."""
PACKETS_A_SERVICE = 30.0
"""What a service that is recognised is sent within a second, with scripts and the guess of the system; 10 without.

nmap has no rate for these, and fewer at once are hardly slower: a service that answers takes milliseconds.
"""
GREETING, EACH_INTENSITY, SCRIPTS = 4, 18, 30
"""What one that answers every probe at once, and is never recognised, is sent within a second: measured in a namespace,
39 with version intensity 2, 93 with 5, and 130 to 170 with 7 and scripts. One of a unit may be such; where several are,
more is sent for a second than was claimed: to claim so much for each would be to ask most hosts in pieces.

One that is silent is sent 5 a second at most, but what is claimed for it cannot be given back early: it may speak at
any probe, and scripts for all services of a unit come when the last is through (387 packets within the 160th second,
for 7 beside a silent one).
"""
SERVICES_AT_ONCE = 30
STEADY = 0.95
"""The part of its share below which a sweep does not fall: nmap slows down before silence, and lets the rest lie."""

Options = TypeVar("Options", bound=BaseModel)


def load_of_question(batch: Batch, ports: int, max_rate: int, a_service: float = PACKETS_A_SERVICE) -> Load:
    """The load of a batch, all networks, all hosts or all services; hosts are asked about so many ports, twice each.

    `a_service` is what one of the services may be sent (`packets_a_service`), the others being recognised.
    """
    if isinstance(batch[0], Network):
        return paced_load(PROBES * addresses_in(batch), max_rate)
    if isinstance(batch[0], Host):
        return paced_load(2 * ports * len(batch), max_rate)
    packets = a_service + PACKETS_A_SERVICE * (len(batch) - 1)
    connections = min(len(batch), SERVICES_AT_ONCE)
    return Load(packets, packets, connections, connections)


def at_rate(options: Options, share: Share) -> Options:
    """nmap's options with a share of a destination as their rate."""
    most = max(1, int(share.packets))
    return options.model_copy(update={"max_rate": most, "min_rate": max(1, int(most * STEADY))})


def packets_a_service(version_intensity: int, *, has_scripts: bool) -> float:
    """What a service may be sent within a second until it is known, or given up."""
    return max(PACKETS_A_SERVICE, GREETING + EACH_INTENSITY * version_intensity + SCRIPTS * has_scripts)


def affordable(version_intensity: int, budget: float, *, has_scripts: bool) -> int:
    """The version intensity, lowered to what one service may be sent within a second."""
    lower = range(version_intensity, 0, -1)
    return next((one for one in lower if packets_a_service(one, has_scripts=has_scripts) <= budget), 0)
