"""Address space as numbers: runs of addresses, and which of it serves a special purpose or carries IPv4 inside."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_network
from typing import NamedTuple


class Span(NamedTuple):
    """A run of addresses of one family, first and last included, as numbers."""

    version: int
    first: int
    last: int

    @classmethod
    def of(cls, text: str) -> Span:
        """The span of an address or a network in canonical text; raises `ValueError` for anything else."""
        network = ip_network(text)
        return cls(network.version, int(network.network_address), int(network.broadcast_address))

    def within(self, others: Iterable[Span]) -> bool:
        """True where one of the others covers all of it."""
        return any(
            self.version == other.version and other.first <= self.first and self.last <= other.last for other in others
        )

    def overlaps(self, other: Span) -> bool:
        """True where they share an address."""
        return self.version == other.version and self.first <= other.last and other.first <= self.last


SPECIAL_PURPOSE: tuple[tuple[Span, str], ...] = tuple(
    (Span.of(cidr), meaning)
    for meaning, networks in (
        ("this network", "0.0.0.0/8"),
        ("loopback", "127.0.0.0/8 ::1/128"),
        ("private use", "10.0.0.0/8 172.16.0.0/12 192.168.0.0/16"),
        ("unique local", "fc00::/7"),
        ("link-local", "169.254.0.0/16 fe80::/10"),
        ("site-local", "fec0::/10"),
        ("shared address space of carriers", "100.64.0.0/10"),
        ("documentation", "192.0.2.0/24 198.51.100.0/24 203.0.113.0/24 2001:db8::/32 3fff::/20"),
        ("benchmarking", "198.18.0.0/15 2001:2::/48"),
        ("AS112", "192.31.196.0/24 192.175.48.0/24 2620:4f:8000::/48"),
        ("multicast tunnelling", "192.52.193.0/24"),
        ("6to4", "192.88.99.0/24 2002::/16"),
        ("Teredo", "2001::/32"),
        ("ORCHID", "2001:10::/28 2001:20::/28"),
        ("IETF protocol assignments", "192.0.0.0/24 2001::/23"),
        ("multicast", "224.0.0.0/4 ff00::/8"),
        ("limited broadcast", "255.255.255.255/32"),
        ("reserved", "240.0.0.0/4"),
        ("unspecified", "::/128"),
        ("IPv4 mapped into IPv6", "::ffff:0:0/96"),
        ("IPv4-compatible IPv6", "::/96"),
        ("IPv4 behind NAT64", "64:ff9b::/96 64:ff9b:1::/48"),
        ("discard only", "100::/64 100:0:0:1::/64"),
        ("segment routing", "5f00::/16"),
        # What is left outside of 2000::/3, the only global unicast space that IANA assigns from.
        ("not global unicast", "::/3 4000::/2 8000::/1"),
    )
    for cidr in networks.split()
)
"""The IANA special-purpose registries (RFC 6890) and multicast, the narrower network first where two overlap.

`ipaddress.is_global` does not serve: it is True for multicast, NAT64, 6to4 and IPv4-compatible addresses.
"""

_LOW_32_BITS = tuple(ip_network(cidr) for cidr in ("::ffff:0:0/96", "::/96", "64:ff9b::/96", "64:ff9b:1::/48"))
CARRIES_IPV4 = tuple(Span.of(cidr) for cidr in (*map(str, _LOW_32_BITS), "2001::/32", "2002::/16"))
_NO_IPV4_IN = frozenset({IPv6Address("::"), IPv6Address("::1")})


def special_purpose(span: Span) -> str:
    """What special purpose the span, or a part of it, serves; empty where it is ordinary address space."""
    return next((meaning for special, meaning in SPECIAL_PURPOSE if span.overlaps(special)), "")


def carried_ipv4(address: IPv4Address | IPv6Address) -> tuple[IPv4Address, ...]:
    """The IPv4 addresses inside an IPv6 one: mapped, compatible, NAT64 (RFC 6052), 6to4, Teredo's server and client."""
    if isinstance(address, IPv4Address) or address in _NO_IPV4_IN:
        return ()
    if any(address in network for network in _LOW_32_BITS):
        return (IPv4Address(int(address) & 0xFFFFFFFF),)
    return address.teredo or ((address.sixtofour,) if address.sixtofour else ())


def joined(spans: Iterable[Span]) -> tuple[Span, ...]:
    """Join spans that touch, so that a network covered only by several together counts as covered."""
    merged: list[Span] = []
    for span in sorted(spans):
        last = merged[-1] if merged else None
        if last and last.version == span.version and span.first <= last.last + 1:
            merged[-1] = Span(last.version, last.first, max(last.last, span.last))
        else:
            merged.append(span)
    return tuple(merged)
