"""Which kinds of records the modules of a policy would come to, one discovery after another, from a target.

A scan in outline: each kind of record is stood for by samples, which go by the very rules that records go by: what
modules accept, what the scope lets through, how far a policy goes. Nothing is looked at.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from footprint.records import (
    Certificate,
    DnsRecord,
    DomainName,
    Endpoint,
    Host,
    Network,
    Record,
    Service,
    Technology,
    WebPage,
)
from footprint.scope import Scope
from tasks.tool import Tool

ADDRESS, NAME = "93.184.216.34", "www.example.com"
"""Of the samples. Nobody is asked about them, but some modules leave special-purpose addresses alone."""
OPEN = (Service(ADDRESS, 80), Service(ADDRESS, 161, "udp"))
"""Ports of which nothing is known yet."""
IDENTIFIED = (
    Service(
        ADDRESS, 80, name="http", product="Apache httpd", version="2.4.57", cpes=("cpe:/a:apache:http_server:2.4.57",)
    ),
    Service(ADDRESS, 443, name="https", tunnel="ssl"),
    Service(ADDRESS, 22, name="ssh", product="OpenSSH", version="9.2p1", cpes=("cpe:/a:openbsd:openssh:9.2p1",)),
    Service(ADDRESS, 25, name="smtp"),
    Service(ADDRESS, 21, name="ftp"),
    Service(ADDRESS, 53, name="domain"),
    Service(ADDRESS, 6379, name="redis"),
    Service(ADDRESS, 23, name="telnet"),
    Service(ADDRESS, 161, "udp", name="snmp"),
    Service(ADDRESS, 53, "udp", name="domain"),
)
"""What nmap makes of open ports: services that some modules choose among."""
DETAILS: dict[type, tuple[Record, ...]] = {
    DnsRecord: (DnsRecord(NAME, "TXT", ""),),
    Technology: (Technology(f"{ADDRESS}:80/tcp", "Apache", "2.4.57"),),
    Certificate: (Certificate(f"{ADDRESS}:443/tcp", ""),),
    WebPage: (WebPage(f"{ADDRESS}:80/tcp", f"http://{ADDRESS}/"),),
}


@dataclass(frozen=True, slots=True)
class Arrival:
    """A sample, how many discoveries away from the target it is first come upon, and the modules that lead to it."""

    record: Record
    depth: int
    makers: tuple[str, ...]


class Outline:
    """What the tools of a policy come to from a target within a scope, as far as `depth` discoveries."""

    def __init__(self, tools: Sequence[Tool], seeds: Sequence[Record], scope: Scope, depth: int) -> None:
        self._found: dict[str, Arrival] = {}
        self._has_names = any(isinstance(root, DomainName) for root in scope.roots)
        self._has_room = self._has_names or any(isinstance(root, Network) for root in scope.roots)
        new = [self._arrive(seed, 0) for seed in seeds[:1]]
        for distance in range(1, depth + 2):
            made = [(record, tool.name) for each in new for tool in tools for record in self._made(tool, each)]
            arrived = {repr(record): self._arrive(record, distance, maker) for record, maker in made}
            new = [each for each in arrived.values() if each.depth == distance]

    @property
    def arrivals(self) -> tuple[Arrival, ...]:
        """The samples in the order they are come upon, also those too far away."""
        return tuple(self._found.values())

    def may_hold(self, kind: type) -> bool:
        """False where records of that kind, beside the target itself, are outside of the scope."""
        return (self._has_names or kind is not DomainName) and (self._has_room or kind is not Host)

    def _arrive(self, record: Record, depth: int, *makers: str) -> Arrival:
        # By what they say too: an open port is another sample than the service that it turns out to be.
        known = self._found.get(repr(record), Arrival(record, depth, ()))
        arrival = replace(known, makers=tuple(dict.fromkeys((*known.makers, *makers))))
        self._found[repr(record)] = arrival
        return arrival

    def _made(self, tool: Tool, arrival: Arrival) -> Iterator[Record]:
        if tool.intake_of(arrival.record, is_root=arrival.depth == 0) is None:
            return
        for kind in tool.produces:
            if kind is Host and isinstance(arrival.record, Host | Service):
                continue  # the same one, of which more is known
            yield from self._services(tool, arrival.record) if kind is Service else self._samples(kind)

    def _services(self, tool: Tool, source: Record) -> Iterator[Record]:
        """Whoever asks hosts or networks finds open ports, of the kind it asks about next; then what they are."""
        if isinstance(source, Service):
            known = [service for service in IDENTIFIED if service.protocol == source.protocol]
            yield from known
            yield from (at for service in known if service.protocol == "tcp" for at in self._endpoints(service))
        else:
            yield from [port for port in OPEN if tool.intake_of(port)] or OPEN[:1]

    def _samples(self, kind: type) -> Iterator[Record]:
        if not self.may_hold(kind):
            return
        if kind is DomainName:
            yield DomainName(NAME)
        elif kind is Host:
            yield Host(ADDRESS, name=NAME if self._has_names else None)
        else:
            yield from DETAILS.get(kind, ())

    def _endpoints(self, service: Service) -> Iterator[Endpoint]:
        for name in (None, NAME) if self._has_names else (None,):
            yield Endpoint(ADDRESS, service.port, name, service.name, service.tunnel, service.product)
