"""Listeners that need more than a greeting: one that never stops writing, and mail with STARTTLS (RFC 3207)."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from pathlib import Path

FLOOD = b"all work and no play makes a dull port\r\n" * 400
PATIENCE = 60.0


async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Write without end to whoever connects, as fast as it is read."""
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(PATIENCE):
            while True:
                writer.write(FLOOD)
                await writer.drain()
    writer.close()


class Mail:
    """A mail server: enough of SMTP to be asked for its extensions and to go over to TLS, where it has a certificate.

    `stem` is the certificate's path without `.pem` and `.key`.
    """

    def __init__(self, greeting: str, stem: Path | None = None) -> None:
        self._greeting = greeting
        self._context: ssl.SSLContext | None = None
        if stem is not None:
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._context.load_cert_chain(f"{stem}.pem", f"{stem}.key")

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        with contextlib.suppress(OSError, TimeoutError, asyncio.LimitOverrunError, ValueError):
            async with asyncio.timeout(PATIENCE):
                await self._converse(reader, writer)
        writer.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(f"220 {self._greeting}\r\n".encode())
        is_secure = False
        while line := await reader.readline():
            verb = line.strip().upper().partition(b" ")[0]
            if verb == b"STARTTLS" and self._context is not None and not is_secure:
                writer.write(b"220 2.0.0 Ready to start TLS\r\n")
                await writer.drain()
                await writer.start_tls(self._context)
                is_secure = True
                continue
            writer.write(self._reply(verb, is_secure=is_secure))
            await writer.drain()
            if verb == b"QUIT":
                return

    def _reply(self, verb: bytes, *, is_secure: bool) -> bytes:
        match verb:
            case b"EHLO":
                extensions = ["PIPELINING", "SIZE 10240000"]
                if self._context is not None and not is_secure:
                    extensions.append("STARTTLS")
                name = self._greeting.partition(" ")[0]
                lines = [f"250-{text}\r\n" for text in (name, *extensions[:-1])]
                return "".join([*lines, f"250 {extensions[-1]}\r\n"]).encode()
            case b"HELO" | b"NOOP" | b"RSET":
                return b"250 2.0.0 Ok\r\n"
            case b"QUIT":
                return b"221 2.0.0 Bye\r\n"
            case b"MAIL" | b"RCPT" | b"DATA":
                return b"554 5.7.1 Access denied\r\n"
            case _:
                return b"502 5.5.2 Error: command not recognized\r\n"
