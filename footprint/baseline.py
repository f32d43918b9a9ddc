"""What a later scan is compared with: an earlier one, and where that could not look, what others had seen there before.

Without this a failed tool would hide for ever what ended meanwhile: the scan in which it failed did not see that thing,
so that the next one would not miss it; and what it sees again would look like a change.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace

from footprint.records import Record, subject_of
from footprint.snapshots import Sighted, Snapshot, place_of, same_manner

Target = tuple[str, str]
"""A module, and what it was to look at."""


def open_targets(scan: Snapshot) -> frozenset[Target]:
    """What a scan was to look at, and did not look at to the end."""
    return frozenset((look.module, look.subject) for look in scan.looks if not look.is_sound)


def completed(
    scan: Snapshot, witness: Snapshot, targets: Collection[Target], gone: Collection[Record] = ()
) -> Snapshot:
    """A scan with what an earlier one, the witness, had seen at these of its open targets.

    With a thing comes what the witness saw by giving it to other modules, which the scan could not, as it did not have
    the thing. What is known to be `gone` since is left away.
    """
    added = _Addition(scan, witness, frozenset(targets), frozenset(gone)).complete()
    if not added:
        return scan
    things = {record: list(seen) for record, seen in scan.things.items()}
    for record, seen in added.items():
        things[record] = [*seen, *things.get(record, ())]
    units = {each.unit for seen in added.values() for each in seen}
    older = [*scan.older, *(look for look in witness.looks if look.unit in units)]
    return replace(scan, things=things, older=older)


@dataclass(slots=True)
class _Addition:
    scan: Snapshot
    witness: Snapshot
    targets: frozenset[Target]
    gone: frozenset[Record]
    _subjects: set[str] = field(default_factory=set)
    """What the added things are called, as targets name them."""

    def complete(self) -> Mapping[Record, list[Sighted]]:
        left = [
            each
            for record, seen in self.witness.things.items()
            if record not in self.gone and not self.scan.is_void(record) and not self.witness.is_void(record)
            for each in seen
            if same_manner(self.witness.policy, self.scan.policy, each.module)
        ]
        added: dict[Record, list[Sighted]] = {}
        while True:
            more: list[Sighted] = []
            rest: list[Sighted] = []
            for each in left:
                (more if self._was_missed(each) else rest).append(each)
            if not more:
                return added
            for each in more:
                added.setdefault(each.record, []).append(each)
                self._subjects.add(subject_of(each.record))
            left = rest

    def _was_missed(self, sighted: Sighted) -> bool:
        module = sighted.module
        return any(
            (module, target) in self.targets or (self.scan.look(module, target) is None and self._is_of_added(target))
            for target in self.witness.targets(sighted)
        )

    def _is_of_added(self, target: str) -> bool:
        place = place_of(target)
        parts: Iterable[str] = (target, place.service) if place else (target,)
        return any(part in self._subjects for part in parts)
