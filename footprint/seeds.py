"""What a scan starts from."""

from __future__ import annotations

from ipaddress import ip_network

from footprint.records import DomainName, Host, Network, Record

SWEEP_ADDRESSES = 64
"""A network is looked at in pieces of this many addresses, so that results and progress come early."""


def seeds(target: DomainName | Host | Network) -> list[Record]:
    """What a scan starts from: its target, a network in pieces of `SWEEP_ADDRESSES`."""
    if not isinstance(target, Network):
        return [target]
    network = ip_network(target.cidr)
    longest = network.max_prefixlen - (SWEEP_ADDRESSES - 1).bit_length()
    pieces = [network] if network.prefixlen >= longest else network.subnets(new_prefix=longest)
    return [Network(str(piece)) for piece in pieces]
