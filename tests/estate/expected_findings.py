"""The weaknesses that were built into the estate, by the rule that should name each and where.

A rule is `<module>/<check>`; a subject is a name, an address, `address:port/tcp`, or `name@address:port/tcp`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tests.estate import addresses as at
from tests.estate.zone import CORP, ROOT


def _tcp(address: str, port: int, name: str = "") -> str:
    host = f"[{address}]" if ":" in address else address
    return f"{name}@{host}:{port}/tcp" if name else f"{host}:{port}/tcp"


OUTDATED: dict[str, Iterable[str]] = {
    "CVE-2018-15473": [_tcp(at.OLD_SSH, 22)],
    "CVE-2016-6210": [_tcp(at.OLD_SSH, 22)],
    "CVE-2023-48795": [_tcp(at.OLD_SSH, 22), _tcp(at.BASTION, 22), _tcp(at.LEGACY_SSH, 22)],
    "CVE-2011-2523": [_tcp(at.PRINTER, 21)],
    "CVE-2015-3306": [_tcp(at.OLD_FTP, 21)],
    "CVE-2019-10149": [_tcp(at.OLD_MAIL, 25)],
}
"""Of the sample of feeds that the demo reads (`tests/fixtures/feeds`): every version listed there that is here."""

PLAIN_SITES = (
    *(_tcp(address, 443) for address in (at.EXPIRED, at.SELF_SIGNED, at.MISMATCHED, at.EXPIRING)),
    *(_tcp(address, 80) for address in (at.FILES, at.DEV, at.OFFICE, at.SHOP, at.OLD_WEB, at.PRINTER)),
)
"""Web sites that nobody took care of: no header protects their pages, and each says its version."""

BUILT_IN: dict[str, Iterable[str]] = {
    "dns/spf-allows-all": [ROOT],
    "dns/dmarc-missing": [ROOT],
    "dns/dangling-cname": [f"old-shop-3kd.{ROOT}"],
    "zone_transfer/allowed": [CORP],
    "service_checks/redis-open": [_tcp(at.CACHE, 6379)],
    "service_checks/memcached-open": [_tcp(at.SESSIONS, 11211)],
    "service_checks/ftp-anonymous": [_tcp(at.FTP, 21)],
    **{f"ssh_audit/weak-{what}": [_tcp(at.LEGACY_SSH, 22)] for what in ("cipher", "host-key", "key-exchange", "mac")},
    "tls/expired": [_tcp(at.EXPIRED, 443)],
    "tls/self-signed": [_tcp(at.SELF_SIGNED, 443)],
    "tls/near-expiry": [_tcp(at.EXPIRING, 443)],
    "tls/name-mismatch": [
        _tcp(at.MISMATCHED, 443, f"mismatch-3fz.{ROOT}"),
        # Names that lead to a service whose certificate is for others.
        _tcp(at.WWW, 443, f"blog.{ROOT}"),
        _tcp(at.WWW, 443, f"assets.{ROOT}"),
        _tcp(at.WEB6, 443, f"assets.{ROOT}"),
    ],
    "http_probe/git": [_tcp(at.DEV, 80)],
    "http_probe/directory-listing": [_tcp(at.FILES, 80)],
    "http_probe/security-headers": [*PLAIN_SITES, _tcp(at.HOSTILE, 80), _tcp(at.WWW, 80, f"blog.{ROOT}")],
    "http_probe/server-version": [*PLAIN_SITES, _tcp(at.WWW, 80), _tcp(at.WEB6, 80)],
}


def _all() -> Iterator[tuple[str, str]]:
    for cve, subjects in OUTDATED.items():
        yield from ((f"cve_match/{cve}", subject) for subject in subjects)
    for rule, subjects in BUILT_IN.items():
        yield from ((rule, subject) for subject in subjects)


FINDINGS = frozenset(_all())

TOLERATED_FINDINGS: frozenset[tuple[str, str]] = frozenset({("cve_match/CVE-2022-0543", _tcp(at.CACHE, 6379))})
"""True, and beside the point: nobody built them in on purpose. This one is of how Debian packages Redis."""
