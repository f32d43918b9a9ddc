"""The estate: some thirty hosts with real services in a network namespace, and a scanner's namespace beside it.

    with Estate() as estate:
        estate.scanner.run(["nmap", "-n", "-Pn", "10.87.0.10"])
        assert estate.trespasses() == {}

What it is made of: `addresses`, `zone` (names), `sites` (nginx), `certificates`, `inside` (what is Python). Real are
nginx, OpenSSH, Redis, memcached and vsftpd; `lacking` says which of them are not installed. What a scan should find is
in `truth`.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from contextlib import ExitStack
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Self

from tests.estate import addresses as at
from tests.estate import daemons, programs
from tests.estate.certificates import DRAFTS
from tests.estate.meter import Meter
from tests.estate.namespaces import GATEWAY, Namespaces, Side, trouble
from tests.estate.tls_hosts import AUTHORITY, make_certificates

REPOSITORY = Path(__file__).parents[2]


class Estate:
    """All of it, listening while the context is open. Entering raises `RuntimeError` where something is lacking."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._namespaces = Namespaces()
        self.authority = Path()
        """PEM file of the authority that issued the estate's certificates."""

    @property
    def scanner(self) -> Side:
        """The side that scans."""
        return self._namespaces.scanner

    def __enter__(self) -> Self:
        if reason := lacking():
            raise RuntimeError(reason)
        try:
            self._start()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def trespasses(self) -> dict[str, int]:
        """Packets to addresses that the estate is not: out of scope, excluded, or nobody's at all."""
        seen = self._namespaces.packets()
        return {address: count for address, count in seen.items() if count and not _is_fair(address)}

    def packets(self) -> dict[str, int]:
        """Packets that each address has seen from the scanner."""
        return dict(self._namespaces.packets())

    def meter(self) -> Meter:
        """What counts packets a second at the estate's side, while its context is open."""
        return Meter(self._namespaces)

    def _start(self) -> None:
        enter = self._stack.enter_context
        directory = Path(enter(tempfile.TemporaryDirectory(prefix="pulsar-estate-")))
        directory.chmod(0o755)  # vsftpd serves its files as somebody else
        enter(self._namespaces)
        self._namespaces.add(*at.EVERY)
        self._namespaces.silence(at.SILENT)
        made = directory / "certificates"
        made.mkdir()
        make_certificates(made, DRAFTS)
        self.authority = made / f"{AUTHORITY}.pem"
        self._start_python(made)
        programs.start(enter, self._namespaces.estate, directory, made)

    def _start_python(self, folder: Path) -> None:
        argv = [sys.executable, "-m", "tests.estate.inside", str(folder)]
        # A connection that a scanner broke off leaves a traceback.
        log = self._stack.enter_context((folder / "inside.log").open("wb"))
        process = self._namespaces.estate.popen(
            argv, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log
        )
        self._stack.enter_context(process)
        self._stack.callback(process.terminate)
        if process.stdout is None or process.stdout.readline() != b"ready\n":
            raise RuntimeError(f"the estate's listeners did not start: {(folder / 'inside.log').read_text()[-2000:]}")


def _is_fair(address: str) -> bool:
    found = ip_address(address)
    # Amass asks the system's resolver where its public sources are; nobody answers there.
    is_ours = address in (*at.PUBLIC_RESOLVERS, GATEWAY) or any(found in ip_network(net) for net in (at.NET, at.NET6))
    return is_ours and address not in at.FORBIDDEN


def lacking() -> str | None:
    """Why the estate cannot be built here, or None."""
    if missing := daemons.lacking(*programs.PROGRAMS):
        return f"the estate's servers are {missing}"
    return trouble()
