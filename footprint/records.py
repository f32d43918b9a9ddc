"""What a scan finds: frozen records, equal by what they are and not by what is known of them.

A record's identity is its compared fields; descriptive ones carry `compare=False`, so that a host found twice is
one host. Records are what modules accept and produce, what the frontier deduplicates and the store keeps.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class DomainName:
    """A DNS name, lower-case A-labels, no trailing dot. `cname` is the name it is an alias of, if any."""

    kind: ClassVar[str] = "domain"

    name: str
    cname: str | None = field(default=None, compare=False)
    wildcard: bool = field(default=False, compare=False)
    """True where the zone answers any name at this level the same way (RFC 4592): the name proves nothing."""


@dataclass(frozen=True, slots=True)
class Host:
    """An address (IPv4 or IPv6, canonical text). `name` is the DNS name that led to it; `via` the last alias.

    `asn`, `prefix` (CIDR), `holder` and `country` (ISO 3166-1 alpha-2) say whose it is; `os` is a guess.
    """

    kind: ClassVar[str] = "host"

    address: str
    name: str | None = field(default=None, compare=False)
    via: str | None = field(default=None, compare=False)
    os: str | None = field(default=None, compare=False)
    asn: int | None = field(default=None, compare=False)
    prefix: str | None = field(default=None, compare=False)
    holder: str | None = field(default=None, compare=False)
    country: str | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Network:
    """A network in CIDR notation with no host bits set."""

    kind: ClassVar[str] = "network"

    cidr: str


@dataclass(frozen=True, slots=True)
class Service:
    """An open port of a host and what answers there. `cpes` are CPE 2.2 URIs as the tool printed them."""

    kind: ClassVar[str] = "service"

    address: str
    port: int
    protocol: str = "tcp"
    name: str | None = field(default=None, compare=False)
    product: str | None = field(default=None, compare=False)
    version: str | None = field(default=None, compare=False)
    detail: str | None = field(default=None, compare=False)
    tunnel: str | None = field(default=None, compare=False)
    cpes: tuple[str, ...] = field(default=(), compare=False)


SAMPLE = "one of many ports on which this host answers alike"
"""The detail of a service that was kept as a sample of a tarpit's: what it is made with is not worth asking."""
STARTTLS_SERVICES = frozenset({"smtp", "submission", "imap", "pop3", "ftp", "ldap", "xmpp-client", "postgresql"})
"""What nmap names services that begin in plain text and take up TLS when asked to."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A service as it is reached by one name: what virtual hosts and TLS server names tell apart.

    There is one for each name that leads to the service's address, and one without a name. Nobody yields them: a
    scan derives them from the hosts and the identified services that it knows.
    """

    kind: ClassVar[str] = "endpoint"

    address: str
    port: int
    name: str | None = None
    service: str | None = field(default=None, compare=False)
    tunnel: str | None = field(default=None, compare=False)
    product: str | None = field(default=None, compare=False)

    @property
    def is_tls(self) -> bool:
        """True where TLS is spoken from the first byte."""
        return self.tunnel == "ssl" or self.service in ("https", "https-alt", "imaps", "pop3s", "smtps", "ldaps")

    @property
    def is_web(self) -> bool:
        """True where HTTP is spoken, over TLS or not."""
        return (self.service or "").startswith("http")

    @property
    def takes_starttls(self) -> bool:
        """True where TLS can be asked for within the service's own protocol."""
        return not self.is_tls and self.service in STARTTLS_SERVICES

    @property
    def url(self) -> str:
        """The address of its first page, by its name where it has one; the usual port is left out (RFC 3986)."""
        scheme, usual = ("https", 443) if self.is_tls else ("http", 80)
        host = self.name or (f"[{self.address}]" if ":" in self.address else self.address)
        return f"{scheme}://{host}/" if self.port == usual else f"{scheme}://{host}:{self.port}/"


@dataclass(frozen=True, slots=True)
class DnsRecord:
    """A DNS record other than an address or an alias. `rdtype` is its type's word, `value` its data as text."""

    kind: ClassVar[str] = "dns_record"

    name: str
    rdtype: str
    value: str


@dataclass(frozen=True, slots=True)
class Technology:
    """A product that a service shows to be made with. `subject` is the service or endpoint, as in its coverage."""

    kind: ClassVar[str] = "technology"

    subject: str
    name: str
    version: str | None = field(default=None, compare=False)
    detail: str | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Certificate:
    """An X.509 certificate that a service presents (RFC 5280). `fingerprint` is its SHA-256 in hexadecimal.

    Times are ISO 8601 in UTC. `issued_to` and `issuer` are distinguished names as text (RFC 4514), `names` its
    subject alternative names, `key` says algorithm and size (`RSA 2048`).
    """

    kind: ClassVar[str] = "certificate"

    subject: str
    fingerprint: str
    issued_to: str = field(default="", compare=False)
    issuer: str = field(default="", compare=False)
    names: tuple[str, ...] = field(default=(), compare=False)
    not_before: str | None = field(default=None, compare=False)
    not_after: str | None = field(default=None, compare=False)
    serial: str | None = field(default=None, compare=False)
    key: str | None = field(default=None, compare=False)
    signature: str | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class WebPage:
    """What a web service answered for its first page.

    `status` is the last HTTP status, `redirects` the addresses that were led to, in order, the last one perhaps not
    followed; `favicon` is the MurmurHash3 of the icon in base 64, as search engines for devices list it.
    """

    kind: ClassVar[str] = "web_page"

    subject: str
    url: str
    status: int | None = field(default=None, compare=False)
    title: str | None = field(default=None, compare=False)
    server: str | None = field(default=None, compare=False)
    redirects: tuple[str, ...] = field(default=(), compare=False)
    favicon: int | None = field(default=None, compare=False)
    body: str | None = field(default=None, compare=False)
    """SHA-256 of the body as far as it was read."""


class Severity(StrEnum):
    """CVSS v3.1 qualitative ratings (specification, section 5)."""

    NONE = "none"
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"


@dataclass(frozen=True, slots=True)
class Finding:
    """A weakness of a domain, host, service or endpoint. `rule` names the check; with `subject` it is the identity.

    `cvss` is a vector with its version's prefix (`CVSS:3.1/…`, `CVSS:4.0/…`; version 2 has none), `score` its base
    score, 0.0-10.0. `module` is the one that found it: filled in where a unit's results are taken.
    """

    kind: ClassVar[str] = "finding"

    rule: str
    subject: str
    title: str = field(default="", compare=False)
    severity: Severity = field(default=Severity.NONE, compare=False)
    confidence: float = field(default=1.0, compare=False)
    """From 0 (a guess) to 1 (proved)."""
    evidence: str = field(default="", compare=False)
    reference: str = field(default="", compare=False)
    cvss: str | None = field(default=None, compare=False)
    score: float | None = field(default=None, compare=False)
    module: str | None = field(default=None, compare=False)


Detail = DnsRecord | Technology | Certificate | WebPage
"""What is known beside names, addresses, services and weaknesses."""
Record = DomainName | Host | Network | Service | Endpoint | Detail | Finding


class Outcome(StrEnum):
    """What became of one target of a unit: "nothing found" must say what was looked at."""

    ANSWERED = "answered"
    SAMPLED = "sampled"
    """It answered with more than means anything (a tarpit, a wildcard): a sample was kept."""
    SILENT = "silent"
    """It was looked at, and nothing came back: no port answered, the name does not exist."""
    TIMED_OUT = "timed_out"
    REFUSED = "refused"
    """Scope forbade it just before the tool was started."""
    NOT_LOOKED_AT = "not_looked_at"


@dataclass(frozen=True, slots=True)
class Coverage:
    """What a module says of one target it was given. `subject` is the target as in its record."""

    subject: str
    outcome: Outcome
    note: str = field(default="", compare=False)


def subject_of(record: Record) -> str:
    """Name a record in one word, as coverage and findings refer to it."""
    match record:
        case DomainName(name=text) | Host(address=text) | Network(cidr=text) | WebPage(url=text):
            return text
        case Service(address=address, port=port, protocol=protocol):
            return f"{_bracketed(address)}:{port}/{protocol}"
        case Endpoint(address=address, port=port, name=name):
            return f"{name}@{_bracketed(address)}:{port}/tcp" if name else f"{_bracketed(address)}:{port}/tcp"
        case DnsRecord(name=subject, rdtype=what) | Technology(subject=subject, name=what):
            return f"{subject} {what}"
        case Certificate(subject=subject, fingerprint=what):
            return f"{subject} {what}"
        case Finding(subject=subject, rule=rule):
            return f"{rule} {subject}"


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address
