"""What differs between two scans: new, changed (field by field), gone, back again, or not looked at this time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from footprint.absence import Absence
from footprint.records import (
    Certificate,
    DnsRecord,
    DomainName,
    Finding,
    Host,
    Record,
    Service,
    Technology,
    WebPage,
    subject_of,
)
from footprint.snapshots import Sighted, Snapshot

Value = str | int | float | bool | tuple[str, ...] | None

COMPARED: Mapping[str, tuple[str, ...]] = {
    DomainName.kind: ("cname", "wildcard"),
    Host.kind: ("names", "os", "asn", "prefix", "holder", "country"),
    Service.kind: ("name", "product", "version", "detail", "tunnel", "cpes"),
    DnsRecord.kind: (),
    Technology.kind: ("version", "detail"),
    Certificate.kind: ("fingerprint", "issued_to", "issuer", "names", "not_before", "not_after", "key", "signature"),
    WebPage.kind: ("status", "title", "server", "redirects", "favicon"),
    Finding.kind: ("title", "severity", "confidence", "cvss", "score"),
}
"""What of a thing is compared, by kind, in this order. Names, addresses, services come first: see `Absence`.

Left out is what is another with every visit: the digest of a page's body, the measured evidence of a finding. Of the
guess at an operating system only that it is another one counts: it wavers with the ports that are open.
"""


class Change(StrEnum):
    """How a thing differs from the scan before."""

    NEW = "new"
    BACK = "back"
    CHANGED = "changed"
    GONE = "gone"
    NOT_LOOKED_AT = "not_looked_at"


@dataclass(frozen=True, slots=True)
class Step:
    """One field of a thing, from what to what."""

    field: str
    before: Value
    after: Value


@dataclass(frozen=True, slots=True)
class Difference:
    """A thing that differs. `record` is as it was last seen; `reason` says how its absence is known, or why not.

    `replaced` is the certificate that is gone where another is shown instead.
    """

    change: Change
    record: Record
    steps: tuple[Step, ...] = ()
    reason: str = ""
    replaced: Record | None = None


@dataclass(frozen=True, slots=True)
class Memory:
    """What is known, from before the earlier scan, of a thing that that one did not see."""

    was_gone: bool
    seen: Sequence[Sighted] = field(default=())


def compare(
    before: Snapshot, after: Snapshot, memories: Mapping[Record, Memory] | None = None
) -> tuple[Difference, ...]:
    """All that differs in the later scan, by kind and subject.

    A thing that the earlier scan did not see is new, unless `memories` know it: then it is back where it had been gone;
    and where it had only not been looked at, it is compared with what was known of it.
    """
    absence = Absence(before, after)
    known = memories or {}
    found: list[Difference] = []
    here, there = _present(after), _present(before)
    for kind in COMPARED:
        appeared = [record for record in here.get(kind, ()) if not before.has(record)]
        missing = [record for record in there.get(kind, ()) if not after.has(record)]
        lost = [_missing(record, before, absence) for record in missing]
        fresh = [each for record in appeared if (each := _appeared(record, after, known.get(record)))]
        if kind == Certificate.kind:
            lost, fresh = _renewed(lost, fresh)
        found += [*fresh, *lost]
        both = [record for record in there.get(kind, ()) if after.has(record)]
        found += [each for record in both if (each := _changed(record, before, after, absence))]
    return tuple(sorted(found, key=_order))


def tally(differences: Iterable[Difference]) -> Counter[tuple[str, Change]]:
    """How many there are by kind and change."""
    return Counter((each.record.kind, each.change) for each in differences)


_PLACES = {kind: number for number, kind in enumerate(COMPARED)}
_URGENCY = {change: number for number, change in enumerate(Change)}


def described(record: Record) -> str:
    """What a thing is called where it is told of: a DNS record with its value."""
    return f"{subject_of(record)} {record.value}" if isinstance(record, DnsRecord) else subject_of(record)


def _order(difference: Difference) -> tuple[int, int, str]:
    record = difference.record
    return _PLACES[record.kind], _URGENCY[difference.change], described(record)


def _present(snapshot: Snapshot) -> Mapping[str, Sequence[Record]]:
    found: dict[str, list[Record]] = {}
    for record in snapshot.things:
        if record.kind in COMPARED and not snapshot.is_void(record):
            found.setdefault(record.kind, []).append(record)
    return found


def _missing(record: Record, before: Snapshot, absence: Absence) -> Difference:
    seen = before.things[record]
    said = absence.judge(record, seen)
    change = Change.GONE if said.is_gone else Change.NOT_LOOKED_AT
    return Difference(change, seen[-1].record, reason=said.reason)


def _appeared(record: Record, after: Snapshot, memory: Memory | None) -> Difference | None:
    seen = after.things[record]
    if memory is None:
        return Difference(Change.NEW, seen[-1].record)
    then, now = _facts(memory.seen), _facts(seen)
    # What nobody says of it now is no change: it is not known whether somebody looked.
    steps = tuple(
        Step(name, then[name], now[name])
        for name in COMPARED[record.kind]
        if memory.seen and _differs(name, then[name], now[name]) and not _is_empty(now[name])
    )
    if memory.was_gone:
        return Difference(Change.BACK, seen[-1].record, steps)
    return Difference(Change.CHANGED, seen[-1].record, steps) if steps else None


def _changed(record: Record, before: Snapshot, after: Snapshot, absence: Absence) -> Difference | None:
    then, now = _facts(before.things[record]), _facts(after.things[record])
    steps = []
    for name in COMPARED[record.kind]:
        value = now[name]
        if isinstance(record, Host) and name == "names":
            value = _names_kept(record, then[name], value, absence)
        if _differs(name, then[name], value) and (
            not _is_empty(value) or _is_unsaid(name, before.things[record], absence)
        ):
            steps.append(Step(name, then[name], value))
    return Difference(Change.CHANGED, after.things[record][-1].record, tuple(steps)) if steps else None


def _differs(name: str, then: Value, now: Value) -> bool:
    """Whether a field changed. A system is a guess by odd packets: its release and certainty vary with every look."""
    if name == "os":
        return bool(then and now) and not _systems(str(then)) & _systems(str(now))
    return then != now


def _systems(guess: str) -> set[str]:
    """What a guess such as `Linux 4.15 or Linux 5.3 - 5.4 (95 %)` may be, without versions."""
    return {one.split(" ")[0] for one in guess.partition(" (")[0].split(" or ")}


def _is_empty(value: Value) -> bool:
    return value is None or value is False or value in ((), "")


def _is_unsaid(name: str, seen: Sequence[Sighted], absence: Absence) -> bool:
    """True where those who had said something of a thing looked again, and say nothing now."""
    if name == "names":
        return True
    said = [each for each in seen if not _is_empty(getattr(each.record, name))]
    return all(absence.unshown(each).is_gone for each in said)


def _names_kept(host: Host, then: Value, now: Value, absence: Absence) -> Value:
    """The names of an address: those that led to it before count as long as it is not known that they do not."""
    assert isinstance(then, tuple)
    assert isinstance(now, tuple)
    lost = (name for name in then if name not in now)
    return tuple(sorted({*now, *(name for name in lost if not absence.is_unlinked(name, host.address))}))


def _facts(seen: Sequence[Sighted]) -> dict[str, Value]:
    """What is said of a thing: of each field, what was said last."""
    if not seen:
        return {}
    fields = COMPARED[seen[0].record.kind]
    if isinstance(seen[0].record, Host):
        named = {each.record.name for each in seen if isinstance(each.record, Host) and each.record.name}
        return {name: tuple(sorted(named)) if name == "names" else _last(name, seen) for name in fields}
    return {name: _last(name, seen) for name in fields}


def _last(name: str, seen: Sequence[Sighted]) -> Value:
    for each in reversed(seen):
        value: Value = getattr(each.record, name)
        if not _is_empty(value):
            return value
    fallback: Value = getattr(seen[-1].record, name)
    return fallback


def _renewed(lost: Sequence[Difference], fresh: Sequence[Difference]) -> tuple[list[Difference], list[Difference]]:
    """Where a service shows one new certificate instead of one that is gone, with the same kind of key, it changed."""
    gone, new = _by_owner(lost, Change.GONE), _by_owner(fresh, Change.NEW, Change.BACK)
    pairs = {
        owner: (gone[owner][0], new[owner][0])
        for owner in gone
        if len(gone[owner]) == 1 and len(new.get(owner, ())) == 1
    }
    paired = {id(each) for pair in pairs.values() for each in pair}
    left = [each for each in fresh if id(each) not in paired]
    left += [_renewal(old, new_one) for old, new_one in pairs.values()]
    return [each for each in lost if id(each) not in paired], left


def _by_owner(differences: Iterable[Difference], *changes: Change) -> dict[tuple[str, str], list[Difference]]:
    found: dict[tuple[str, str], list[Difference]] = {}
    for each in differences:
        if each.change in changes and isinstance(each.record, Certificate):
            found.setdefault((each.record.subject, (each.record.key or "").split(" ")[0]), []).append(each)
    return found


def _renewal(old: Difference, new: Difference) -> Difference:
    values = ((name, getattr(old.record, name), getattr(new.record, name)) for name in COMPARED[Certificate.kind])
    steps = tuple(Step(name, before, after) for name, before, after in values if before != after)
    return Difference(Change.CHANGED, new.record, steps, replaced=old.record)
