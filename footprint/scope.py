"""What may be touched, decided in one place: for the request, for every record found, and before a tool starts.

Names are compared label by label and addresses as numbers, never by substring. The exclusion list always wins.
Special-purpose addresses are refused unless the installation allows them. Nothing is resolved here.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import NamedTuple

from footprint.errors import InvalidTarget, TargetRefused
from footprint.records import DomainName, Endpoint, Finding, Host, Network, Record, Service
from footprint.target import Target, canonical_address, parse_exclusions, parse_name

EXCLUDED = "on the exclusion list of this installation"
OUTSIDE = "outside of the scope"
MALFORMED = "not in canonical form"


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
_CARRIES_IPV4 = tuple(Span.of(cidr) for cidr in (*map(str, _LOW_32_BITS), "2001::/32", "2002::/16"))
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


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether something may be touched; `rule` says in a few words why not, and is empty where it may."""

    touch: bool
    rule: str = ""


TOUCH = Decision(touch=True)


@dataclass(frozen=True, slots=True)
class Scope:
    """What one scan may touch: its roots, and what the installation allows and excludes.

    `allow` lifts the ban on special-purpose addresses and puts nothing into the scope. `exclude` holds domains (with
    every name below), addresses and networks; raises `PlatformError` where one is malformed.
    """

    roots: tuple[Target, ...]
    allow: tuple[IPv4Network | IPv6Network, ...] = ()
    exclude: tuple[str, ...] = ()
    max_addresses: int = 4096
    _domains: frozenset[str] = field(init=False, repr=False, compare=False)
    _addresses: tuple[Span, ...] = field(init=False, repr=False, compare=False)
    _allowed: tuple[Span, ...] = field(init=False, repr=False, compare=False)
    _excluded_domains: frozenset[str] = field(init=False, repr=False, compare=False)
    _excluded: tuple[Span, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        excluded = parse_exclusions(self.exclude)
        derived = {
            "_domains": _domains_of(self.roots),
            "_addresses": _spans_of(self.roots),
            "_allowed": _merged(Span.of(str(network)) for network in self.allow),
            "_excluded_domains": _domains_of(excluded),
            "_excluded": _merged(_spans_of(excluded)),
        }
        for name, value in derived.items():
            object.__setattr__(self, name, value)

    @classmethod
    def for_target(
        cls,
        target: Target,
        *,
        allow: tuple[IPv4Network | IPv6Network, ...] = (),
        exclude: tuple[str, ...] = (),
        max_addresses: int = 4096,
    ) -> Scope:
        """The scope of a scan of one target."""
        return cls(roots=(target,), allow=allow, exclude=exclude, max_addresses=max_addresses)

    def admit(self, target: Target) -> None:
        """Raise `TargetRefused` where a request for this target must be turned down.

        A network that merely overlaps an exclusion is admitted: the exclusion is honoured address by address. A
        name is not resolved, so that a request tells nobody what a name points to.
        """
        match target:
            case DomainName():
                rule = self._name_refusal(target.name)
            case Host():
                rule = self._address_refusal(target.address)
            case Network():
                rule = self._network_refusal(target.cidr) or self._size_refusal(target.cidr)
        if rule:
            raise TargetRefused(f"the target is refused: {rule}", hint=_remedy(rule))

    def decide(self, record: Record) -> Decision:
        """Judge a record: may the modules that accept it have it?

        A `Service` carries no name, so only exclusions and special-purpose space are asked: its host was decided
        before. A `Finding` is a result and is never touched; what merely describes something may be handed on.
        """
        match record:
            case DomainName():
                rule = self._name_refusal(record.name) or self._outside_name(record.name)
            case Host():
                rule = self._address_refusal(record.address) or self._outside_host(record)
            case Network():
                rule = self._network_refusal(record.cidr) or self._outside_network(record.cidr)
            case Service():
                rule = self._address_refusal(record.address)
            case Endpoint():
                rule = self._address_refusal(record.address) or (self._name_refusal(record.name) if record.name else "")
            case Finding():
                rule = "a finding is a result, not something to look at"
            case _:
                rule = ""  # a detail of something that was looked at: nothing is sent for it
        return Decision(touch=False, rule=rule) if rule else TOUCH

    def excluded_networks(self) -> tuple[str, ...]:
        """The excluded addresses and networks in CIDR notation, for a tool's own exclude file."""
        entries = parse_exclusions(self.exclude)
        return tuple(dict.fromkeys(_cidr_of(entry) for entry in entries if not isinstance(entry, DomainName)))

    def _name_refusal(self, name: str) -> str:
        if not _is_canonical_name(name):
            return MALFORMED
        return EXCLUDED if _is_below(name, self._excluded_domains) else ""

    def _address_refusal(self, text: str) -> str:
        if canonical_address(text) != text:
            return MALFORMED
        address = ip_address(text)
        spans = [Span.of(str(each)) for each in (address, *carried_ipv4(address))]
        if any(span.within(self._excluded) for span in spans):
            return EXCLUDED
        return next((rule for span in spans if (rule := self._special_refusal(span))), "")

    def _network_refusal(self, cidr: str) -> str:
        span = _span_or_none(cidr)
        if span is None:
            return MALFORMED
        if span.within(self._excluded):
            return EXCLUDED
        if any(span.overlaps(carrier) for carrier in _CARRIES_IPV4):
            return "IPv4 addresses inside an IPv6 network, to be given as the IPv4 network"
        return self._special_refusal(span)

    def _special_refusal(self, span: Span) -> str:
        meaning = special_purpose(span)
        return f"special-purpose address ({meaning})" if meaning and not span.within(self._allowed) else ""

    def _size_refusal(self, cidr: str) -> str:
        _, first, last = Span.of(cidr)
        return f"more than {self.max_addresses} addresses" if last - first >= self.max_addresses else ""

    def _outside_name(self, name: str) -> str:
        return "" if _is_below(name, self._domains) else OUTSIDE

    def _outside_network(self, cidr: str) -> str:
        return "" if Span.of(cidr).within(self._addresses) else OUTSIDE

    def _outside_host(self, host: Host) -> str:
        """An address behind somebody else's alias is theirs (a CDN's, say), though our name led to it."""
        names = [name for name in (host.name, host.via) if name is not None]
        if any(_is_below(name, self._excluded_domains) for name in names):
            return f"reached by a name {EXCLUDED}"
        if Span.of(host.address).within(self._addresses):
            return ""
        if host.name is None or not _is_below(host.name, self._domains):
            return OUTSIDE
        if host.via is not None and not _is_below(host.via, self._domains):
            return f"behind an alias {OUTSIDE}"
        return ""


def _cidr_of(target: Host | Network) -> str:
    return str(ip_network(target.address if isinstance(target, Host) else target.cidr))


def _domains_of(targets: Iterable[Target]) -> frozenset[str]:
    return frozenset(target.name for target in targets if isinstance(target, DomainName))


def _spans_of(targets: Iterable[Target]) -> tuple[Span, ...]:
    return tuple(Span.of(_cidr_of(target)) for target in targets if not isinstance(target, DomainName))


def _merged(spans: Iterable[Span]) -> tuple[Span, ...]:
    """Join spans that touch, so that a network covered only by several together counts as covered."""
    merged: list[Span] = []
    for span in sorted(spans):
        last = merged[-1] if merged else None
        if last and last.version == span.version and span.first <= last.last + 1:
            merged[-1] = Span(last.version, last.first, max(last.last, span.last))
        else:
            merged.append(span)
    return tuple(merged)


def _is_below(name: str, domains: frozenset[str]) -> bool:
    """True where the name is one of the domains or below one, label by label."""
    labels = name.lower().removesuffix(".").split(".")
    return any(".".join(labels[cut:]) in domains for cut in range(len(labels)))


def _is_canonical_name(name: str) -> bool:
    try:
        return parse_name(name) == name
    except InvalidTarget:
        return False


def _span_or_none(cidr: str) -> Span | None:
    try:
        return Span.of(cidr) if str(ip_network(cidr)) == cidr else None
    except ValueError:
        return None


def _remedy(rule: str) -> str:
    if "IPv4" in rule:
        return "give the IPv4 address or network itself"
    if rule.startswith("special-purpose"):
        return "PULSAR_SCOPE_ALLOW names the special-purpose networks that this installation may scan"
    if rule.startswith("more than"):
        return "split it, or take a policy with a larger max_addresses"
    return ""
