"""What a scan of `pulsar.test` should find, written down from what the estate is configured to be.

Nothing here was recorded from a scanner. Versions of the real servers are what their own programs say; those of the
old greetings stand in the greetings.
"""

from __future__ import annotations

import os
import re
import subprocess
from functools import cache
from typing import NamedTuple

from tests.estate import addresses as at
from tests.estate import zone
from tests.estate.expected_findings import FINDINGS, TOLERATED_FINDINGS
from tests.estate.inside import FLOOD_PORT, TARPIT_PORTS
from tests.estate.zone import CORP, ROOT


class Port(NamedTuple):
    """An open port, TCP."""

    address: str
    port: int


class Version(NamedTuple):
    """What answers on a port, as far as it tells."""

    address: str
    port: int
    product: str
    version: str | None


class Weakness(NamedTuple):
    """A finding by its rule and its subject."""

    rule: str
    subject: str


class Truth(NamedTuple):
    """Everything there is to find, and what may be said beside it without being wrong."""

    names: frozenset[str]
    ports: frozenset[Port]
    versions: frozenset[Version]
    findings: frozenset[Weakness]
    tolerated_names: frozenset[str]
    tolerated_ports: frozenset[Port]
    tolerated_findings: frozenset[Weakness]


NAMES = frozenset(
    [ROOT, f"partner.{ROOT}"]
    + [f"{name}.{ROOT}" for name in (*zone.HOSTS, *zone.ALIASES)]
    + [f"{name}.{CORP}" for name in zone.IN_TRANSFER]
)
TOLERATED_NAMES = frozenset({CORP, f"apps.{ROOT}"})
"""Names that are there and have no address."""

PORTS = frozenset(
    Port(address, port)
    for address, ports in {
        at.WWW: (80, 443),
        at.WEB6: (80, 443),
        at.EXPIRED: (443,),
        at.SELF_SIGNED: (443,),
        at.MISMATCHED: (443,),
        at.EXPIRING: (443,),
        at.FILES: (80,),
        at.DEV: (80,),
        at.VAULT: (443,),
        at.BASTION: (22,),
        at.LEGACY_SSH: (22,),
        at.MAIL: (25, 587),
        at.MAIL2: (25,),
        at.CACHE: (6379,),
        at.SESSIONS: (11211,),
        at.FTP: (21,),
        at.OLD_SSH: (22,),
        at.OLD_FTP: (21,),
        at.OLD_MAIL: (25,),
        at.OLD_WEB: (80,),
        at.PRINTER: (21, 80),
        at.NS1: (53,),
        at.NS2: (53,),
        at.FLOOD: (FLOOD_PORT,),
        at.HOSTILE: (21, 22, 25, 80),
        at.OFFICE: (80,),
        at.SHOP: (80,),
    }.items()
    for port in ports
)
TOLERATED_PORTS = frozenset(Port(at.TARPIT, port) for port in TARPIT_PORTS)
"""A tarpit's open ports mean nothing: a sample of them is as good as all."""

CAREFUL_WEB = {(at.WWW, 443), (at.WEB6, 443), (at.VAULT, 443)}
"""Their nginx does not say its version."""
NGINX = {place for place in PORTS if place.port in (80, 443)} - {
    Port(at.OLD_WEB, 80),
    Port(at.PRINTER, 80),
    Port(at.HOSTILE, 80),
}


@cache
def versions() -> frozenset[Version]:
    """What answers, and in which version."""
    nginx, ssh = _said("nginx", "-v", r"nginx/([\d.]+)"), _said("ssh", "-V", r"OpenSSH_([^,]+),").replace("-", " ", 1)
    return frozenset(
        {
            *(Version(*place, "nginx", None if place in CAREFUL_WEB else nginx) for place in NGINX),
            Version(at.BASTION, 22, "OpenSSH", ssh),
            Version(at.LEGACY_SSH, 22, "OpenSSH", ssh),
            Version(at.MAIL, 25, "Postfix smtpd", None),
            Version(at.MAIL, 587, "Postfix smtpd", None),
            Version(at.MAIL2, 25, "Postfix smtpd", None),
            Version(at.CACHE, 6379, "Redis key-value store", _said("redis-server", "--version", r"v=([\d.]+)")),
            Version(at.SESSIONS, 11211, "Memcached", _said("memcached", "--version", r"memcached ([\d.]+)")),
            Version(at.FTP, 21, "vsftpd", _said("vsftpd", "-v", r"version ([\d.]+)")),
            Version(at.OLD_SSH, 22, "OpenSSH", "7.2p2"),
            Version(at.OLD_FTP, 21, "ProFTPD", "1.3.5"),
            Version(at.OLD_MAIL, 25, "Exim smtpd", "4.87"),
            Version(at.OLD_WEB, 80, "Apache httpd", "2.4.49"),
            Version(at.PRINTER, 21, "vsftpd", "2.3.4"),
            Version(at.PRINTER, 80, "lighttpd", "1.4.28"),
            Version(at.NS1, 53, "ISC BIND", "9.11.4"),
            Version(at.NS2, 53, "ISC BIND", "9.11.4"),
        }
    )


def truth() -> Truth:
    """All of it."""
    return Truth(
        NAMES,
        PORTS,
        versions(),
        frozenset(Weakness(*one) for one in FINDINGS),
        TOLERATED_NAMES,
        TOLERATED_PORTS,
        frozenset(Weakness(*one) for one in TOLERATED_FINDINGS),
    )


def _said(program: str, option: str, pattern: str) -> str:
    """What a program says its version is, wherever it writes that: vsftpd writes to its standard input."""
    reader, writer = os.pipe()
    with os.fdopen(reader) as answer:
        subprocess.run([program, option], stdin=writer, stdout=writer, stderr=writer, check=False, timeout=10)
        os.close(writer)
        found = re.search(pattern, answer.read())
    if found is None:
        raise RuntimeError(f"{program} {option} does not say its version")
    return found[1]
