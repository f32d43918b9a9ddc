"""One unit of a module that takes networks, as a scan carries it out: to be run inside of a network namespace.

    python -m tests.tasks.sweep_inside HOME MODULE ASKED

`ASKED` is JSON: `options`, `ports`, `seconds`, `networks`, `exclude`. Prints what the unit came to as JSON. The kernel
is asked for its powers as in a scan.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from threading import Event
from typing import Any
from uuid import uuid4

from footprint.policy import PRESETS
from footprint.records import Host, Network, Service, subject_of
from footprint.scope import Scope
from footprint.settings import Settings
from footprint.store.units import Settlement, Unit
from footprint.target import parse_target
from tasks.unit import Circumstances, carry_out


def sweep(home: Path, module: str, asked: dict[str, Any]) -> Settlement:
    """One unit."""
    networks = tuple(Network(cidr) for cidr in asked["networks"])
    changed = {"modules": {module: asked["options"]}, "ports": asked["ports"], "unit_timeout": asked["seconds"]}
    under = Circumstances(
        scan_id=uuid4(),
        policy=PRESETS["network_sweep"].model_copy(update=changed),
        scope=Scope(
            roots=tuple(map(parse_target, asked["networks"])),
            allow=Settings(scope_allow=("10.0.0.0/8",)).scope_allow,  # type: ignore[arg-type]
            exclude=tuple(asked["exclude"]),
        ),
        settings=Settings(home=home),
        store=None,
        work_dir=home / "work",
        stopped=Event(),
        report=lambda percent: None,
    )
    return carry_out(Unit(module, 1, 0, networks), under)


def main(home: str, module: str, asked: str) -> None:
    """Print what a unit came to."""
    began = time.monotonic()
    settled = sweep(Path(home), module, json.loads(asked))
    said = {
        "status": settled.status,
        "error": settled.error,
        "code": settled.error_code,
        "hint": settled.hint,
        "command": settled.command,
        "degraded": settled.degraded,
        "hosts": [record.address for record in settled.records if isinstance(record, Host)],
        "services": [subject_of(record) for record in settled.records if isinstance(record, Service)],
        "coverage": {entry.subject: [entry.outcome, entry.note] for entry in settled.coverage},
        "stderr": settled.stderr,
        "took": time.monotonic() - began,
    }
    print(json.dumps(said))  # noqa: T201 - it is what its parent reads


if __name__ == "__main__":
    main(*sys.argv[1:])
