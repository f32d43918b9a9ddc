"""How many packets nmap sends for each of its questions: counted behind a cable, nmap 7.93."""

from __future__ import annotations

from tasks.effort import Effort, Sends

PROBES = 4
"""How an address is asked whether it is there: an echo, a timestamp, a SYN and an ACK; twice where it is silent.

On the worker's own link it is one ARP.
"""
KNOWN_AT_ONCE = 6
"""A service that says who it is as soon as it is connected to."""
GREETING, EACH_INTENSITY = 20, 16
"""One that nothing is recognised in: 18 with intensity 0, 126 with 7."""


def tries(max_retries: int) -> int:
    """How often silence is asked: twice, whatever `max_retries` is above 0."""
    return 2 if max_retries else 1


def sweep(hosts: int, ports: int, max_retries: int, rate: float | None) -> Effort:
    """Ports of hosts: one packet for each that answers."""
    least = hosts * ports
    return Effort(Sends.PACKETS, least, least * tries(max_retries), rate)


def identifying(services: int, intensity: int) -> Effort:
    """Products and versions of open ports: nmap has no rate for these."""
    return Effort(Sends.PACKETS, services * KNOWN_AT_ONCE, services * (GREETING + EACH_INTENSITY * intensity))


def discovery(addresses: int, max_retries: int, rate: float | None) -> Effort:
    """Live addresses of networks."""
    return Effort(Sends.PACKETS, addresses, addresses * PROBES * tries(max_retries), rate)
