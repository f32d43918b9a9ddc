"""A public DNS and a scan of it, each for a network namespace of its own.

    python -m tests.tasks.amass_inside serve              prints `ready`, serves until its standard input ends
    python -m tests.tasks.amass_inside scan HOME OPTIONS  runs one unit of amass, prints what it came to as JSON

A scan is stopped where its standard input says so.
"""

from __future__ import annotations

import json
import sys
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from uuid import uuid4

from footprint.policy import PRESETS
from footprint.records import DomainName
from footprint.scope import Scope
from footprint.settings import Settings
from footprint.store.packing import pack
from footprint.store.units import Settlement, Unit
from tasks.unit import Circumstances, carry_out
from tests.estate.addresses import PUBLIC_RESOLVERS
from tests.estate.name_server import NameServer

ROOT = "pulsar.test"
RESOLVER, NS = "10.53.0.1", "10.53.0.2"
WWW, MAIL, VPN, NEIGHBOUR = "10.87.0.10", "10.87.0.11", "10.87.0.12", "10.88.0.1"
ZONE = f"""
o-o.myaddr.l.google.com TXT "10.53.0.1"
{ROOT} SOA ns1.{ROOT}. hostmaster.{ROOT}. 1 3600 600 86400 60
{ROOT} NS ns1.{ROOT}.
{ROOT} A {WWW}
{ROOT} MX 10 mail.{ROOT}.
ns1.{ROOT} A {NS}
www.{ROOT} A {WWW}
mail.{ROOT} A {MAIL}
vpn.{ROOT} A {VPN}
shop.{ROOT} CNAME www.{ROOT}.
cdn.{ROOT} CNAME edge.neighbour.test.
edge.neighbour.test A {NEIGHBOUR}
"""
"""Amass asks its first name of every name server, and leaves alone those that do not know it."""


def serve() -> None:
    """Answer at every address that Amass asks."""
    with ExitStack() as stack:
        for address in (*PUBLIC_RESOLVERS, RESOLVER, NS):
            stack.enter_context(NameServer(ZONE, host=address, port=53))
        print("ready", flush=True)  # noqa: T201 - it is what its parent waits for
        sys.stdin.read()


def scan(home: Path, options: dict[str, Any]) -> Settlement:
    """One unit of amass, as a scan carries it out."""
    stopped = threading.Event()
    threading.Thread(target=lambda: sys.stdin.readline() and stopped.set(), daemon=True).start()
    under = Circumstances(
        scan_id=uuid4(),
        policy=PRESETS["full_discovery"].model_copy(update={"modules": {"amass": options}, "unit_timeout": 120}),
        scope=Scope.for_target(DomainName(ROOT)),
        settings=Settings(home=home, resolvers=(RESOLVER,)),
        store=None,
        work_dir=home / "work",
        stopped=stopped,
        report=lambda percent: None,
    )
    return carry_out(Unit("amass", 1, 0, (DomainName(ROOT),)), under)


def main(role: str, *words: str) -> None:
    """Play one of the two."""
    if role == "serve":
        serve()
        return
    settled = scan(Path(words[0]), json.loads(words[1]))
    said = {
        "status": settled.status,
        "error": settled.error_code,
        "version": settled.version,
        "records": [pack(record) for record in settled.records],
        "coverage": [[entry.outcome, entry.note] for entry in settled.coverage],
        "stderr": settled.stderr,
    }
    print(json.dumps(said))  # noqa: T201 - it is what its parent reads


if __name__ == "__main__":
    main(*sys.argv[1:])
