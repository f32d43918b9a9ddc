"""A scan of a network by nmap under its asset's scope, for a network namespace of its own.

    python -m tests.tasks.nmap_inside HOME

It sweeps the network, prints `swept`, waits for a line, excludes `LATER` too, looks at the ports, and prints the scan
as JSON. It is carried out as `run_scan` does it, without a Prefect server.
"""

from __future__ import annotations

import json
import logging
import sys
from functools import cache, partial
from pathlib import Path
from typing import Any
from uuid import uuid4

from sqlalchemy import select

from flows.frontier import Bounds, Frontier
from footprint.admission import admit, scope_of
from footprint.asset_scope import AssetScope
from footprint.seeds import seeds
from footprint.settings import Settings
from footprint.store import Store, migrate, open_store
from footprint.store.assets import add_asset, scope_for, set_scope
from footprint.store.inventory import records_of
from footprint.store.left_out import left_out_page
from footprint.store.scans import Begun, begin, insert_scan
from footprint.store.tables import ModuleRun
from footprint.store.units import Unit, plan_unit
from tasks import run_scan as running
from tasks.catalogue import tool_named
from tasks.installation import Installation

NETWORK = "10.87.0.8/29"
ALIVE = ("10.87.0.9", "10.87.0.10", "10.87.0.11", "10.87.0.12")
EXCLUDED, LATER, NEVER = "10.87.0.11", "10.87.0.12", "10.87.0.13"
IN_NAMESPACE = ("10.87.0.0/24",)
POLICY = "network_sweep"


def main(home: Path) -> None:
    """Carry the scan out."""
    settings = Settings(home=home, scope_allow=IN_NAMESPACE, scope_exclude=(NEVER,))  # type: ignore[arg-type]
    migrate(settings.store_url)
    store = open_store(settings.store_url)
    running.installation = cache(lambda: Installation(settings, store))  # type: ignore[assignment]
    running.get_run_logger = lambda: logging.getLogger("inside")  # type: ignore[assignment]
    scan = _asked(store, settings)
    (settings.work_dir / str(scan.id)).mkdir(parents=True)
    scope = scope_of(settings, scan.target, scan.policy, scan.scope)
    frontier = Frontier([tool_named("nmap_discovery"), tool_named("nmap")], scope, Bounds(8, 1000))
    frontier.offer(seeds(scan.target))
    while unit := frontier.take():
        frontier.offer(_carried_out(store, scan, unit), unit.depth + 1)
        if unit.depth == 0:
            print("swept", flush=True)  # noqa: T201 - its parent counts packets
            sys.stdin.readline()
            with store.write() as session:
                set_scope(session, scan.asset_id, AssetScope(exclude=(EXCLUDED, LATER)))
    print(json.dumps(_shown(store, scan)))  # noqa: T201 - it is what its parent reads
    store.close()


def _asked(store: Store, settings: Settings) -> Begun:
    with store.write() as session:
        add_asset(session, "Estate", AssetScope((NETWORK,), exclude=(EXCLUDED,)))
        found = partial(scope_for, session)
        asked = admit(settings, target=NETWORK, policy=POLICY, comment="", origin="api", scoped=found)
        return begin(session, insert_scan(session, asked)[0].id, uuid4())


def _carried_out(store: Store, scan: Begun, unit: Unit) -> list[Any]:
    with store.write() as session:
        number = plan_unit(session, scan.id, scan.attempt, unit)
    running.run_scan.fn(scan, unit.module, unit.batch)
    with store.read() as session:
        return records_of(session, number)


def _shown(store: Store, scan: Begun) -> dict[str, Any]:
    with store.read() as session:
        runs = session.scalars(select(ModuleRun).order_by(ModuleRun.id)).all()
        refused = {one.subject: one.rule for one in left_out_page(session, scan.id, 0, 100)[0]}
        return {"commands": [run.command for run in runs], "errors": [run.error for run in runs], "refused": refused}


if __name__ == "__main__":
    main(Path(sys.argv[1]))
