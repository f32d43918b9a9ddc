"""A preview, and then what it previewed, as a scan carries it out: to be run inside of a network namespace.

    python -m tests.tasks.preview_inside HOME ASKED

`ASKED` is JSON: `target`, `module`, `options`, `ports`, `intensity`, `exclude`. Prints as JSON what the preview said,
and what the units came to.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from threading import Event
from typing import Any
from uuid import uuid4

from footprint.admission import scope_of
from footprint.policy import ScanPolicy
from footprint.seeds import seeds
from footprint.settings import Settings
from footprint.store.units import Unit
from footprint.target import parse_target
from tasks.catalogue import catalogue, tool_named
from tasks.preview import batches_of, preview
from tasks.unit import Circumstances, carry_out
from tests.tasks.forbidding import nothing_sent


def main(home: str, said: str) -> None:
    """Preview one module, then run each of its units."""
    asked: dict[str, Any] = json.loads(said)
    target, module = parse_target(asked["target"]), asked["module"]
    policy = ScanPolicy(
        name="mine",
        modules={module: asked["options"]},
        ports=asked["ports"],
        intensity=asked["intensity"],
        unit_timeout=60,
    )
    settings = Settings(home=Path(home), scope_allow="10.0.0.0/8", scope_exclude=",".join(asked["exclude"]))  # type: ignore[arg-type]
    scope = scope_of(settings, target, policy)
    catalogue()  # a library that is imported with it starts a program
    with nothing_sent():
        (step,) = preview(target, policy, scope, settings, None).steps
    under = Circumstances(
        uuid4(), policy, scope, settings, None, settings.work_dir, Event(), report=lambda percent: None
    )
    batches = batches_of(tool_named(module), [root for root in seeds(target) if scope.decide(root).touch])
    settled = [carry_out(Unit(module, number, 0, batch), under) for number, batch in enumerate(batches, start=1)]
    answer = {
        "commands": [run.command for run in step.runs],
        "units": step.units,
        "least": step.least,
        "most": step.most,
        "seconds": step.seconds,
        "ran": [each.command for each in settled],
        "status": [each.status for each in settled],
        "error": [each.error for each in settled],
    }
    print(json.dumps(answer))  # noqa: T201 - it is what its parent reads


if __name__ == "__main__":
    main(*sys.argv[1:])
