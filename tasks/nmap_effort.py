"""How many packets nmap sends for each of its questions: counted behind a cable, nmap 7.93."""

from __future__ import annotations

from footprint.records import Service
from tasks.effort import Effort, Sends
from tasks.nmap_call import Paced, aims_of, are_local
from tasks.tool import Batch

PROBES = 4
"""How an address is asked whether it is there: an echo, a timestamp, a SYN and an ACK; twice where it is silent.

On the worker's own link it is one ARP.
"""
KNOWN_AT_ONCE = 6
"""A service that says who it is as soon as it is connected to."""
GREETING, EACH_INTENSITY = 20, 16
"""One that nothing is recognised in: 18 with intensity 0, 126 with 7."""
GUESS = 50
"""The odd packets by which an operating system is guessed: some 16, asked again where they are not answered."""


def tries(max_retries: int) -> int:
    """How often silence is asked: twice, whatever `max_retries` is above 0."""
    return 2 if max_retries else 1


def effort_of(batch: Batch, ports: int, options: Paced, *, has_scripts: bool, guesses: bool = False) -> Effort:
    """A batch of hosts, asked about so many ports, or of services; scripts ask services what they see fit."""
    aims = aims_of(batch)
    if not isinstance(batch[0], Service):
        return _sweep(len(aims), ports, options.max_retries, None if are_local(aims) else options.max_rate)
    most = len(batch) * (GREETING + EACH_INTENSITY * options.version_intensity) + guesses * GUESS * len(aims)
    # nmap has no rate for these.
    return Effort(Sends.PACKETS, len(batch) * KNOWN_AT_ONCE, None if has_scripts else most)


def _sweep(hosts: int, ports: int, max_retries: int, rate: float | None) -> Effort:
    """Ports of hosts: one packet for each that answers."""
    return Effort(Sends.PACKETS, hosts * ports, hosts * ports * tries(max_retries), rate)


def discovery(addresses: int, max_retries: int, rate: float | None) -> Effort:
    """Live addresses of networks."""
    return Effort(Sends.PACKETS, addresses, addresses * PROBES * tries(max_retries), rate)
