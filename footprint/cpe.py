"""CPE names (NISTIR 7695), versions in order, and whether a version lies in a range that is known to be vulnerable.

A CPE is read from its URI binding (2.2, as nmap prints it) or its formatted string (2.3, as NVD does).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from urllib.parse import unquote

ANY = ("", "*", "-")
_COLON = re.compile(r"(?<!\\):")
_TOKEN = re.compile(r"\d+|[a-z]+")
_BEFORE = frozenset({"dev", "pre", "preview", "alpha", "beta", "rc", "cr", "m", "a", "b"})
"""What a version is called before it is one; a single letter only where a number follows (`1.0b2`, not `1.0.2b`)."""


@dataclass(frozen=True, slots=True)
class Cpe:
    """A product, perhaps of a version. `part` is a (application), o (operating system) or h (hardware).

    `narrowed` says that an edition, a language or a target is named, so that it means less than the whole product.
    """

    part: str
    vendor: str
    product: str
    version: str | None = None
    narrowed: bool = False


def parse_cpe(text: str) -> Cpe | None:
    """Read a CPE in either binding; None where it is none, or names no product."""
    if text.startswith("cpe:2.3:"):
        words = [re.sub(r"\\(.)", r"\1", word) for word in _COLON.split(text)[2:]]
    elif text.startswith("cpe:/"):
        words = [unquote(word) for word in text[5:].split(":")]
    else:
        return None
    words = [word.lower() for word in words] + [""] * 11
    part, vendor, product, version, update = words[:5]
    if part not in ("a", "o", "h") or vendor in ANY or product in ANY:
        return None
    named = version not in ANY
    # NVD keeps what follows a version apart (`9.2`, `p1`); tools print it as one word (`9.2p1`).
    full = f"{version}{'' if update in ANY else update}" if named else None
    return Cpe(part, vendor, product, full, any(word not in ANY for word in words[5:11]))


Key = tuple[tuple[float, int, str], ...]


def version_key(version: str) -> Key:
    """A key that sorts versions: numbers as numbers, `1.0rc1` before `1.0`, `1.0.1f` and `9.2p1` after it."""
    tokens = _TOKEN.findall(version.lower())
    ranked = [_rank(token, tokens[place + 1] if place + 1 < len(tokens) else "") for place, token in enumerate(tokens)]
    # `2.4.0` is `2.4`, also before what follows it: `1.0rc1` precedes `1`.
    release = next((place for place, rank in enumerate(ranked) if rank[0] != 2.0), len(ranked))
    while release and ranked[release - 1] == (2.0, 0, ""):
        release -= 1
        del ranked[release]
    return (*ranked, (1.0, 0, ""))


def _rank(token: str, following: str) -> tuple[float, int, str]:
    if token.isdigit():
        return 2.0, int(token[:18]), ""
    is_before = token in _BEFORE and (len(token) > 1 or following.isdigit())
    return (0.0 if is_before else 1.5), 0, token


@dataclass(frozen=True, slots=True)
class Range:
    """Versions of a product that are vulnerable: exactly `version`, or from `start` to `end`; none of them means all.

    `conditional` says that it takes something else beside the product (a platform it runs on, say).
    """

    version: str | None = None
    start: str | None = None
    start_included: bool = True
    end: str | None = None
    end_included: bool = False
    conditional: bool = False
    narrowed: bool = False

    def holds(self, version: str) -> bool:
        """True where this version is vulnerable."""
        own = version_key(version)
        if self.version is not None:
            return own == version_key(self.version)
        if self.start is not None:
            first = version_key(self.start)
            if own < first or (own == first and not self.start_included):
                return False
        if self.end is not None:
            last = version_key(self.end)
            if own > last or (own == last and not self.end_included):
                return False
        return True

    @property
    def confidence(self) -> float:
        """How exactly it names the version, 0-1: by itself, between two bounds, below one, or not at all."""
        bounds = (self.start is not None) + (self.end is not None)
        exact = 0.9 if self.version is not None else (0.3, 0.7, 0.8)[bounds]
        return exact * (0.6 if self.conditional else 1) * (0.8 if self.narrowed else 1)

    def __str__(self) -> str:
        if self.version is not None:
            return self.version
        first = f"{'from' if self.start_included else 'after'} {self.start}" if self.start is not None else ""
        last = f"{'up to' if self.end_included else 'before'} {self.end}" if self.end is not None else ""
        return " ".join(part for part in (first, last) if part) or "all versions"


ALIASES: dict[tuple[str, str], tuple[tuple[str, str], ...]] = {
    ("igor_sysoev", "nginx"): (("f5", "nginx"), ("nginx", "nginx")),
    ("nginx", "nginx"): (("f5", "nginx"),),
    ("redislabs", "redis"): (("redis", "redis"),),
    ("redis", "redis"): (("redislabs", "redis"),),
    ("vsftpd", "vsftpd"): (("vsftpd_project", "vsftpd"), ("beasts", "vsftpd")),
    ("matt_johnston", "dropbear_ssh_server"): (("dropbear_ssh_project", "dropbear_ssh"),),
    ("mysql", "mysql"): (("oracle", "mysql"), ("mysql", "mysql_server")),
    ("microsoft", "iis"): (("microsoft", "internet_information_services"),),
}
"""Products that scanners and NVD call differently, as scanners call them."""


def known_as(cpe: Cpe) -> Iterator[Cpe]:
    """The CPE, and the names under which NVD may list the same product."""
    yield cpe
    for vendor, product in ALIASES.get((cpe.vendor, cpe.product), ()):
        yield replace(cpe, vendor=vendor, product=product)
