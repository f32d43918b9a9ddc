"""What one scan knew when it ended: what it saw, who of its modules saw it, and what each of them looked at."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from footprint.policy import ScanPolicy
from footprint.records import DnsRecord, DomainName, Finding, Host, Outcome, Record, Service, Technology, subject_of
from footprint.verdict import UnitStatus

SOUND = frozenset({Outcome.ANSWERED, Outcome.SILENT})
"""Outcomes of a target that was looked at to the end. A sample is none: what is missing in it may be there."""
KEPT_UNITS = frozenset({UnitStatus.DONE, UnitStatus.PARTIAL})

_HALF = {
    "http_probe": re.compile(r"^HTTP \d+; \d+ requests; ."),
    "tls": re.compile(r"without a client certificate not: "),
    "reverse_dns": re.compile(r"(?:^|; |, )\d+ times "),
    "dns_brute": re.compile(r"(?:^|; )\d+ (?:were not answered|that are excluded were not asked)"),
}
"""How modules say, in the note of a target that answered, that not everything of it was answered."""
_OPEN_TYPES = re.compile(r"^([A-Z]+(?:, [A-Z]+)*): [^ ]")
_CUT_TYPES = re.compile(r"^only \d+ of its \d+ ([A-Z]+) records were kept$")
_PLACE = re.compile(r"^(?:(?P<name>[^@\s]+)@)?(?P<service>(?P<address>\[[^\]\s]+\]|[^\s:\]]+):\d+/[a-z]+)(?: |$)")


@dataclass(frozen=True, slots=True)
class Look:
    """What a unit of a scan says of one target that it was given, and how the unit itself ended."""

    module: str
    unit: int
    subject: str
    outcome: Outcome
    note: str = ""
    status: UnitStatus = UnitStatus.DONE

    @property
    def is_sound(self) -> bool:
        """True where what it did not find is not there."""
        half = _HALF.get(self.module)
        return self.outcome in SOUND and self.status in KEPT_UNITS and not (half and half.search(self.note))

    @property
    def open_types(self) -> frozenset[str]:
        """Of a name that was looked up: the record types that were not, or not all, answered."""
        pieces = self.note.split("; ") if self.module == "dns" else ()
        found = (
            match[1].split(", ") for piece in pieces if (match := _OPEN_TYPES.match(piece) or _CUT_TYPES.match(piece))
        )
        return frozenset(rdtype for types in found for rdtype in types)

    def __str__(self) -> str:
        if self.status not in KEPT_UNITS:
            return f"{self.module} failed at {self.subject}"
        word = self.outcome.replace("_", " ")
        said = self.note if self.outcome in SOUND and self.note else f"{word}{f' ({self.note})' if self.note else ''}"
        return f"{self.module} at {self.subject}: {said}"


@dataclass(frozen=True, slots=True)
class Sighted:
    """A thing as one unit of a module saw it."""

    module: str
    unit: int
    record: Record


@dataclass(frozen=True)
class Snapshot:
    """A scan that has ended. `things` maps what it saw to its sightings, oldest first."""

    policy: ScanPolicy
    things: Mapping[Record, Sequence[Sighted]]
    looks: Sequence[Look] = ()
    own_ports: Mapping[str, frozenset[int]] = field(default_factory=dict)
    """Ports that were left out because the platform itself listens there, by address."""
    left_out: frozenset[str] = frozenset()
    """What was kept out of the scan by its scope: also addresses and networks inside of one that was swept."""
    older: Sequence[Look] = ()
    """The looks of earlier scans whose sightings are among the things: see `baseline`."""

    @cached_property
    def _by_target(self) -> Mapping[tuple[str, str], Look]:
        found: dict[tuple[str, str], Look] = {}
        for look in self.looks:
            known = found.get((look.module, look.subject))
            if known is None or known.is_sound:  # of several, the worst
                found[look.module, look.subject] = look
        return found

    @cached_property
    def _by_unit(self) -> Mapping[int, Sequence[str]]:
        found: dict[int, list[str]] = {}
        for look in (*self.looks, *self.older):
            found.setdefault(look.unit, []).append(look.subject)
        return found

    @cached_property
    def _leads(self) -> frozenset[tuple[str, str]]:
        hosts = (each.record for seen in self.things.values() for each in seen if isinstance(each.record, Host))
        return frozenset((host.name, host.address) for host in hosts if host.name)

    @cached_property
    def _swept(self) -> Mapping[str, Sequence[tuple[IPv4Network | IPv6Network, Look]]]:
        found: dict[str, list[tuple[IPv4Network | IPv6Network, Look]]] = {}
        for look in self.looks:
            if network := network_of(look.subject):
                found.setdefault(look.module, []).append((network, look))
        return found

    def is_void(self, record: Record) -> bool:
        """True of a name that somebody listed and that does not exist: it was looked up."""
        look = self.look("dns", record.name) if isinstance(record, DomainName) else None
        return look is not None and look.is_sound and look.outcome is Outcome.SILENT

    def has(self, record: Record) -> bool:
        """True of what was seen, and is there."""
        return record in self.things and not self.is_void(record)

    @cached_property
    def _holes(self) -> Sequence[IPv4Network | IPv6Network]:
        return [network for subject in self.left_out if (network := network_of(subject))]

    def is_left_out(self, address: str) -> bool:
        """True of an address that sweeps of networks left out."""
        return address in self.left_out or any(ip_address(address) in network for network in self._holes)

    def look(self, module: str, subject: str) -> Look | None:
        """What a module says of a target, or None where it was not given it."""
        return self._by_target.get((module, subject))

    def sweep(self, module: str, address: str) -> Look | None:
        """What a module says of the network that an address is in."""
        parsed = ip_address(address)
        inside = (look for network, look in self._swept.get(module, ()) if parsed in network)
        return next(inside, None)

    def targets(self, sighted: Sighted) -> Sequence[str]:
        """The targets of a unit that can have shown this thing; where that cannot be told, all of them."""
        given = self._by_unit.get(sighted.unit, ())
        return [subject for subject in given if shows(subject, sighted.record)] or given

    def leads(self, name: str, address: str) -> bool:
        """True where a name was seen to lead to an address."""
        return (name, address) in self._leads


def same_manner(one: ScanPolicy, other: ScanPolicy, module: str) -> bool:
    """True where two policies have a module with the same options."""
    manner, in_other = ((policy.modules.get(module), policy.intensity) for policy in (one, other))
    return module in other.modules and manner == in_other


@lru_cache(maxsize=4096)
def network_of(subject: str) -> IPv4Network | IPv6Network | None:
    """The network that a target is, if it is one."""
    try:
        return ip_network(subject) if "/" in subject else None
    except ValueError:
        return None


@dataclass(frozen=True, slots=True)
class Place:
    """A service that something is about, and the name by which it was reached."""

    service: str
    address: str
    name: str | None


@lru_cache(maxsize=65536)
def place_of(subject: str) -> Place | None:
    """The service that a text names as `subject_of` writes it, whatever comes behind."""
    match = _PLACE.match(subject)
    return Place(match["service"], match["address"].strip("[]"), match["name"]) if match else None


def about(record: Record) -> str:
    """What a record says something of: a name, an address, a service."""
    match record:
        case DnsRecord(name=text):
            return text
        case Technology(subject=text) | Finding(subject=text):
            return text
        case DomainName() | Host() | Service():
            return subject_of(record)
        case _:
            return str(getattr(record, "subject", subject_of(record)))


def shows(target: str, record: Record) -> bool:
    """True where looking at this target would show this thing, if it is there."""
    match record:
        case Host(address=address, name=name):
            return target in (address, name) or _contains(target, address)
        case Service(address=address):
            return target in (address, subject_of(record)) or _contains(target, address)
        case DnsRecord(name=name, rdtype="PTR"):
            return target == name or _points(target, name)
        case _:
            subject = about(record)
            return target == subject or target.startswith(f"{subject} ") or _is_shared(target, subject)


def _contains(target: str, address: str) -> bool:
    network = network_of(target)
    return network is not None and ip_address(address) in network


def _points(target: str, question: str) -> bool:
    try:
        return ip_address(target).reverse_pointer == question
    except ValueError:
        return False


def _is_shared(target: str, subject: str) -> bool:
    """True where the subject is a service without a name, and the target is the same service by one of its names."""
    of, at = place_of(subject), place_of(target)
    return of is not None and of.name is None and at is not None and at.service == of.service
