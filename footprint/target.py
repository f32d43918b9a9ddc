"""The one reader of targets: which spellings of a name, an address or a network are taken, and how they are kept.

Two parsers that disagree are a way out of the scope: `0177.0.0.1` is 127.0.0.1 to one program and 177.0.0.1 to
another. So every address has one spelling here, and every text that some program might take for an address in
another spelling is refused, also after IDNA has mapped its characters.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from ipaddress import ip_address, ip_network

import idna

from footprint.errors import InvalidTarget, PlatformError
from footprint.records import DomainName, Host, Network

Target = DomainName | Host | Network

MAX_TEXT = 1024
MAX_NAME = 253
"""Characters of a name without its trailing dot (RFC 1035, 2.3.4: 255 octets on the wire)."""

_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zs", "Zl", "Zp"})
_PREFIX_LENGTH = re.compile(r"0|[1-9][0-9]{0,2}")
_HOST_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_ANY_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")

_OPTION_LIKE = ("-", "@", "+")
_FOREIGN = (
    ("://", "a target is not a URL", "give the host name or the address alone"),
    ("@", "a target has no user part", "give the host name or the address alone"),
    ("[", "a target has no brackets", "give an IPv6 address bare and without a port"),
    ("%", "a target has no zone id", "link-local addresses belong to one machine's interface and are not scanned"),
    (",", "a target is one name, address or network, not a list", "ask for one scan for each"),
    ("*", "a target has no wildcards", "give the domain or the network"),
)


@dataclass(frozen=True, slots=True)
class _Grammar:
    """Which names a reader takes. `checks_idna` refuses A-labels that IDNA 2008 would not have made."""

    label: re.Pattern[str]
    checks_idna: bool
    least_labels: int


_HOST_NAMES = _Grammar(_HOST_LABEL, checks_idna=True, least_labels=2)
_FOUND_NAMES = _Grammar(_ANY_LABEL, checks_idna=False, least_labels=2)
_ZONES = _Grammar(_ANY_LABEL, checks_idna=False, least_labels=1)


def parse_target(text: str) -> Target:
    """Read what a request wants scanned: a host name, an address, or a network with no host bits set.

    Names become lower-case A-labels without the trailing dot (RFC 1123, UTS 46), addresses canonical text
    (RFC 5952), a network of one address a `Host`. Raises `InvalidTarget`, which never repeats the text.
    """
    return _parse(text, _HOST_NAMES)


def parse_exclusion(text: str) -> Target:
    """Read what is never to be touched: as a target, but any DNS name will do, a top-level domain too.

    Raises `InvalidTarget`.
    """
    return _parse(text, _ZONES)


def parse_exclusions(entries: tuple[str, ...]) -> tuple[Target, ...]:
    """Read an exclusion list of `parse_exclusion`'s entries.

    Raises `PlatformError`, which counts to the malformed entry instead of repeating it.
    """
    parsed = []
    for number, entry in enumerate(entries, start=1):
        try:
            parsed.append(parse_exclusion(entry))
        except InvalidTarget as error:
            raise PlatformError(
                f"entry {number} of the exclusion list cannot be read: {error.detail}",
                hint="correct PULSAR_SCOPE_EXCLUDE: domains, addresses and networks, separated by commas",
            ) from None
    return tuple(parsed)


def parse_name(text: str) -> str:
    """Normalise a name that was found rather than asked for: labels with underscores are names in the DNS.

    A-labels are taken as they stand, since zones hold some that IDNA 2008 would not make. Raises `InvalidTarget`.
    """
    _check_characters(text)
    return _normalise(text, _FOUND_NAMES)


def canonical_address(text: str) -> str | None:
    """The canonical text of a dotted quad or an IPv6 address; None for anything else, zone ids included."""
    if "%" in text or not text.isascii():
        return None
    try:
        return str(ip_address(text))
    except ValueError:
        return None


def _parse(text: str, grammar: _Grammar) -> Target:
    _check_characters(text)
    for sign, detail, hint in _FOREIGN:
        if sign in text:
            raise InvalidTarget(detail, hint=hint)
    if "/" in text:
        return _network(text)
    if address := canonical_address(text):
        return Host(address)
    if ":" in text:
        raise InvalidTarget("not an IPv6 address", hint="a target has no port: the policy says which are looked at")
    return DomainName(_normalise(text, grammar))


def _check_characters(text: str) -> None:
    if not text:
        raise InvalidTarget("the target is empty", hint="give a host name, an address or a network")
    if len(text) > MAX_TEXT:
        raise InvalidTarget("the target is too long", hint=f"a name has at most {MAX_NAME} characters")
    if text.startswith(_OPTION_LIKE):
        raise InvalidTarget("a target begins with a letter or a digit", hint="programs read such a word as an option")
    if any(unicodedata.category(character) in _UNSEEN for character in text):
        raise InvalidTarget("the target holds white space, control or invisible characters", hint="type it anew")


def _network(text: str) -> Host | Network:
    address, _, length = text.partition("/")
    if canonical_address(address) is None:
        raise InvalidTarget(
            "a prefix length belongs behind an address", hint="write networks as 198.51.100.0/24 or 2001:db8::/116"
        )
    if not _PREFIX_LENGTH.fullmatch(length):
        raise InvalidTarget("the prefix length is not a plain number", hint="netmasks and ranges are not taken")
    try:
        network = ip_network(text)
    except ValueError:
        raise InvalidTarget(
            "the network has host bits set, or its prefix is too long", hint="give its first address and its length"
        ) from None
    if network.prefixlen == network.max_prefixlen:
        return Host(str(network.network_address))
    return Network(str(network))


def _normalise(text: str, grammar: _Grammar) -> str:
    labels = _mapped(text).removesuffix(".").split(".")
    if not all(labels):
        raise InvalidTarget("the name has an empty label", hint="two dots in a row, or one at the beginning")
    if not labels[-1][0].isalpha():
        raise InvalidTarget(
            "not an address in its usual spelling",
            hint="write IPv4 as four decimal numbers without leading zeros; ranges are not taken",
        )
    if len(labels) < grammar.least_labels:
        raise InvalidTarget("a name needs at least two labels", hint="for this machine itself give 127.0.0.1")
    name = ".".join(_a_label(label, grammar) for label in labels)
    if len(name) > MAX_NAME:
        raise InvalidTarget("the name is too long", hint=f"at most {MAX_NAME} characters")
    return name


def _mapped(text: str) -> str:
    if text.isascii():
        return text.lower()
    try:
        return idna.uts46_remap(text, std3_rules=False)
    except idna.IDNAError:
        raise InvalidTarget("the name holds characters that no host name has (UTS 46)", hint="type it anew") from None


def _a_label(label: str, grammar: _Grammar) -> str:
    encoded = label
    if not label.isascii() or (grammar.checks_idna and label.startswith("xn--")):
        encoded = _encoded(label)
    if not grammar.label.fullmatch(encoded):
        raise InvalidTarget(
            "a label of the name is malformed",
            hint="letters, digits and inner hyphens, at most 63 characters (RFC 1123)",
        )
    return encoded


def _encoded(label: str) -> str:
    try:
        encoded = idna.alabel(idna.ulabel(label)).decode("ascii")
    except (idna.IDNAError, UnicodeError):
        encoded = ""
    if not encoded or (label.isascii() and encoded != label):
        raise InvalidTarget("a label of the name is not valid IDNA (RFC 5891)", hint="type it in its own script")
    return encoded
