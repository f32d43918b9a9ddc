"""Servers of our own on loopback that say what well-known ones say, for tools to be tried on: SSH, HTTP, TLS.

    with SshDecoy() as decoy:
        decoy.port

They serve whoever connects, and are gone with their context.
"""

from __future__ import annotations

import socket
import ssl
import struct
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event, Thread
from typing import Self

HERE = "127.0.0.1"
PATIENCE = 5.0
"""Seconds that a conversation may be silent."""
LOOK_SECONDS = 0.1
BANNER = "OpenSSH_9.2p1 Debian-2+deb12u2"
SERVER, TITLE, GENERATOR = "nginx/1.22.1", "Pulsar checks its tools", "WordPress 6.1.1"
NAME = "decoy.example.test"

_PAGE = f"""<!DOCTYPE html><html><head><title>{TITLE}</title>
<meta name="generator" content="{GENERATOR}" /></head><body><p>ok</p></body></html>
""".encode()
_REPLY = (
    f"HTTP/1.1 200 OK\r\nServer: {SERVER}\r\nContent-Type: text/html; charset=utf-8\r\n"
    f"Content-Length: {len(_PAGE)}\r\nConnection: close\r\n\r\n"
).encode() + _PAGE
_NAME_LISTS = (
    "curve25519-sha256,diffie-hellman-group1-sha1",
    "ssh-ed25519",
    *("aes256-gcm@openssh.com,3des-cbc",) * 2,
    *("hmac-sha2-256-etm@openssh.com,hmac-md5",) * 2,
    *("none",) * 2,
    *("",) * 2,
)
"""What the SSH server offers (RFC 4253, 7.1): key exchanges, host keys, ciphers, MACs, compression, languages."""


class Decoy:
    """A server on a free port of loopback; what it says is its kind's."""

    def __init__(self) -> None:
        self._listening = socket.create_server((HERE, 0), backlog=64)
        self._listening.settimeout(LOOK_SECONDS)
        self.port: int = self._listening.getsockname()[1]
        self._over = Event()
        self._thread = Thread(target=self._accept, name="pulsar-decoy", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self._listening.close()

    def converse(self, connection: socket.socket) -> None:
        """Serve one connection; an `OSError` ends it."""
        raise NotImplementedError

    def _accept(self) -> None:
        while not self._over.is_set():
            with suppress(OSError):
                connection, _ = self._listening.accept()
                Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        connection.settimeout(PATIENCE)
        with connection, suppress(OSError):
            self.converse(connection)


class SshDecoy(Decoy):
    """An SSH server up to what it offers; to agree on keys it hangs up."""

    def converse(self, connection: socket.socket) -> None:
        """Greet, and offer old algorithms beside good ones."""
        connection.sendall(f"SSH-2.0-{BANNER}\r\n".encode())
        if connection.recv(256).startswith(b"SSH-"):
            connection.sendall(_packet(_offer()))
            connection.recv(4096)


class HttpDecoy(Decoy):
    """A web server with one page."""

    def converse(self, connection: socket.socket) -> None:
        """Answer a request."""
        if b"HTTP/" in connection.recv(8192):
            connection.sendall(_REPLY)


class TlsDecoy(Decoy):
    """A TLS server with a certificate of its own that has expired; its key is made anew each time."""

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.minimum_version = ssl.TLSVersion.TLSv1_2
        self._context.load_cert_chain(_certificate(directory))

    def converse(self, connection: socket.socket) -> None:
        """Shake hands and answer a request."""
        with self._context.wrap_socket(connection, server_side=True) as secure:
            secure.recv(8192)
            secure.sendall(_REPLY)


def _offer() -> bytes:
    lists = b"".join(struct.pack(">I", len(names)) + names.encode() for names in _NAME_LISTS)
    return b"\x14" + bytes(16) + lists + bytes(5)


def _packet(payload: bytes) -> bytes:
    """A packet without encryption (RFC 4253, 6): its length is a multiple of eight, with four of padding at least."""
    padding = 8 - (len(payload) + 5) % 8
    padding += 8 if padding < 4 else 0
    return struct.pack(">IB", len(payload) + padding + 1, padding) + payload + bytes(padding)


def _certificate(directory: Path) -> Path:
    """Write a self-signed certificate with its key, of yesterday, into one file that only we can read."""
    # A library of sslyze's and of Prefect's; only this check needs it here.
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, NAME)])
    end = datetime.now(UTC) - timedelta(days=1)
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    made = made.serial_number(x509.random_serial_number()).not_valid_before(end - timedelta(days=30))
    made = made.not_valid_after(end).add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME)]), critical=False)
    text = made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    plain = (serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path = directory / "decoy.pem"
    path.touch(mode=0o600)
    path.write_bytes(text + key.private_bytes(serialization.Encoding.PEM, *plain))
    return path
