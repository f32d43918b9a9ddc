"""Whether a thing that an earlier scan saw is gone, or was only not looked at this time.

Nothing is gone because it was not seen: somebody must have looked where it would have been seen, to the end, and found
nothing. What that means, by kind:

- a name is gone where it was looked up and does not exist (NXDOMAIN), or where dns_brute found it and tried its words
  again, all of them. That a source (certificates, Amass, a page, a zone) no longer lists it says nothing.
- an address is gone where every name that led to it is gone, or was looked up and does not lead there any more, and
  every network that it was found in was swept again. The scan's own target, or what only nmap told of: where nmap asked
  it again.
- a service is gone where its host's ports were swept, that port among them; a sweep of other ports shows nothing, and
  nor does `top:N` of what a list or `all` had found. A sweep of networks counts like nmap's where both asked for the
  same ports. It goes with its host where that one was probed, and did not answer. A UDP port that is silent may be
  open: a service there goes with its host only.
- a DNS record, a technology, a certificate, a web page, a finding is gone where each module that saw it looked again
  at each target that can have shown it, with the same options; or where what it is about is gone itself.

`answered` and `silent` are looks; timed out, refused, not looked at and failed are none, and a sample never is.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from footprint.records import DnsRecord, DomainName, Finding, Host, Outcome, Record, Service, subject_of
from footprint.snapshots import Look, Sighted, Snapshot, about, place_of, same_manner

PROBERS = ("nmap_discovery", "zmap")
"""They sweep networks: an address that they find is one that answered."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """Whether a thing is gone, and why that is known, or is not."""

    is_gone: bool
    reason: str


@dataclass(slots=True)
class Absence:
    """Judges what an earlier scan saw and a later one did not. Ask of names first, then hosts, services, the rest."""

    before: Snapshot
    after: Snapshot
    _gone: set[str] = field(default_factory=set)
    _unanswered: set[str] = field(default_factory=set)
    """Addresses that were probed and are gone, where their services go with them."""

    def judge(self, record: Record, seen: Sequence[Sighted]) -> Judgement:
        """Say whether a thing that is not in the later scan is gone."""
        match record:
            case DomainName():
                said = self._name(record, seen)
            case Host():
                said = self._host(record, seen)
            case Service():
                said = self._service(record, seen)
            case _:
                said = self._told(record, seen)
        if said.is_gone:
            self._gone.add(subject_of(record))
        return said

    def _name(self, record: DomainName, seen: Sequence[Sighted]) -> Judgement:
        look = self.after.look("dns", record.name)
        if look is not None:
            is_gone = look.is_sound and look.outcome is Outcome.SILENT
            return Judgement(is_gone, str(look))
        guessed = [self.unshown(each) for each in seen if each.module == "dns_brute"]
        if guessed:
            return _all(guessed)
        return Judgement(False, f"nobody looked {record.name} up: what had listed it did not list it again")

    def _host(self, record: Host, seen: Sequence[Sighted]) -> Judgement:
        judgements = [self._unled(each) for each in seen if each.module == "dns"]
        probed = [module for module in PROBERS if any(each.module == module for each in seen)]
        judgements += [self._unswept(module, record.address) for module in probed]
        if not judgements:
            probed = ["nmap"]
            look = self.after.look("nmap", record.address)
            judgements = [_of(look, f"nmap did not look at {record.address}")]
        said = _all(judgements)
        if said.is_gone and probed:
            self._unanswered.add(record.address)
        return said

    def _unled(self, sighted: Sighted) -> Judgement:
        """Whether the name that led to an address was looked up, and leads there no more."""
        host = sighted.record
        assert isinstance(host, Host)
        if host.name is None:
            return Judgement(False, f"it is not known which name led to {host.address}")
        return self._unlinked(host.name, host.address)

    def is_unlinked(self, name: str, address: str) -> bool:
        """True where a name was looked up, and does not lead to this address any more."""
        return self._unlinked(name, address).is_gone

    def _unlinked(self, name: str, address: str) -> Judgement:
        if name in self._gone:
            return Judgement(True, f"{name} is gone")
        look = self.after.look("dns", name)
        if look is None or not look.is_sound:
            return _of(look, f"nobody looked {name} up")
        if ("AAAA" if ":" in address else "A") in look.open_types:
            return Judgement(False, str(look))
        is_gone = not self.after.leads(name, address)
        return Judgement(is_gone, f"{name} does not lead there any more" if is_gone else f"{name} leads there")

    def _unswept(self, module: str, address: str) -> Judgement:
        if self.after.is_left_out(address):
            return Judgement(False, f"{address} was left out of this scan")
        look = self.after.sweep(module, address)
        if look is not None and module == "zmap" and not self._same_ports(module):
            return Judgement(False, "zmap swept other ports")
        return _of(look, f"{module} did not sweep the network of {address}")

    def _service(self, record: Service, seen: Sequence[Sighted]) -> Judgement:
        """One sweep that was through shows it, unless another that had seen it was not through."""
        if self.after.is_left_out(record.address):
            return Judgement(False, f"{record.address} was left out of this scan")
        asked = self._sweeps(record, seen)
        if unsound := next((look for look, _ in asked if not look.is_sound), None):
            return Judgement(False, str(unsound))
        if proof := next((look for look, lack in asked if not lack), None):
            return Judgement(True, str(proof))
        if asked:
            return Judgement(False, asked[0][1])
        if record.address in self._unanswered:
            return Judgement(True, f"its host {record.address} is gone")
        return Judgement(False, f"nobody swept the ports of {record.address}")

    def _sweeps(self, record: Service, seen: Sequence[Sighted]) -> list[tuple[Look, str]]:
        """The sweeps of the later scan that can have shown a service, each with why it cannot have, or nothing."""
        modules = {each.module for each in seen}
        sweeps = []
        if ("nmap" in modules or "zmap" not in modules) and (look := self.after.look("nmap", record.address)):
            sweeps.append((look, self._other_ports(record, seen)))
        if "zmap" in modules and (look := self.after.sweep("zmap", record.address)):
            sweeps.append((look, "" if self._same_ports("zmap") else "zmap swept other ports"))
        return sweeps

    def _other_ports(self, record: Service, seen: Sequence[Sighted]) -> str:
        """Why a sweep by nmap did not ask for this port, or nothing."""
        if record.protocol != "tcp":
            return "a UDP port that is silent may be open"
        if record.port in self.after.own_ports.get(record.address, ()):
            return f"port {record.port} was left out: the platform listens there itself"
        now, then = _ports(self.after, "nmap"), _ports(self.before, "nmap")
        if not now.startswith("top:"):
            return "" if now == "all" or _is_named(record.port, now) else f"nmap swept other ports: {now}"
        was_swept = any(each.module == "nmap" and record.address in self.before.targets(each) for each in seen)
        is_wider = then.startswith("top:") and int(then[4:]) <= int(now[4:])
        return "" if was_swept and is_wider else f"nmap swept other ports: {now}"

    def _same_ports(self, module: str) -> bool:
        then, now = (snapshot.policy.modules.get(module, {}) for snapshot in (self.before, self.after))
        same_engine = then.get("engine") == now.get("engine")
        return same_engine and _ports(self.before, module) == _ports(self.after, module)

    def _told(self, record: Record, seen: Sequence[Sighted]) -> Judgement:
        witnesses = [each for each in seen if not isinstance(record, DnsRecord) or each.module != "zone_transfer"]
        if reason := self.vanished(about(record)):
            return Judgement(True, reason)
        if not witnesses:
            return Judgement(False, "that a zone was given away whole before says nothing of what it holds now")
        return _all([self.unshown(each) for each in witnesses])

    def unshown(self, sighted: Sighted) -> Judgement:
        """Whether what a unit had seen would have been seen again: by its module, at each target that can show it."""
        if not same_manner(self.before.policy, self.after.policy, sighted.module):
            return Judgement(False, self._manner(sighted.module))
        targets = self.before.targets(sighted)
        if not targets:
            return Judgement(False, f"{sighted.module} did not say what it had looked at before")
        return _all([self.settled(sighted.module, target, sighted.record) for target in targets])

    def _manner(self, module: str) -> str:
        is_on = module in self.after.policy.modules
        return f"{module} had other options" if is_on else f"{module} was not part of this scan"

    def settled(self, module: str, target: str, record: Record | None = None) -> Judgement:
        """Whether a module looked at a target to its end, or the target itself is gone."""
        look = self.after.look(module, target)
        if look is None:
            reason = self.vanished(target)
            return Judgement(bool(reason), reason or f"{module} did not look at {target}")
        if look.is_sound and module == "dns" and self._is_open(look, record):
            return Judgement(False, str(look))
        return _of(look, "")

    def _is_open(self, look: Look, record: Record | None) -> bool:
        match record:
            case DnsRecord(rdtype=rdtype):
                return bool(look.open_types & {rdtype, "SOA"})
            case Finding():
                return bool(look.open_types)
            case _:
                return False

    def vanished(self, subject: str) -> str:
        """Why a target is not there any more to be looked at, or nothing."""
        place = place_of(subject)
        for part in (subject, *((place.service, place.name or "") if place else ())):
            if part in self._gone:
                return f"{part} is gone"
        if place and place.name and (said := self._unlinked(place.name, place.address)).is_gone:
            return f"{place.address}: {said.reason}"
        return ""


def _of(look: Look | None, otherwise: str) -> Judgement:
    return Judgement(look.is_sound, str(look)) if look else Judgement(False, otherwise)


def _all(judgements: Iterable[Judgement]) -> Judgement:
    """Gone where all say so; the reason is the first that does not, or else the first."""
    said = list(judgements)
    return next((each for each in said if not each.is_gone), said[0])


def _ports(snapshot: Snapshot, module: str) -> str:
    return str(snapshot.policy.modules.get(module, {}).get("ports", snapshot.policy.ports))


def _is_named(port: int, ports: str) -> bool:
    spans = (part.partition("-") for part in ports.split(","))
    return any(int(low) <= port <= int(high or low) for low, _, high in spans)
