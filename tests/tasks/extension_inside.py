"""One unit of the module `extension`, as a scan carries it out: to be run inside of a network namespace.

    python -m tests.tasks.extension_inside HOME ASKED

`ASKED` is JSON: `records` (as the store packs them), `seen` (records that the scan has found before), `targets` (its
scope), `options`, `exclude`, `own_ports`, `mark` (what tells the extensions' processes). Prints what the unit came to,
as JSON.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from threading import Event
from typing import Any
from uuid import uuid4

from footprint.policy import PRESETS
from footprint.records import Finding
from footprint.scope import Scope
from footprint.settings import Settings
from footprint.store import migrate, open_store
from footprint.store.packing import unpack
from footprint.store.units import Settlement, Unit
from footprint.target import parse_target
from tasks.unit import Circumstances, carry_out
from tests.seen import seen_by_a_scan
from tests.tasks.fence_inside import ALLOW


def carried_out(home: Path, asked: dict[str, Any]) -> Settlement:
    """One unit."""
    settings = Settings(home=home, own_ports=tuple(asked.get("own_ports", ())))
    store, scan_id = None, uuid4()
    if asked.get("seen"):
        migrate(settings.store_url)
        store = open_store(settings.store_url)
        scan_id = seen_by_a_scan(store, tuple(unpack(each) for each in asked["seen"]))
    under = Circumstances(
        scan_id=scan_id,
        policy=PRESETS["quick"].model_copy(update={"modules": {"extension": asked.get("options", {})}}),
        scope=Scope(
            roots=tuple(map(parse_target, asked["targets"])),
            allow=Settings(scope_allow=ALLOW).scope_allow,  # type: ignore[arg-type]
            exclude=tuple(asked.get("exclude", ())),
        ),
        settings=settings,
        store=store,
        work_dir=home / "work",
        stopped=Event(),
        report=lambda percent: None,
    )
    return carry_out(Unit("extension", 1, 0, tuple(unpack(each) for each in asked["records"])), under)


def main(home: str, asked: str) -> None:
    """Print what a unit came to."""
    settled = carried_out(Path(home), json.loads(asked))
    said = {
        "status": settled.status,
        "error": settled.error,
        "code": settled.error_code,
        "hint": settled.hint,
        "found": {one.rule: one.evidence for one in settled.records if isinstance(one, Finding)},
        "outcomes": {entry.subject: entry.outcome for entry in settled.coverage},
        "notes": {entry.subject: entry.note for entry in settled.coverage},
        "stderr": settled.stderr,
    }
    print(json.dumps(said))  # noqa: T201 - it is what its parent reads


if __name__ == "__main__":
    main(*sys.argv[1:])
