"""What assets say of the scope of a scan, beside its target: kept with the scan, so that edits change no past one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Self

from footprint.records import DomainName, Host, Network
from footprint.target import Target, parse_exclusion, parse_target


@dataclass(frozen=True, slots=True)
class AssetScope:
    """Domains, addresses and networks in canonical text.

    `roots` are the other roots of an asset whose root the target is; `include` is what may be touched besides;
    `exclude` is never touched.
    """

    roots: tuple[str, ...] = ()
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    def targets(self) -> tuple[Target, ...]:
        """What it adds to a scan's own target."""
        return tuple(dict.fromkeys(parse_target(text) for text in (*self.roots, *self.include)))

    def excluding(self, entries: Iterable[str]) -> Self:
        """The same, with these exclusions besides."""
        return replace(self, exclude=tuple(dict.fromkeys((*self.exclude, *entries))))

    def pack(self) -> dict[str, Any]:
        """As JSON, for the scan's row."""
        return {"roots": list(self.roots), "include": list(self.include), "exclude": list(self.exclude)}

    @classmethod
    def unpack(cls, packed: dict[str, Any]) -> Self:
        """What `pack` packed; nothing for a scan that is older than scopes of assets."""
        return cls(**{name: tuple(entries) for name, entries in packed.items()})


NOTHING_SAID = AssetScope()


def of_no_asset(target: DomainName | Host | Network) -> AssetScope:
    """What holds where no asset is known."""
    return NOTHING_SAID


def canonical_target(text: str) -> str:
    """A root or an inclusion in canonical text. Raises `InvalidTarget`."""
    return _text(parse_target(text))


def canonical_exclusion(text: str) -> str:
    """An exclusion in canonical text. Raises `InvalidTarget`."""
    return _text(parse_exclusion(text))


def _text(target: Target) -> str:
    match target:
        case DomainName(name=text) | Host(address=text) | Network(cidr=text):
            return text
