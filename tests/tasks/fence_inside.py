"""One unit of a module behind the fence, as a scan carries it out: to be run inside of a network namespace.

    python -m tests.tasks.fence_inside HOME ASKED

`ASKED` is JSON: `module`, `targets` (addresses or networks), `options`, `ports`, `exclude`, `seconds`, `fence`;
`script`, a text that `program` (Python else) runs in the place of the module's own; `web`, the name of what the targets
are web servers of; `mark`, the scan's id. Prints `began`, then what the unit came to, as JSON.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any
from uuid import UUID, uuid4

from footprint.policy import PRESETS
from footprint.records import Coverage, Endpoint, Host, Network, Outcome, Record, Service, subject_of
from footprint.scope import Scope
from footprint.settings import Settings
from footprint.store.units import Settlement, Unit
from footprint.target import parse_target
from tasks import unit
from tasks.catalogue import tool_named
from tasks.tool import Batch, Command, Output, Tool
from tasks.unit import Circumstances, carry_out

ALLOW = ("10.0.0.0/8", "127.0.0.0/8", "fd00::/8")


def stand_in(real: Tool, program: str, script: str) -> Tool:
    """A module that runs this script; each line of its output is a port that it found open."""

    def parse(output: Output, batch: Batch) -> Iterator[Record | Coverage]:
        for line in output.stdout.split():
            yield Service(subject_of(batch[0]), int(line))
        if output.is_complete:
            yield from (Coverage(subject_of(record), Outcome.ANSWERED) for record in batch)

    command = Command((program, "script"), {"script": script})
    return replace(real, command=lambda batch, options: command, parse=parse, exclude_flag=None)


def _record(word: str, web: str | None) -> Record:
    if web:
        return Endpoint(word, 80, web, "http")
    return Network(word) if "/" in word else Host(word)


def carried_out(home: Path, asked: dict[str, Any]) -> Settlement:
    """One unit."""
    module = asked["module"]
    if script := asked.get("script"):
        made = stand_in(tool_named(module), asked.get("program", "python3"), script)
        unit.tool_named = lambda name: made
    records = tuple(_record(word, asked.get("web")) for word in asked["targets"])
    changed = {"modules": {module: asked["options"]}, "ports": asked["ports"], "unit_timeout": asked["seconds"]}
    under = Circumstances(
        scan_id=UUID(asked["mark"]) if asked.get("mark") else uuid4(),
        policy=PRESETS["network_sweep"].model_copy(update=changed),
        scope=Scope(
            roots=tuple(map(parse_target, asked["targets"])),
            allow=Settings(scope_allow=ALLOW).scope_allow,  # type: ignore[arg-type]
            exclude=tuple(asked["exclude"]),
        ),
        settings=Settings(home=home, fence=asked["fence"]),
        store=None,
        work_dir=home / "work",
        stopped=Event(),
        report=lambda percent: None,
    )
    return carry_out(Unit(module, 1, 0, records), under)


def main(home: str, asked: str) -> None:
    """Print what a unit came to."""
    print("began", flush=True)  # noqa: T201 - it is what its parent reads
    began = time.monotonic()
    settled = carried_out(Path(home), json.loads(asked))
    said = {
        "status": settled.status,
        "error": settled.error,
        "code": settled.error_code,
        "hint": settled.hint,
        "containment": settled.containment,
        "degraded": settled.degraded,
        "records": len(settled.records),
        "services": [subject_of(record) for record in settled.records if isinstance(record, Service)],
        "outcomes": {entry.subject: entry.outcome for entry in settled.coverage},
        "stderr": settled.stderr,
        "took": time.monotonic() - began,
    }
    print(json.dumps(said))  # noqa: T201 - it is what its parent reads


if __name__ == "__main__":
    main(*sys.argv[1:])
