"""The weaknesses that were built into the estate, by the rule that should name each and where.

A rule is `<module>/<check>`; a subject is a name, an address, `address:port/tcp`, or `name@address:port/tcp`.
"""

from __future__ import annotations

from collections.abc import Iterable

from tests.estate import addresses as at


def _tcp(address: str, port: int) -> str:
    return f"{address}:{port}/tcp"


OUTDATED: dict[str, Iterable[str]] = {
    "CVE-2018-15473": [_tcp(at.OLD_SSH, 22)],
    "CVE-2016-6210": [_tcp(at.OLD_SSH, 22)],
    "CVE-2023-48795": [_tcp(at.OLD_SSH, 22), _tcp(at.BASTION, 22), _tcp(at.LEGACY_SSH, 22)],
    "CVE-2011-2523": [_tcp(at.PRINTER, 21)],
    "CVE-2015-3306": [_tcp(at.OLD_FTP, 21)],
    "CVE-2019-10149": [_tcp(at.OLD_MAIL, 25)],
}
"""Of the sample of feeds that the demo reads (`tests/fixtures/feeds`): every version listed there that is here."""

FINDINGS = frozenset((f"cve_match/{cve}", subject) for cve, subjects in OUTDATED.items() for subject in subjects)

TOLERATED_FINDINGS: frozenset[tuple[str, str]] = frozenset()
"""True, and beside the point: nobody built them in on purpose."""
