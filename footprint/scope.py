"""What may be touched, decided in one place: for the request, for every record found, and before a tool starts.

Names are compared label by label and addresses as numbers, never by substring. Exclusions always win.
Special-purpose addresses are refused unless the installation allows them. Nothing is resolved here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from footprint.address_space import CARRIES_IPV4, Span, carried_ipv4, joined, special_purpose
from footprint.area import Area, cidr_of
from footprint.errors import InvalidTarget, TargetRefused
from footprint.records import DomainName, Endpoint, Finding, Host, Network, Record, Service, subject_of
from footprint.target import Target, canonical_address, parse_exclusions, parse_name

EXCLUDED = "on the exclusion list of this installation"
EXCLUDED_HERE = "on the exclusion list of its asset"
OUTSIDE = "outside of the scope"
MALFORMED = "not in canonical form"


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether something may be touched; `rule` says in a few words why not, and is empty where it may."""

    touch: bool
    rule: str = ""


TOUCH = Decision(touch=True)


@dataclass(frozen=True, slots=True)
class Scope:
    """What one scan may touch: its roots, and what the installation allows, and it and assets exclude.

    `allow` lifts the ban on special-purpose addresses and puts nothing into the scope. `exclude`, the installation's,
    and `asset_exclude` hold domains (with every name below), addresses and networks; raises `PlatformError` where one
    is malformed.
    """

    roots: tuple[Target, ...]
    allow: tuple[IPv4Network | IPv6Network, ...] = ()
    exclude: tuple[str, ...] = ()
    max_addresses: int = 4096
    asset_exclude: tuple[str, ...] = ()
    _within: Area = field(init=False, repr=False, compare=False)
    _allowed: tuple[Span, ...] = field(init=False, repr=False, compare=False)
    _excluded: Area = field(init=False, repr=False, compare=False)
    _never: Area = field(init=False, repr=False, compare=False)
    """Of what is excluded, that by the installation."""

    def __post_init__(self) -> None:
        never = parse_exclusions(self.exclude)
        derived = {
            "_within": Area.of(self.roots),
            "_allowed": joined(Span.of(str(network)) for network in self.allow),
            "_excluded": Area.of((*never, *parse_exclusions(self.asset_exclude))),
            "_never": Area.of(never),
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
                rule = (
                    self._network_refusal(record.cidr)
                    or self._outside_network(record.cidr)
                    or self._size_refusal(record.cidr)
                )
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
        entries = parse_exclusions((*self.exclude, *self.asset_exclude))
        return tuple(dict.fromkeys(cidr_of(entry) for entry in entries if not isinstance(entry, DomainName)))

    def holes_in(self, target: Target) -> dict[str, str]:
        """What lies in a network and is excluded, with the rule: nobody comes upon it, for tools leave it out."""
        if not isinstance(target, Network):
            return {}
        network = Area.of([target])
        entries = parse_exclusions((*self.exclude, *self.asset_exclude))
        return {subject_of(entry): self.decide(entry).rule for entry in entries if network.holds(entry)}

    def _name_refusal(self, name: str) -> str:
        if not _is_canonical_name(name):
            return MALFORMED
        return self._name_exclusion(name)

    def _name_exclusion(self, name: str) -> str:
        if not self._excluded.has_name(name):
            return ""
        return EXCLUDED if self._never.has_name(name) else EXCLUDED_HERE

    def _span_exclusion(self, span: Span) -> str:
        if not self._excluded.has_span(span):
            return ""
        return EXCLUDED if self._never.has_span(span) else EXCLUDED_HERE

    def _address_refusal(self, text: str) -> str:
        if canonical_address(text) != text:
            return MALFORMED
        address = ip_address(text)
        spans = [Span.of(str(each)) for each in (address, *carried_ipv4(address))]
        refusals = (*map(self._span_exclusion, spans), *map(self._special_refusal, spans))
        return next((rule for rule in refusals if rule), "")

    def _network_refusal(self, cidr: str) -> str:
        span = _span_or_none(cidr)
        if span is None:
            return MALFORMED
        if rule := self._span_exclusion(span):
            return rule
        if any(span.overlaps(carrier) for carrier in CARRIES_IPV4):
            return "IPv4 addresses inside an IPv6 network, to be given as the IPv4 network"
        return self._special_refusal(span)

    def _special_refusal(self, span: Span) -> str:
        meaning = special_purpose(span)
        return f"special-purpose address ({meaning})" if meaning and not span.within(self._allowed) else ""

    def _size_refusal(self, cidr: str) -> str:
        _, first, last = Span.of(cidr)
        return f"more than {self.max_addresses} addresses" if last - first >= self.max_addresses else ""

    def _outside_name(self, name: str) -> str:
        return "" if self._within.has_name(name) else OUTSIDE

    def _outside_network(self, cidr: str) -> str:
        return "" if self._within.has_span(Span.of(cidr)) else OUTSIDE

    def _outside_host(self, host: Host) -> str:
        """An address behind somebody else's alias is theirs (a CDN's, say), though our name led to it."""
        names = [name for name in (host.name, host.via) if name is not None]
        if rule := next((rule for name in names if (rule := self._name_exclusion(name))), ""):
            return f"reached by a name {rule}"
        if self._within.has_span(Span.of(host.address)):
            return ""
        if host.name is None or not self._within.has_name(host.name):
            return OUTSIDE
        if host.via is not None and not self._within.has_name(host.via):
            return f"behind an alias {OUTSIDE}"
        return ""


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
    if rule == EXCLUDED_HERE:
        return "`GET /api/assets/{id}/scope/` shows what the assets that it belongs to exclude"
    if "IPv4" in rule:
        return "give the IPv4 address or network itself"
    if rule.startswith("special-purpose"):
        return "PULSAR_SCOPE_ALLOW names the special-purpose networks that this installation may scan"
    if rule.startswith("more than"):
        return "split it, or raise the policy's max_addresses, and PULSAR_MAX_ADDRESSES where that is less"
    return ""
