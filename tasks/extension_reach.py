"""What an extension with `network = "scoped"` may send to: the addresses of its record, so many packets a second.

A fence around each of its runs holds it to that (fence.py). On addresses of this machine itself, where the operator
allows those, it reaches the ports of services that the scan has found, and Pulsar's own are never among them.
"""

from __future__ import annotations

import socket
from collections.abc import Collection
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from footprint.area import Area
from footprint.budget import Allowance, destinations
from footprint.errors import FenceMissing
from footprint.records import DomainName, Host, Record, Service
from footprint.scope import Scope
from footprint.store.surroundings import Surroundings
from tasks.fence import Fence, check_fence, fence_around
from tasks.tool import Asking

REMEDY = 'run the worker as root, with bubblewrap and nftables (Linux 5.16), or give it network = "none"'


@dataclass(frozen=True, slots=True)
class Reach:
    """Addresses, which ports of theirs (None: all), less excluded networks, packets a second (None: no limit)."""

    hosts: tuple[Host, ...]
    ports: tuple[int, ...] | None
    excluded: tuple[str, ...]
    rate: int | None

    @property
    def addresses(self) -> tuple[str, ...]:
        """Its addresses, in order."""
        return tuple(host.address for host in self.hosts)

    def fenced(self, work_dir: Path) -> AbstractContextManager[Fence]:
        """The fence that holds a run to this; entering raises `FenceMissing` where there can be none."""
        return fence_around(self.hosts, self.excluded, work_dir, ports=self.ports, rate=self.rate)


@dataclass(frozen=True, slots=True)
class Bounds:
    """What bounds every reach of a unit: its scope, the ports that are Pulsar's own, and its pace."""

    scope: Scope
    own_ports: Collection[int]
    knows_own_ports: bool
    rate: int
    allowance: Allowance | None = None
    permitted: Area | None = None
    """What may be looked at actively; None where no authorisation is needed."""

    def reach_of(self, record: Record, around: Surroundings) -> Reach | None:
        """What a run for this record may send to; None where no address of it is known that may be touched.

        Raises `FenceMissing` where that would be this machine itself, and it is not known what there is Pulsar's own.
        """
        hosts = {host.address: host for host in self._touchable(record, around)}
        others = tuple(host for address, host in hosts.items() if not is_own(address))
        kept = others or tuple(hosts.values())
        ports = None if others else self._ports_of(record, around, set(hosts)) if hosts else ()
        if ports == ():
            return None
        return Reach(kept, ports, self.scope.excluded_networks(), self._rate_for(record, kept))

    def _touchable(self, record: Record, around: Surroundings) -> tuple[Host, ...]:
        """The addresses that a record is, or that its name leads to, as far as the scope goes."""
        if isinstance(record, Service):  # it was found at a host that was judged by its name
            return (Host(record.address),) if self.scope.decide(record).touch else ()
        hosts = (record,) if isinstance(record, Host) else around.hosts
        return tuple(host for host in hosts if self.scope.decide(host).touch and self._is_permitted(host))

    def _is_permitted(self, host: Host) -> bool:
        return self.permitted is None or self.permitted.covers(host)

    def _ports_of(self, record: Record, around: Surroundings, addresses: set[str]) -> tuple[int, ...]:
        if not self.knows_own_ports:
            raise FenceMissing(
                "this machine itself is reached only where it is known which ports are Pulsar's own",
                hint="run scans with `pulsar worker`",
            )
        found = {
            one.port for one in (record, *around.services) if isinstance(one, Service) and one.address in addresses
        }
        return tuple(sorted(found.difference(self.own_ports)))

    def _rate_for(self, record: Record, hosts: tuple[Host, ...]) -> int | None:
        if not destinations(hosts):
            return None  # loopback
        # What a name leads to is known only here: no share of it was taken.
        most = self.allowance.packets if self.allowance and isinstance(record, DomainName) else self.rate
        return max(1, int(min(self.rate, most)))


def bounds_of(asking: Asking, rate: int) -> Bounds:
    """The bounds of a unit that a worker carries out."""
    settings = asking.settings
    own = (*settings.own_ports, settings.api_port, settings.prefect_port)
    return Bounds(asking.scope, own, bool(settings.own_ports), rate, asking.allowance, asking.permitted)


def is_own(address: str) -> bool:
    """True where an address is one of this machine's: nothing is sent."""
    parsed = ip_address(address)
    if parsed.is_loopback:
        return True
    family = socket.AF_INET if parsed.version == 4 else socket.AF_INET6
    with suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as trial:
        trial.bind((address, 0))
        return True
    return False


def check_reach(work_dir: Path) -> None:
    """Raise `FenceMissing`, in the words of extensions, where none can be kept to its record here."""
    try:
        check_fence(work_dir)
    except FenceMissing as missing:
        raise in_their_words(missing) from None


def in_their_words(missing: FenceMissing) -> FenceMissing:
    """The same of an extension: to do without the fence is no remedy."""
    hint = missing.hint if "PULSAR_FENCE" not in missing.hint else REMEDY
    return FenceMissing(f"network access cannot be held to its record: {missing.detail}", hint=hint)
