"""Where a signed webhook may be: https and public, unless the installation allows its network."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network
from typing import Annotated
from urllib.parse import SplitResult, urlsplit

from pydantic import AfterValidator, StringConstraints

from footprint.address_space import Span, carried_ipv4, joined, special_purpose
from footprint.errors import InvalidTarget, InvalidWebhook
from footprint.records import DomainName, Host
from footprint.target import canonical_address, parse_exclusion
from footprint.text import clean

Networks = tuple[IPv4Network | IPv6Network, ...]
PORTS = {"https": 443, "http": 80}
HTTPS_ONLY = "only https goes there"
REMEDY = "PULSAR_NOTIFY_ALLOW names the networks that may be sent to although they are not public"


def split(url: str) -> tuple[SplitResult, str, int]:
    """The parts of a webhook's address, its host in canonical form, its port. Raises `ValueError`."""
    if clean(url) != url or not url.isascii() or " " in url or "\\" in url:
        raise ValueError("an address of visible ASCII characters")
    try:
        parts = urlsplit(url)
        port = parts.port or PORTS.get(parts.scheme, 0)
        host = parse_exclusion(parts.hostname or "")
    except (ValueError, InvalidTarget):
        raise ValueError("an address such as https://hooks.example.com/pulsar") from None
    if parts.scheme not in PORTS or not isinstance(host, DomainName | Host):
        raise ValueError("an address such as https://hooks.example.com/pulsar")
    if parts.username is not None or parts.password is not None or parts.fragment:
        raise ValueError("without user, password and fragment")
    return parts, host.name if isinstance(host, DomainName) else host.address, port


def refusal(address: str, allow: Networks, *, is_encrypted: bool) -> str:
    """Why nothing is sent to this address; empty where it may be."""
    canonical = canonical_address(address)
    if canonical is None:
        return "not an address"
    parsed = ipaddress.ip_address(canonical)
    spans = [Span.of(str(each)) for each in (parsed, *carried_ipv4(parsed))]
    allowed = joined(Span.of(str(network)) for network in allow)
    if all(span.within(allowed) for span in spans):
        return ""
    if meaning := next((meaning for span in spans if (meaning := special_purpose(span))), ""):
        return f"special-purpose address ({meaning})"
    return "" if is_encrypted else HTTPS_ONLY


def check(url: str, allow: Networks) -> None:
    """Refuse what can be told to be wrong without resolving a name. Raises `InvalidWebhook`."""
    parts, host, _ = split(url)
    is_encrypted = parts.scheme == "https"
    if canonical_address(host) is not None:
        why = refusal(host, allow, is_encrypted=is_encrypted)
    else:
        why = "" if is_encrypted or allow else HTTPS_ONLY
    if why:
        raise InvalidWebhook(f"nothing is sent there: {why}", hint=REMEDY)


def _sound(url: str) -> str:
    split(url)
    return url


def resolved(addresses: Iterable[str], allow: Networks, *, is_encrypted: bool) -> tuple[str | None, str]:
    """The address to connect to, where all that a name resolves to may be sent to; or None, and why not."""
    found = list(dict.fromkeys(addresses))
    for address in found:
        if why := refusal(address, allow, is_encrypted=is_encrypted):
            return None, why
    return (found[0], "") if found else (None, "it has no address")


WebhookAddress = Annotated[str, StringConstraints(max_length=2000), AfterValidator(_sound)]
