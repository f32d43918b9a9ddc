"""TLS services with something wrong with each: the certificates, and servers that present them.

    made = make_certificates(directory)
    with TlsServer("127.0.0.1", made["expired"]) as server:
        server.port

Certificates are PEM files, `<name>.pem` and `<name>.key`; `python -m tests.estate.tls_hosts DIRECTORY` writes them.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import subprocess
import sys
import warnings
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from threading import Event, Thread
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

AUTHORITY = "authority"
DAY = timedelta(days=1)
NAMES = ("good.example.test", "*.apps.example.test")
"""What the certificates are for, unless said otherwise."""

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


@dataclass(frozen=True, slots=True)
class Draft:
    """A certificate to be made: for which names, valid from and until (days from now), and how it is signed."""

    names: tuple[str, ...] = NAMES
    since: float = -30
    until: float = 300
    rsa_bits: int = 0
    """0 is a key on the curve P-256."""
    self_signed: bool = False


DRAFTS = {
    "good": Draft(),
    "expired": Draft(since=-400, until=-40),
    "not_yet_valid": Draft(since=20),
    "near_expiry": Draft(until=6),
    "mismatched": Draft(names=("elsewhere.example.test",)),
    "self_signed": Draft(self_signed=True),
    "weak_key": Draft(rsa_bits=1024),
}
"""The certificates by name, next to the authority's own."""


def make_certificates(
    directory: Path, drafts: dict[str, Draft] | None = None, now: datetime | None = None
) -> dict[str, Path]:
    """Write an authority and what it issued; returns the paths by name, without `.pem` and `.key`."""
    moment = now or datetime.now(UTC)
    authority_key = ec.generate_private_key(ec.SECP256R1())
    authority = _named("Test Authority")
    own = _builder(authority, authority, authority_key, moment - 800 * DAY, moment + 800 * DAY)
    own = own.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    own = own.add_extension(x509.SubjectKeyIdentifier.from_public_key(authority_key.public_key()), critical=False)
    own = own.add_extension(_KEY_USAGE, critical=True)
    made = {AUTHORITY: _write(directory / AUTHORITY, own.sign(authority_key, hashes.SHA256()), authority_key)}
    for name, draft in (DRAFTS if drafts is None else drafts).items():
        key = _key(draft.rsa_bits)
        subject = _named(draft.names[0])
        issuer = subject if draft.self_signed else authority
        builder = _builder(subject, issuer, key, moment + draft.since * DAY, moment + draft.until * DAY)
        builder = builder.add_extension(x509.SubjectAlternativeName(list(map(_general, draft.names))), critical=False)
        builder = builder.add_extension(_key_of(key if draft.self_signed else authority_key), critical=False)
        signer = key if draft.self_signed else authority_key
        made[name] = _write(directory / name, builder.sign(signer, hashes.SHA256()), key)
    return made


def make_sha1(directory: Path, names: tuple[str, ...] = NAMES) -> Path:
    """Write `sha1`, self-signed with SHA-1, with the openssl program: the library here refuses to."""
    stem = directory / "sha1"
    argv = ["openssl", "req", "-x509", "-sha1", "-newkey", "rsa:2048", "-nodes", "-days", "300"]
    argv += ["-subj", f"/CN={names[0]}", "-addext", f"subjectAltName={','.join(f'DNS:{name}' for name in names)}"]
    files = ["-keyout", str(stem.with_suffix(".key")), "-out", str(stem.with_suffix(".pem"))]
    subprocess.run([*argv, *files], check=True, capture_output=True)
    return stem


_KEY_USAGE = x509.KeyUsage(
    digital_signature=False, content_commitment=False, key_encipherment=False, data_encipherment=False,
    key_agreement=False, key_cert_sign=True, crl_sign=True, encipher_only=False, decipher_only=False,
)  # fmt: skip
"""Of an authority: what it signs are certificates and lists of revoked ones."""


def _key_of(key: Key) -> x509.AuthorityKeyIdentifier:
    return x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key())


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _key(rsa_bits: int) -> Key:
    if not rsa_bits:
        return ec.generate_private_key(ec.SECP256R1())
    return rsa.generate_private_key(65537, rsa_bits)


def _named(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _builder(
    subject: x509.Name, issuer: x509.Name, key: Key, since: datetime, until: datetime
) -> x509.CertificateBuilder:
    begun = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key.public_key())
    return begun.serial_number(x509.random_serial_number()).not_valid_before(since).not_valid_after(until)


def _write(stem: Path, certificate: x509.Certificate, key: Key) -> Path:
    stem.with_suffix(".pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    stem.with_suffix(".key").write_bytes(private)
    return stem


class TlsServer:
    """A server that shakes hands with whoever connects, sends `reply`, and closes. Port 0 is any free one.

    `first` and `last` bound its protocols. `ciphers` is OpenSSL's list for TLS 1.2 and before; with level 0
    (`:@SECLEVEL=0`) it takes old protocols and short keys.
    """

    def __init__(
        self,
        address: str,
        certificate: Path,
        *,
        port: int = 0,
        first: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2,
        last: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3,
        ciphers: str = "",
        reply: bytes = b"",
    ) -> None:
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        if ciphers:
            self._context.set_ciphers(ciphers)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of the old protocols
            self._context.minimum_version, self._context.maximum_version = first, last
        self._context.load_cert_chain(f"{certificate}.pem", f"{certificate}.key")
        self._reply = reply
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._listening = socket.create_server((address, port), family=family, backlog=64)
        self.port: int = self._listening.getsockname()[1]
        self.server_names: list[str | None] = []
        """What clients asked for (SNI), in order; None where they did not say."""
        self._context.sni_callback = lambda _socket, name, _context: self.server_names.append(name)
        self._over = Event()
        self._thread = Thread(target=self._accept, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self._listening.close()

    def _accept(self) -> None:
        self._listening.settimeout(0.1)
        while not self._over.is_set():
            with contextlib.suppress(OSError):
                connection, _ = self._listening.accept()
                Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        connection.settimeout(10)
        with (
            connection,
            contextlib.suppress(OSError),
            self._context.wrap_socket(connection, server_side=True) as secure,
        ):
            secure.recv(4096)
            secure.sendall(self._reply)


if __name__ == "__main__":
    for stem in make_certificates(Path(sys.argv[1])).values():
        print(f"{stem}.pem")  # noqa: T201 - it is what was asked for
