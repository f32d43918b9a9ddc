"""A piece of the internet: domains with every name below, and runs of addresses."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Self

from footprint.address_space import Span, joined
from footprint.records import DomainName, Endpoint, Host, Network, Record, Service, subject_of
from footprint.target import Target


@dataclass(frozen=True, slots=True)
class Area:
    """Names are compared label by label, and addresses as numbers."""

    domains: frozenset[str] = frozenset()
    spans: tuple[Span, ...] = ()

    @classmethod
    def of(cls, targets: Iterable[Target]) -> Self:
        """What these targets make up together."""
        known = tuple(targets)
        names = frozenset(target.name for target in known if isinstance(target, DomainName))
        return cls(names, joined(Span.of(cidr_of(target)) for target in known if not isinstance(target, DomainName)))

    def has_name(self, name: str) -> bool:
        """True where the name is one of the domains or below one."""
        return any(domain in self.domains for domain in domains_above(name))

    def has_span(self, span: Span) -> bool:
        """True where all of the span is in it."""
        return span.within(self.spans)

    def holds(self, target: Target) -> bool:
        """True where all of the target is in it."""
        return self.has_name(target.name) if isinstance(target, DomainName) else self.has_span(_span_of(target))

    def meets(self, target: Target) -> bool:
        """True where a part of the target is in it, or all."""
        if isinstance(target, DomainName):
            return self.holds(target) or any(target.name in domains_above(domain) for domain in self.domains)
        return any(_span_of(target).overlaps(span) for span in self.spans)

    def covers(self, record: Record) -> bool:
        """True where a record of a scan is in it: an address of its own, or by the name that led there.

        An address behind an alias is in it only where the alias is. A `Service`, and an `Endpoint` without a name,
        were found at a host that was judged by its name: where there are domains, they are taken to be in it.
        """
        match record:
            case DomainName() | Network():
                return self.holds(record)
            case Host(address=address, name=name, via=via):
                return self._leads(name, via) or self.has_span(Span.of(address))
            case Endpoint(address=address, name=str() as name):
                return self.has_name(name) or self.has_span(Span.of(address))
            case Service(address=address) | Endpoint(address=address):
                return bool(self.domains) or self.has_span(Span.of(address))
            case _:
                return bool(self.domains or self.spans)

    def _leads(self, name: str | None, via: str | None) -> bool:
        return name is not None and self.has_name(name) and (via is None or self.has_name(via))


def domains_above(name: str) -> tuple[str, ...]:
    """The name itself and every domain that it is below, the nearest first."""
    labels = name.lower().removesuffix(".").split(".")
    return tuple(".".join(labels[cut:]) for cut in range(len(labels)))


def networks_above(target: Host | Network) -> tuple[str, ...]:
    """The target itself and every network that encloses it, in canonical text, the nearest first."""
    network = ip_network(cidr_of(target))
    wider = (str(network.supernet(new_prefix=length)) for length in range(network.prefixlen - 1, -1, -1))
    return (subject_of(target), *wider)


def cidr_of(target: Host | Network) -> str:
    """An address or a network in CIDR notation."""
    return str(ip_network(target.address if isinstance(target, Host) else target.cidr))


def _span_of(target: Host | Network) -> Span:
    return Span.of(cidr_of(target))
