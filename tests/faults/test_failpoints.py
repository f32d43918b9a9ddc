"""A kill -9 at each step of a scan: what comes of it in the end is what an undisturbed scan finds, row by row."""

from __future__ import annotations

from pathlib import Path

import pytest

from footprint.failpoints import POINTS, VARIABLE, Point, failpoint
from tests.faults.ground import Ground


@pytest.mark.fault("kill -9 of the flow, {}")
@pytest.mark.parametrize(
    "point", [pytest.param(one, marks=pytest.mark.short) if one == "after-tool" else one for one in POINTS]
)
def test_a_flow_that_is_killed_at_a_step_leaves_a_scan_that_ends_whole(ground: Ground, point: Point) -> None:
    ground.undisturbed()
    plot = ground.plot()
    ground.arm(point)
    scan = ground.ask(plot)
    ground.fired(point)
    ended = ground.is_whole(scan, plot)
    assert ground.attempts(ended) == ((1, 0) if point == "after-verdict" else (2, 1))


@pytest.mark.short
def test_nothing_happens_where_nothing_is_armed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    failpoint("after-lease")
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    (tmp_path / "after-spawn").write_text("KILL")
    failpoint("after-lease")
    assert [path.name for path in tmp_path.iterdir()] == ["after-spawn"]
