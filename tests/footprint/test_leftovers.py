"""What killed flows left on the disk is cleared away when their scans have ended, and nothing else is."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from uuid import UUID, uuid4

from footprint.admission import NewScan
from footprint.policy import PRESETS
from footprint.records import Host
from footprint.states import Status
from footprint.store import Store
from footprint.store.endings import finish
from footprint.store.leftovers import PATIENCE, clear_leftovers
from footprint.store.scans import begin, insert_scan
from footprint.store.tables import now
from footprint.verdict import Verdict


def _scan(store: Store, ended: timedelta | None) -> UUID:
    """A scan that goes on, or has ended so long ago."""
    with store.write() as session:
        scan = insert_scan(session, NewScan(Host("127.0.0.1"), PRESETS["quick"], "", "api"))[0]
        begin(session, scan.id, uuid4())
        if ended is not None:
            finish(session, scan.id, Verdict(Status.SUCCESS), "Completed", at=now() - ended)
        return scan.id


def test_only_what_ended_a_while_ago_is_cleared_away(store: Store, tmp_path: Path) -> None:
    work = tmp_path / "work"
    assert clear_leftovers(store, work) == []
    long_ago = _scan(store, PATIENCE + timedelta(seconds=5))
    others = [_scan(store, None), _scan(store, timedelta(seconds=1)), uuid4()]
    for name in (long_ago, *others, "not-a-scan"):
        (work / str(name) / "unit-1").mkdir(parents=True)
    assert clear_leftovers(store, work) == [long_ago]
    assert {path.name for path in work.iterdir()} == {*map(str, others), "not-a-scan"}
    assert clear_leftovers(store, work) == []
