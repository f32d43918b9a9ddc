"""The estate's certificates: an authority of its own, and what it issued well, too early, for others, or not at all."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.estate.zone import NEIGHBOURS, ROOT

AUTHORITY = "authority"
YEAR = timedelta(days=365)
GOOD_NAMES = (f"www.{ROOT}", ROOT, f"mail.{ROOT}", f"ledger-a91.{ROOT}", f"vault-k27.{ROOT}")
"""What the good certificate is for: two of the names are told by it alone."""


def write(directory: Path) -> None:
    """Write the authority and every certificate, each as `<name>.pem` and `<name>.key`."""
    directory.mkdir()
    now = datetime.now(UTC)
    authority = _Issuer(directory)
    authority.issue("good", GOOD_NAMES, now - timedelta(days=30), now + timedelta(days=300))
    authority.issue("expired", (f"secure.{ROOT}",), now - 2 * YEAR, now - timedelta(days=40))
    authority.issue("mismatched", (f"www.{NEIGHBOURS}",), now - timedelta(days=30), now + timedelta(days=300))
    authority.issue("expiring", (f"expiring-6hw.{ROOT}",), now - timedelta(days=80), now + timedelta(days=6))
    _self_signed(directory, f"selfsigned-8mp.{ROOT}", now)


class _Issuer:
    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _named("Estate Test Authority")
        now = datetime.now(UTC)
        draft = _draft(self._name, self._name, self._key.public_key(), now - 3 * YEAR, now + 3 * YEAR)
        draft = draft.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        _save(directory / AUTHORITY, draft.sign(self._key, hashes.SHA256()), self._key)

    def issue(self, name: str, dns_names: tuple[str, ...], since: datetime, until: datetime) -> None:
        """Issue a certificate for these names; the first is its common name."""
        key = ec.generate_private_key(ec.SECP256R1())
        draft = _draft(_named(dns_names[0]), self._name, key.public_key(), since, until)
        draft = draft.add_extension(x509.SubjectAlternativeName(list(map(x509.DNSName, dns_names))), critical=False)
        _save(self._directory / name, draft.sign(self._key, hashes.SHA256()), key)


def _self_signed(directory: Path, name: str, now: datetime) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    draft = _draft(_named(name), _named(name), key.public_key(), now - timedelta(days=30), now + YEAR)
    draft = draft.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
    _save(directory / "self_signed", draft.sign(key, hashes.SHA256()), key)


def _named(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _draft(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, since: datetime, until: datetime
) -> x509.CertificateBuilder:
    draft = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key)
    return draft.serial_number(x509.random_serial_number()).not_valid_before(since).not_valid_after(until)


def _save(stem: Path, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
    stem.with_suffix(".pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    stem.with_suffix(".key").write_bytes(private)
