"""A small estate that changes while it is watched: a zone, five hosts with real servers, and what becomes of them.

    with RecurringEstate() as estate:
        ...           # scan
        estate.change()
        ...           # scan again: `recurring_truth` says what is another

It is made in two network namespaces of this machine. What is Python in it listens from threads of this process.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any, Self

from tests.estate import daemons
from tests.estate.daemons import Daemon, nginx, redis, running, sshd, vsftpd
from tests.estate.listeners import Listeners, Place, Script, web_server
from tests.estate.name_server import NameServer
from tests.estate.namespaces import GATEWAY, Namespaces, Side, trouble
from tests.estate.tls_hosts import AUTHORITY, Draft, make_certificates
from tests.estate.zone_data import Zone

ROOT = "recurring.test"
NET = "10.87.0.0/24"
NS, WWW, DEV, MAIL, OLD, SHOP = (f"10.87.0.{number}" for number in (53, 10, 11, 12, 13, 14))
PROGRAMS = ("nginx", "redis-server", "vsftpd", "sshd")

BEFORE = {"www": WWW, "dev": DEV, "mail": MAIL, "old": OLD, "ns1": NS}
AFTER = {"www": WWW, "dev": DEV, "mail": MAIL, "shop": SHOP, "ns1": NS}
POSTFIX = Script(b"220 mail.recurring.test ESMTP Postfix (Debian/GNU)\r\n")
EXIM = Script(b"220 mail.recurring.test ESMTP Exim 4.97 Wed, 15 May 2024 10:00:00 +0000\r\n")
LIGHTTPD = web_server("lighttpd/1.4.28", "lighttpd", "1.4.28")
EACH_VISIT = "ssi on;"
"""The first page tells the time: that it is another with every visit is no change."""


def zone(names: dict[str, str], serial: int) -> str:
    """The zone's text. Whoever edits a zone counts its serial number up."""
    head = [
        f"{ROOT} SOA ns1.{ROOT}. hostmaster.{ROOT}. {serial} 3600 600 86400 60",
        f"{ROOT} NS ns1.{ROOT}.",
        f"{ROOT} A {WWW}",
        f"{ROOT} MX 10 mail.{ROOT}.",
        f'{ROOT} TXT "v=spf1 mx -all"',
        f'_dmarc.{ROOT} TXT "v=DMARC1; p=reject"',
    ]
    return "\n".join([*head, *(f"{name}.{ROOT} A {address}" for name, address in names.items())])


class RecurringEstate:
    """All of it, listening while the context is open."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._namespaces = Namespaces()
        self._parts: dict[str, ExitStack] = {}
        self._folder = Path()
        self._certificates: dict[str, Path] = {}

    @property
    def scanner(self) -> Side:
        """The side that scans."""
        return self._namespaces.scanner

    @property
    def authority(self) -> Path:
        """PEM file of the authority that issued the certificates."""
        return Path(f"{self._certificates[AUTHORITY]}.pem")

    def certificate(self, name: str) -> bytes:
        """A certificate of the web server as PEM: the one it presents at `first`, or the one that is `renewed`."""
        return Path(f"{self._certificates[name]}.pem").read_bytes()

    def __enter__(self) -> Self:
        try:
            self._build()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def change(self) -> None:
        """What happens between the first look and the second."""
        self.end("ftp", "smtp", "old", "tls")
        self._name_server.zone = Zone(zone(AFTER, serial=2))
        self._serve("tls", nginx, WWW, 443, certificate=self._certificates["renewed"], extra=EACH_VISIT)
        self._serve("redis", redis, DEV, 6379)
        self._serve("shop", nginx, SHOP, 80)
        self._say("smtp", MAIL, 25, EXIM)

    def trespasses(self) -> dict[str, int]:
        """Packets to addresses outside the estate's network."""
        sent = self._namespaces.packets()
        return {at: count for at, count in sent.items() if at != GATEWAY and ip_address(at) not in ip_network(NET)}

    def end(self, *parts: str) -> None:
        """Have servers end: `dev`, `old`, … as they are called here."""
        for part in parts:
            self._parts.pop(part).close()

    def _build(self) -> None:
        self._folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="pulsar-recurring-")))
        self._folder.chmod(0o755)  # vsftpd serves its files as somebody else
        drafts = {"first": Draft((f"www.{ROOT}", ROOT)), "renewed": Draft((f"www.{ROOT}", ROOT), since=-1, until=330)}
        self._certificates = make_certificates(self._folder, drafts)
        self._stack.enter_context(self._namespaces)
        self._namespaces.add(NS, WWW, DEV, MAIL, OLD, SHOP)
        with self._namespaces.estate.entered():
            self._name_server = self._stack.enter_context(NameServer(zone(BEFORE, serial=1), host=NS, port=53))
        self._serve("web", nginx, WWW, 80)
        self._serve("tls", nginx, WWW, 443, certificate=self._certificates["first"], extra=EACH_VISIT)
        self._serve("ssh", sshd, DEV, 22)
        self._serve("ftp", vsftpd, MAIL, 21)
        self._say("smtp", MAIL, 25, POSTFIX)
        self._say("old", OLD, 80, LIGHTTPD)

    def _serve(self, part: str, program: Any, address: str, port: int, **options: Any) -> None:
        folder = Path(tempfile.mkdtemp(prefix=f"{part}-", dir=self._folder))
        folder.chmod(0o755)
        if program is nginx:
            (folder / "index.html").write_text(PAGE.format(title=f"{part} of {ROOT}"))
        made: Daemon = program(address, port, folder, **options)
        self._begin(part, running(made, prefix=self._namespaces.estate.prefix))

    def _say(self, part: str, address: str, port: int, script: Script) -> None:
        self._begin(part, self._listening(Place(address, port, script)))

    @contextmanager
    def _listening(self, place: Place) -> Iterator[None]:
        with ExitStack() as stack:
            with self._namespaces.estate.entered():
                stack.enter_context(Listeners([place]))
            yield

    def _begin(self, part: str, server: AbstractContextManager[Any]) -> None:
        self._parts[part] = self._stack.enter_context(ExitStack())
        self._parts[part].enter_context(server)


PAGE = """<!doctype html><html><head><title>{title}</title></head>
<body>It is <!--#echo var="date_local" --> here.</body></html>
"""


def lacking() -> str | None:
    """Why the estate cannot be built here, or None."""
    if missing := daemons.lacking(*PROGRAMS):
        return f"the estate's servers are {missing}"
    return trouble()
