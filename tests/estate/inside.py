"""What of the estate is Python: name servers, old banners, mail, a tarpit, a flood. Run inside its namespace.

    python -m tests.estate.inside CERTIFICATES

Prints `ready` once everything listens, and ends when its standard input is closed.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import ExitStack
from pathlib import Path

from tests.estate import addresses as at
from tests.estate import zone
from tests.estate.listeners import HTTP, SILENT, Listeners, Place, Script, web_server
from tests.estate.name_server import NameServer
from tests.estate.odd_listeners import Mail, flood

TARPIT_PORTS = range(1000, 1400)
FLOOD_PORT = 7777

NOBODY = b"530 Login incorrect.\r\n"
OLD = {
    (at.OLD_SSH, 22): Script(b"SSH-2.0-OpenSSH_7.2p2\r\n"),
    (at.OLD_FTP, 21): Script(b"220 ProFTPD 1.3.5 Server (ProFTPD Default Installation) [10.87.0.41]\r\n", NOBODY),
    (at.OLD_MAIL, 25): Script(b"220 sip-4kq.pulsar.test ESMTP Exim 4.87 Wed, 15 May 2024 10:00:00 +0000\r\n"),
    (at.OLD_WEB, 80): web_server("Apache/2.4.49 (Unix)", "", ""),
    (at.PRINTER, 21): Script(b"220 (vsFTPd 2.3.4)\r\n", NOBODY),
    (at.PRINTER, 80): web_server("lighttpd/1.4.28", "", ""),
}
"""Greetings of versions that nobody should run any more."""

RED, BELL, RIGHT_TO_LEFT = "\x1b[31m", "\x07", "\u202e"
BYE = f"221 {RED}bye $(id)\r\n".encode()
HOSTILE = {
    (at.HOSTILE, 21): Script(f"220 {RED}{BELL}ready\x1b]0;owned\x07 `id` $(id)\r\n".encode(), BYE),
    (at.HOSTILE, 22): Script(b"SSH-2.0-OpenSSH_9.2p1 =cmd|'/c calc'!A0\r\n", BYE),
    (at.HOSTILE, 25): Script(f"220 {RIGHT_TO_LEFT}moc.elpmaxe <script>alert(1)</script> ESMTP\r\n".encode(), BYE),
    (at.HOSTILE, 80): web_server(f"@SUM(1+1) {RED}<img src=x onerror=alert(1)> [x](https://x.test)", "", ""),
}
"""What whoever owns a host may say: escape sequences, markup, formulas, text that runs backwards."""

FORBIDDEN = {(address, port): HTTP for address in at.FORBIDDEN for port in (22, 80, 443)}


def scripted() -> Listeners:
    """Every listener that only says something."""
    played = OLD | HOSTILE | FORBIDDEN | {(at.TARPIT, port): SILENT for port in TARPIT_PORTS}
    return Listeners(Place(address, port, script) for (address, port), script in played.items())


async def _serve(certificates: Path) -> None:
    secured = Mail(f"mail.{zone.ROOT} ESMTP Postfix (Debian/GNU)", certificates / "good")
    plain = Mail(f"mx-7f3.{zone.ROOT} ESMTP Postfix")
    servers = [
        await asyncio.start_server(flood, at.FLOOD, FLOOD_PORT),
        await asyncio.start_server(secured, at.MAIL, 25),
        await asyncio.start_server(secured, at.MAIL, 587),
        await asyncio.start_server(plain, at.MAIL2, 25),
    ]
    print("ready", flush=True)  # noqa: T201 - it is what its parent waits for
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    for server in servers:
        server.close()


def main(certificates: Path) -> None:
    """Serve until standard input ends."""
    text = zone.text()
    with ExitStack() as stack:
        stack.enter_context(NameServer(text, host=at.NS1, port=53))
        stack.enter_context(NameServer(text, host=at.NS2, port=53, transfers=[zone.CORP]))
        for address in at.PUBLIC_RESOLVERS:
            stack.enter_context(NameServer(text, host=address, port=53))
        stack.enter_context(scripted())
        asyncio.run(_serve(certificates))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
