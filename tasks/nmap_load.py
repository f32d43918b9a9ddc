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
"""What a service is sent until it is known, with scripts and the guess of the system; 10 without, measured with 64
services of 8 hosts in a namespace. Most know at once.

nmap has no rate for these, and fewer at once are hardly slower: a service that answers takes milliseconds.
"""
SERVICES_AT_ONCE = 30
STEADY = 0.95
"""The part of its share below which a sweep does not fall: nmap slows down before silence, and lets the rest lie."""

Options = TypeVar("Options", bound=BaseModel)


def load_of_question(batch: Batch, ports: int, max_rate: int) -> Load:
    """The load of a batch, all networks, all hosts or all services; hosts are asked about so many ports, twice each."""
    if isinstance(batch[0], Network):
        return paced_load(PROBES * addresses_in(batch), max_rate)
    if isinstance(batch[0], Host):
        return paced_load(2 * ports * len(batch), max_rate)
    packets, connections = PACKETS_A_SERVICE * len(batch), min(len(batch), SERVICES_AT_ONCE)
    return Load(packets, packets, connections, connections)


def at_rate(options: Options, share: Share) -> Options:
    """nmap's options with a share of a destination as their rate."""
    most = max(1, int(share.packets))
    return options.model_copy(update={"max_rate": most, "min_rate": max(1, int(most * STEADY))})
