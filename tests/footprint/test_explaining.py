"""What the store tells the explanation, the log and the doctor, on both databases."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import update

from footprint.admission import admit
from footprint.checkup import check_store
from footprint.records import Host
from footprint.scan_facts import Trouble
from footprint.settings import Settings
from footprint.states import Status
from footprint.store import Store, migrate
from footprint.store.checkup import look_into, trouble_writing
from footprint.store.endings import finish
from footprint.store.engine import connect
from footprint.store.explaining import scan_seen, scans_of_tasks, units_told
from footprint.store.scans import Begun, begin, insert_scan, keep_alive
from footprint.store.tables import ModuleRun, Scan
from footprint.store.units import Settlement, Unit, begin_unit, digest_of, plan_unit, settle_unit
from footprint.verdict import UnitStatus, Verdict

CRASHED = Settlement(UnitStatus.FAILED, error_code="tool_crashed", error="nmap: it crashed", hint="why", stderr="oh")


@pytest.fixture
def begun(store: Store, tmp_path: Path) -> Begun:
    """A scan that has begun."""
    settings = Settings(home=tmp_path, scope_allow=("127.0.0.0/8",))
    with store.write() as session:
        asked = admit(settings, target="127.0.0.1", policy="quick", comment="", origin="api")
        return begin(session, insert_scan(session, asked)[0].id, uuid4())


def _plan(store: Store, scan: Begun, module: str, batch: int = 1) -> int:
    with store.write() as session:
        unit = Unit(module, batch, 0, (Host("127.0.0.1"), Host("127.0.0.2")))
        unit_id = plan_unit(session, scan.id, scan.attempt, unit)
        begin_unit(session, scan.id, scan.attempt, module, batch)
        return unit_id


def test_a_running_scan_is_seen_with_its_units_and_its_last_sign_of_life(store: Store, begun: Begun) -> None:
    _plan(store, begun, "nmap")
    with store.write() as session:
        _, modules = digest_of(session, begun.id, {"tls": 3})
        keep_alive(session, begun.id, begun.attempt, 5, modules)
    with store.read() as session:
        seen = scan_seen(session, session.get_one(Scan, begun.id))
    assert [(unit.module, unit.batch, unit.targets) for unit in seen.units] == [("nmap", 1, 2)]
    assert (seen.status, seen.waiting, seen.unit_timeout, seen.troubles) == (Status.STARTED, 3, 3600, ())
    assert seen.renewed_at
    assert abs((datetime.now(UTC) - seen.renewed_at).total_seconds()) < 30


def test_an_ended_scan_is_seen_with_what_went_wrong_each_reason_once(store: Store, begun: Begun) -> None:
    for batch in (1, 2):
        unit_id = _plan(store, begun, "nmap", batch)
        with store.write() as session:
            settle_unit(session, begun.id, begun.attempt, unit_id, CRASHED)
    with store.write() as session:
        finish(session, begun.id, Verdict(Status.FAILURE, error="nmap: it crashed"), "Failed")
    with store.read() as session:
        seen = scan_seen(session, session.get_one(Scan, begun.id))
        told = list(units_told(session, begun.id))
    assert seen.troubles == (Trouble("nmap", "failed", 2, "nmap: it crashed", "why"),)
    assert (seen.units, seen.found, seen.error) == ((), "nothing was found", "nmap: it crashed")
    assert [(unit.batch, unit.stderr, unit.targets) for unit in told] == [(1, "oh", 2), (2, "oh", 2)]


def test_runs_are_named_by_their_scans(store: Store, begun: Begun) -> None:
    with store.read() as session:
        task_id = session.get_one(Scan, begun.id).task_id
        assert task_id
        assert scans_of_tasks(session, [task_id, uuid4()]) == {task_id: (begun.id, "127.0.0.1")}


def test_a_store_in_order_is_ok_its_clock_is_ours_and_live_scans_are_seen(store: Store, begun: Begun) -> None:
    lines, seen = check_store(store, by_writing=True)
    assert {line.name: line.health.value for line in lines} == {"store": "ok", "migrations": "ok"}
    assert seen
    assert abs(seen.drift) < 5
    assert [(scan.id, scan.status) for scan in seen.live] == [(begun.id, Status.STARTED)]
    with store.write() as session:
        finish(session, begun.id, Verdict(Status.REVOKED), "Cancelled")
    assert look_into(store).live == ()


def test_looking_whether_it_can_be_written_changes_nothing(store: Store, begun: Begun) -> None:
    with store.write() as session:
        session.execute(update(Scan).values(progress=7))
    assert trouble_writing(store) is None
    with store.read() as session:
        assert session.get_one(Scan, begun.id).progress == 7
        assert session.query(ModuleRun).count() == 0


def test_a_store_that_was_never_migrated_is_told(store_url: str) -> None:
    empty = connect(store_url)
    lines, seen = check_store(empty, by_writing=True)
    empty.close()
    assert ({line.name: line.health.value for line in lines}, seen) == ({"store": "ok", "migrations": "fail"}, None)


def test_a_store_that_only_can_be_read_fails_and_is_read_all_the_same(tmp_path: Path) -> None:
    migrate(f"sqlite:///{tmp_path / 'pulsar.db'}")
    held = connect(f"sqlite:///{tmp_path / 'pulsar.db'}")
    read_only = connect(f"sqlite:///file:{tmp_path / 'pulsar.db'}?mode=ro&uri=true")
    with held.read() as session:  # a WAL can only be read where its shared memory is there already
        session.query(Scan).count()
        lines, seen = check_store(read_only, by_writing=True)
    held.close()
    read_only.close()
    assert {line.name: line.health.value for line in lines} == {"store": "fail", "migrations": "ok"}
    assert "readonly" in lines[0].detail
    assert seen is not None


def test_a_store_that_is_away_fails() -> None:
    away = connect("postgresql+psycopg://nobody@127.0.0.1:1/none")
    lines, seen = check_store(away, by_writing=True)
    away.close()
    assert ({line.name: line.health.value for line in lines}, seen) == ({"store": "fail", "migrations": "warn"}, None)
