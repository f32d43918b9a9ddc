"""What is wrong with a certificate: when it is valid, for which names, who vouches for it, how strong it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import ip_address

from footprint.records import Certificate, Finding, Severity
from footprint.text import clean
from tasks.tls_report import Deployment, Leaf

LEAST_RSA_BITS = 2048
LEAST_EC_BITS = 224
NAMES_SHOWN = 8

_RFC = "https://www.rfc-editor.org/rfc/rfc"


@dataclass(frozen=True, slots=True)
class View:
    """A certificate as it was presented: at which endpoint, for which name, when, and what was said of its chain."""

    leaf: Leaf
    deployment: Deployment
    name: str | None
    now: datetime
    expiry_days: int

    @property
    def is_valid_now(self) -> bool:
        return self.leaf.not_valid_before <= self.now <= self.leaf.not_valid_after

    @property
    def is_self_signed(self) -> bool:
        return bool(self.leaf.issued_to) and self.leaf.issued_to == self.leaf.issued_by and not self.is_trusted

    @property
    def is_trusted(self) -> bool:
        """True where one of sslyze's trust stores, or the installation's own authorities, lead to it."""
        return any(each.was_validation_successful for each in self.deployment.path_validation_results)

    @property
    def is_for_this_name(self) -> bool:
        """True where the endpoint has no name, too: then nothing was asked of it."""
        return self.name is None or matches(self.leaf.names, self.name)


def matches(names: tuple[str, ...], wanted: str) -> bool:
    """Whether one of a certificate's names is this one; `*` stands for exactly one whole label (RFC 6125, 6.4.3)."""
    wanted = wanted.lower().rstrip(".")
    parent = wanted.partition(".")[2]
    for name in (name.lower().rstrip(".") for name in names):
        if name == wanted or (name.startswith("*.") and parent and name[2:] == parent and "." in parent):
            return True
    return _same_address(names, wanted)


def _same_address(names: tuple[str, ...], wanted: str) -> bool:
    try:
        address = ip_address(wanted)
        return any(ip_address(name) == address for name in names)
    except ValueError:
        return False


def _expired(view: View) -> str:
    until = view.leaf.not_valid_after
    return f"valid until {until:%Y-%m-%d}, {(view.now - until).days} days ago" if until < view.now else ""


def _not_yet_valid(view: View) -> str:
    since = view.leaf.not_valid_before
    return f"valid from {since:%Y-%m-%d %H:%M} UTC only" if since > view.now else ""


def _near_expiry(view: View) -> str:
    left = view.leaf.not_valid_after - view.now
    if not view.is_valid_now or left > timedelta(days=view.expiry_days):
        return ""
    return f"valid until {view.leaf.not_valid_after:%Y-%m-%d}, {left.days} more days"


def _self_signed(view: View) -> str:
    return f"issuer and subject are both {view.leaf.issued_to}" if view.is_self_signed else ""


def _mismatch(view: View) -> str:
    if view.is_for_this_name:
        return ""
    names = view.leaf.names
    more = f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
    return f"asked for {view.name}, it is for {', '.join(names[:NAMES_SHOWN]) or 'no name at all'}{more}"


def _untrusted(view: View) -> str:
    """Nothing where something else is wrong that fails every validation anyway, or nothing was validated."""
    checked = view.deployment.path_validation_results
    is_judged = view.is_valid_now and not view.is_self_signed and matches(view.leaf.names, view.name or "")
    if not is_judged or not checked or view.is_trusted:
        return ""
    stores = ", ".join(each.trust_store.name for each in checked)
    why = (checked[0].validation_error or "").partition(" (encountered")[0]
    return f"issued by {view.leaf.issued_by}; trusted by none of {stores}: {why}"


def _weak_key(view: View) -> str:
    key = view.leaf.public_key
    least = LEAST_RSA_BITS if key.algorithm.startswith(("RSA", "DSA")) else LEAST_EC_BITS
    return view.leaf.key if key.key_size and key.key_size < least else ""


def _weak_signature(view: View) -> str:
    digest = view.leaf.signature_hash_algorithm
    is_weak = digest is not None and digest.name.lower() in ("md2", "md4", "md5", "sha1")
    return view.leaf.signature_algorithm_oid.name if is_weak else ""


@dataclass(frozen=True, slots=True)
class Rule:
    """A check of a certificate: `look` gives the evidence, or nothing where all is well."""

    name: str
    title: str
    severity: Severity
    reference: str
    look: Callable[[View], str]


RULES = (
    Rule("expired", "The certificate has expired", Severity.MEDIUM, f"{_RFC}5280#section-4.1.2.5", _expired),
    Rule(
        "not-yet-valid", "The certificate is not valid yet", Severity.MEDIUM, f"{_RFC}5280#section-4.1.2.5",
        _not_yet_valid,
    ),
    Rule("near-expiry", "The certificate expires soon", Severity.LOW, f"{_RFC}5280#section-4.1.2.5", _near_expiry),
    Rule("self-signed", "The certificate is self-signed", Severity.MEDIUM, f"{_RFC}5280#section-6", _self_signed),
    Rule("name-mismatch", "The certificate is for another name", Severity.MEDIUM, f"{_RFC}6125#section-6", _mismatch),
    Rule(
        "untrusted-chain", "No known authority vouches for the certificate", Severity.MEDIUM,
        f"{_RFC}5280#section-6", _untrusted,
    ),
    Rule("weak-key", "The certificate's key is short", Severity.MEDIUM, f"{_RFC}9325#section-4.5", _weak_key),
    Rule(
        "weak-signature", "The certificate is signed with a broken hash", Severity.MEDIUM, f"{_RFC}9155#section-1",
        _weak_signature,
    ),
)  # fmt: skip


def certificate(leaf: Leaf, subject: str) -> Certificate:
    """The record of a certificate that `subject` presents."""
    return Certificate(
        subject,
        leaf.fingerprint,
        issued_to=leaf.issued_to,
        issuer=leaf.issued_by,
        names=tuple(clean(name, 255) for name in leaf.names),
        not_before=leaf.not_valid_before.isoformat(),
        not_after=leaf.not_valid_after.isoformat(),
        serial=f"{leaf.serial_number:x}",
        key=leaf.key,
        signature=leaf.signature_algorithm_oid.name,
    )


def judge(views: list[View], subject: str) -> Iterator[Finding]:
    """What is wrong with the certificates that an endpoint presents: a finding for each rule, whichever broke it."""
    for rule in RULES:
        evidence = [f"{said} (SHA-256 {view.leaf.fingerprint[:16]})" for view in views if (said := rule.look(view))]
        if evidence:
            yield Finding(
                f"tls/{rule.name}",
                subject,
                title=rule.title,
                severity=rule.severity,
                evidence="; ".join(evidence),
                reference=rule.reference,
            )
