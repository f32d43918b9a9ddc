"""Names that are guessed: the words that are shipped, and variants of names that were found."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from importlib.resources import files

SMALL = 300
"""Words of the small list: the first ones of the file, which begins with those that are met most."""
MAX_PERMUTATIONS = 3000

AFFIXES = (
    *("dev", "test", "staging", "stage", "stg", "prod", "preprod", "qa", "uat", "old", "new", "int", "ext"),
    *("beta", "demo", "backup", "api", "admin", "internal", "legacy"),
)
NUMBERS = ("1", "2", "3", "01", "02")
_NUMBERED = re.compile(r"(.*?)([0-9]{1,3})")


@cache
def wordlist() -> tuple[str, ...]:
    """The labels that are shipped, the most frequent first."""
    return tuple((files("tasks") / "wordlists" / "subdomains.txt").read_text(encoding="ascii").split())


def permutations(labels: Iterable[str]) -> tuple[str, ...]:
    """Variants of labels: with the usual words before and behind, with numbers, and with the next numbers."""
    variants: dict[str, None] = {}
    for label in labels:
        words = [f"{affix}-{label}" for affix in AFFIXES] + [f"{label}-{affix}" for affix in AFFIXES]
        words += [f"{label}{number}" for number in NUMBERS] + [f"{label}-{number}" for number in NUMBERS[:3]]
        if match := _NUMBERED.fullmatch(label):
            stem, digits = match[1], match[2]
            words += [
                f"{stem}{int(digits) + step:0{len(digits)}d}" for step in (-1, 1, 2, 3) if int(digits) + step >= 0
            ]
        variants.update(dict.fromkeys(word for word in words if len(word) <= 63))
    return tuple(variants)[:MAX_PERMUTATIONS]
