"""A worker that is asked to stop: what runs may end within its grace and is kept, what does not is done anew."""

from __future__ import annotations

import signal
import time
from uuid import UUID

import pytest
from sqlalchemy import select

from footprint.store.tables import ModuleRun
from tests.faults.ground import Ground, Told, until
from tests.processes import marked, wait_until_gone


def _units(ground: Ground, scan: Told) -> dict[tuple[str, int], tuple[int, str]]:
    """In which attempt each unit was begun, and what became of it."""
    with ground.store.read() as session:
        runs = session.scalars(select(ModuleRun).where(ModuleRun.scan_id == UUID(scan["id"]))).all()
    return {(run.module, run.batch): (run.attempt, run.status) for run in runs}


def _held(ground: Ground, scan: Told) -> tuple[str, int]:
    """The unit whose tool does not end: the only one that runs after the others, which take a moment."""

    def alone() -> tuple[str, int] | None:
        found = [
            unit for unit, (_, status) in _units(ground, scan).items() if status == "running" and unit[0] == "nmap"
        ]
        time.sleep(1.5)
        still = [unit for unit, (_, status) in _units(ground, scan).items() if status == "running"]
        return still[0] if len(still) == 1 and found == still and marked(UUID(scan["id"])) else None

    return until(alone, 60, lambda: _units(ground, scan))


@pytest.mark.fault("SIGTERM of the worker, the unit ends within the grace")
def test_a_unit_that_ends_within_the_grace_of_its_worker_is_not_run_again(ground: Ground) -> None:
    ground.undisturbed()
    plot = ground.plot("hold", "ports")
    scan = ground.ask(plot)
    held = _held(ground, scan)
    ground.kill(ground.part("worker"), number=signal.SIGTERM)
    time.sleep(1)
    assert marked(UUID(scan["id"])), "it may go on"
    ground.behave(plot)
    assert ground.reach(scan, "RETRY", 30)["waiting"] == "its worker was stopped"
    assert _units(ground, scan)[held] == (1, "done")
    assert ground.attempts(ground.is_whole(scan, plot)) == (2, 0)
    assert _units(ground, scan)[held] == (1, "done")


@pytest.mark.fault("SIGTERM of the worker, the unit outlasts the grace")
def test_a_unit_that_outlasts_the_grace_of_its_worker_is_stopped_and_done_anew(ground: Ground) -> None:
    ground.undisturbed()
    plot = ground.plot("hold", "ports")
    scan = ground.ask(plot)
    held = _held(ground, scan)
    ground.kill(ground.part("worker"), number=signal.SIGTERM)
    asked = time.monotonic()
    assert wait_until_gone(UUID(scan["id"]), ground.settings.grace_seconds + 15) == set()
    assert time.monotonic() - asked >= ground.settings.grace_seconds
    assert ground.reach(scan, "RETRY", 30)["waiting"] == "its worker was stopped"
    assert held not in _units(ground, scan)
    ground.behave(plot)
    assert ground.attempts(ground.is_whole(scan, plot)) == (2, 0)
