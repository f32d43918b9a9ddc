"""Sender Policy Framework (RFC 7208): what a record says, and what is wrong with it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network

from footprint.errors import InvalidTarget
from footprint.target import parse_name

MAX_LOOKUPS = 10
MAX_HOSTS = 50
_TERM = re.compile(r"([+?~-]?)([a-z0-9][a-z0-9_.-]*)(?:([:=/])(.*))?", re.IGNORECASE | re.DOTALL)
_MECHANISMS = frozenset({"all", "include", "a", "mx", "ptr", "ip4", "ip6", "exists"})
_ASKING = frozenset({"include", "a", "mx", "ptr", "exists", "redirect"})
"""Terms for which the receiver asks name servers (4.6.4)."""
_NAMING = frozenset({"include", "a", "mx", "ptr", "redirect"})


@dataclass(frozen=True, slots=True)
class Term:
    """A mechanism or a modifier: `-all`, `a:mail.example.com/28`, `redirect=_spf.example.com`."""

    qualifier: str
    name: str
    separator: str = ""
    value: str = ""

    @property
    def is_modifier(self) -> bool:
        return self.separator == "="


def is_record(text: str) -> bool:
    """True for a TXT record that is a policy (4.5)."""
    version, _, _ = text.partition(" ")
    return version.lower() == "v=spf1"


def terms(text: str) -> list[Term | None]:
    """The terms of a policy, in order; None for what is no term at all."""
    found: list[Term | None] = []
    for word in text.split(" ")[1:]:
        if word:
            match = _TERM.fullmatch(word)
            qualifier, name, separator, value = match.groups(default="") if match else ("", "", "", "")
            found.append(Term(qualifier or "+", name.lower(), separator, value) if match else None)
    return found


def hosts(text: str) -> Iterator[str]:
    """The names that a policy mentions, as we keep names; none of a text that is no policy, none with macros."""
    if not is_record(text):
        return
    named = [term for term in terms(text) if term and term.name in _NAMING and term.value]
    for term in named[:MAX_HOSTS]:
        try:
            yield parse_name(term.value.partition("/")[0])
        except InvalidTarget:
            continue


def faults(policies: Sequence[str]) -> Iterator[str]:
    """Why receivers will take a domain's policies for an error (permerror), one reason after the other."""
    if len(policies) > 1:
        yield f"there are {len(policies)} policies where one is allowed"
    for policy in policies:
        known = terms(policy)
        asking = [term for term in known if term and term.name in _ASKING]
        if len(asking) > MAX_LOOKUPS:
            yield f"it needs {len(asking)} look-ups or more, and {MAX_LOOKUPS} are allowed"
        if any(term is None or not _is_valid(term) for term in known):
            yield "it has a term that there is not"


def _is_valid(term: Term) -> bool:
    if term.is_modifier:
        return True
    if term.name not in _MECHANISMS:
        return False
    if term.name in ("ip4", "ip6"):
        try:
            return bool((IPv4Network if term.name == "ip4" else IPv6Network)(term.value, strict=False))
        except ValueError:
            return False
    return bool(term.value) or term.name not in ("include", "exists")


def attitude(policy: str) -> str:
    """What is said of senders that are not named: `+`, `?`, `~`, `-`, or empty where another policy says it."""
    known = [term for term in terms(policy) if term]
    last = next((term.qualifier for term in known if term.name == "all" and not term.is_modifier), None)
    if last is not None:
        return last
    return "" if any(term.name == "redirect" for term in known) else "?"
