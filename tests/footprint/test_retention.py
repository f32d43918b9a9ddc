"""Which scans are forgotten, which are kept whatever their age, and what forgetting them leaves."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from sqlalchemy import func, select, update

from footprint.drift import Change
from footprint.held_directories import held_directory
from footprint.home_disk import left_behind
from footprint.policy import ScanPolicy
from footprint.records import Host, Service
from footprint.states import Status
from footprint.store import Store, migrate, open_store
from footprint.store.asset_views import asset_services
from footprint.store.change_tables import ChangeRow
from footprint.store.claim_table import ClaimRow
from footprint.store.forgetting import forget_scans, forget_settled, shrink
from footprint.store.notification_tables import NotificationRow
from footprint.store.outbox import Delivery
from footprint.store.retention import Keeping, doomed_scans
from footprint.store.scans import Begun, begin, insert_scan
from footprint.store.schedule_tables import ScheduleRow, ScheduleRunRow
from footprint.store.tables import CoverageRow, ModuleRun, Scan, ServiceRow, Sighting
from tests.footprint.test_differences import ADDRESS, NEW, POLICY, WEB, asked, scanned, told

NOW = datetime(2027, 6, 1, tzinfo=UTC)
HERE = Host(ADDRESS)
SSH = Service(ADDRESS, 22)
YEAR = Keeping(days=365, scans=0)
BOTH = asked("nmap", HERE, HERE, WEB, SSH)
ONE = asked("nmap", HERE, HERE, WEB)


def aged(store: Store, scan: Begun, days: float) -> Begun:
    """The same scan, as if it had been so many days ago."""
    at = NOW - timedelta(days=days)
    with store.write() as session:
        session.execute(update(Scan).where(Scan.id == scan.id).values(created_at=at, started_at=at, finished_at=at))
        session.execute(update(ChangeRow).where(ChangeRow.scan_id == scan.id).values(at=at))
    return scan


def doomed(store: Store, keeping: Keeping = YEAR) -> list[UUID]:
    with store.read() as session:
        return [scan.id for scan in doomed_scans(session, keeping, NOW)]


def test_old_scans_are_forgotten_and_the_last_good_one_is_not(store: Store) -> None:
    old = [aged(store, scanned(store, BOTH), 400 + number) for number in (3, 2, 1)]
    failed = aged(store, scanned(store, BOTH, verdict=Status.FAILURE), 390)
    assert doomed(store) == [old[0].id, old[1].id, failed.id]
    assert doomed(store, Keeping(0, 0)) == []
    assert doomed(store, Keeping(1000, 0)) == []


def test_the_last_ones_of_a_target_are_kept_by_number(store: Store) -> None:
    scans = [aged(store, scanned(store, BOTH), 9 - number) for number in range(5)]
    assert doomed(store, Keeping(0, 2)) == [scan.id for scan in scans[:3]]
    with store.read() as session:
        (first, *_) = doomed_scans(session, Keeping(0, 2), NOW)
    assert first.reason == "older than the 2 newest of its target"
    with store.read() as session:
        assert {scan.reason for scan in doomed_scans(session, Keeping(0, 1), NOW)} == {
            "older than the newest of its target"
        }
    assert (first.records, first.bytes > 300, first.ended_at) == (3, True, NOW - timedelta(days=9))


def test_a_scan_that_has_just_ended_is_left_alone(store: Store) -> None:
    for number in range(3):
        aged(store, scanned(store, BOTH), number / 1000)
    assert doomed(store, Keeping(0, 1)) == []


def test_each_way_of_looking_keeps_its_last_good_one(store: Store) -> None:
    other = replace(NEW, policy=ScanPolicy(name="other", modules={"dns": {}}, ports="1-1024"))
    kept = aged(store, scanned(store, BOTH, new=other), 800)
    aged(store, scanned(store, BOTH), 700)
    aged(store, scanned(store, BOTH), 10)
    assert kept.id not in doomed(store)
    assert len(doomed(store)) == 1


def test_the_last_to_see_something_that_is_not_known_to_be_gone_is_kept(store: Store) -> None:
    witness = aged(store, scanned(store, BOTH), 500)
    # It did not look at the host: nothing is known of its port 22.
    aged(store, scanned(store, asked("dns", HERE)), 450)
    latest = aged(store, scanned(store, ONE, new=replace(NEW, policy=_narrow())), 5)
    assert doomed(store) == []
    with store.write() as session:
        row = session.scalars(select(ServiceRow.id).where(ServiceRow.port == 22)).one()
        session.add(_gone(latest, row))
    assert doomed(store) == [witness.id]


def _narrow() -> ScanPolicy:
    return ScanPolicy(name="narrow", modules=POLICY.modules, ports="443")


def _gone(scan: Begun, row: int) -> ChangeRow:
    at = NOW - timedelta(days=5)
    told_of = {"subject": "127.0.0.5:22/tcp", "steps": [], "reason": "", "at": at}
    return ChangeRow(
        asset_id=scan.asset_id, scan_id=scan.id, kind="service", entity_id=row, change=Change.GONE, **told_of
    )


def test_what_a_scan_that_goes_on_will_be_compared_with_is_kept(store: Store) -> None:
    old = aged(store, scanned(store, BOTH), 500)
    with store.write() as session:
        running = begin(session, insert_scan(session, NEW)[0].id, uuid4())
        session.execute(update(Scan).where(Scan.id == running.id).values(created_at=NOW - timedelta(days=450)))
    aged(store, scanned(store, BOTH), 10)
    assert doomed(store) == []
    with store.write() as session:
        session.execute(update(Scan).where(Scan.id == running.id).values(status=Status.FAILURE, finished_at=NOW))
    assert doomed(store) == [old.id]


def test_a_scan_that_somebody_is_still_to_be_told_of_is_kept(store: Store) -> None:
    old = aged(store, scanned(store, BOTH), 500)
    aged(store, scanned(store, BOTH), 10)
    with store.write() as session:
        session.add(_notification(old, Delivery.PENDING))
    assert doomed(store) == []
    with store.write() as session:
        session.execute(update(NotificationRow).values(status=Delivery.GIVEN_UP))
    assert doomed(store) == [old.id]


def _notification(scan: Begun, status: Delivery) -> NotificationRow:
    return NotificationRow(scan_id=scan.id, receiver="mail:x", status=status, tries=0, created_at=NOW, next_try_at=NOW)


def test_times_of_schedules_without_a_scan_are_settled_after_months(store: Store) -> None:
    with store.write() as session:
        schedule = ScheduleRow(target="127.0.0.1", policy_name="quick", said={}, timing={}, timezone="UTC")
        session.add(schedule)
        session.flush()
        for number, days in enumerate((100, 100, 10)):
            came_at = NOW - timedelta(days=days)
            session.add(ScheduleRunRow(id=number + 1, schedule_id=schedule.id, came_at=came_at, outcome="skipped"))
    scan = scanned(store, BOTH)
    with store.write() as session:
        session.execute(update(Scan).where(Scan.id == scan.id).values(schedule_id=schedule.id, schedule_run=1))
    assert forget_settled(store, NOW) == 1
    with store.read() as session:
        assert session.scalars(select(ScheduleRunRow.id).order_by(ScheduleRunRow.id)).all() == [1, 3]


def test_forgetting_takes_all_of_a_scan_and_nothing_of_the_inventory(store: Store) -> None:
    first = aged(store, scanned(store, BOTH), 500)
    aged(store, scanned(store, ONE), 480)
    latest = aged(store, scanned(store, BOTH), 470)
    with store.read() as session:
        before, _ = asset_services(session, first.asset_id, 0, 10)
        plan = doomed_scans(session, YEAR, NOW)
        history = session.execute(select(ChangeRow.kind, ChangeRow.change, ChangeRow.at).order_by(ChangeRow.id)).all()
    assert [scan.id for scan in forget_scans(store, plan)] == [scan.id for scan in plan]
    assert len(plan) == 2
    with store.read() as session:
        assert asset_services(session, first.asset_id, 0, 10)[0] == before
        assert session.scalars(select(Scan.id)).all() == [latest.id]
        assert history
        assert (
            session.execute(select(ChangeRow.kind, ChangeRow.change, ChangeRow.at).order_by(ChangeRow.id)).all()
            == history
        )
        for table in (ModuleRun, Sighting):
            assert set(session.scalars(select(table.scan_id))) == {latest.id}  # type: ignore[attr-defined]
        assert session.scalar(select(func.count()).select_from(CoverageRow)) == 1
    assert told(store, scanned(store, BOTH)) == []


def test_only_what_has_ended_is_forgotten_though_the_plan_says_so(store: Store) -> None:
    scan = aged(store, scanned(store, BOTH), 500)
    aged(store, scanned(store, BOTH), 400)
    with store.read() as session:
        plan = doomed_scans(session, YEAR, NOW)
    with store.write() as session:
        session.execute(update(Scan).where(Scan.id == scan.id).values(status=Status.RETRY))
    assert list(forget_scans(store, plan)) == []


def test_claims_of_scans_that_are_over_are_settled(store: Store) -> None:
    ended = scanned(store, BOTH)
    with store.write() as session:
        running = begin(session, insert_scan(session, NEW)[0].id, uuid4())
        for scan, attempt in ((ended, 1), (running, 1), (running, 0)):
            words = {"module": "nmap", "batch": 1, "key": "net:x", "packets": 1.0, "connections": 1}
            session.add(ClaimRow(scan_id=scan.id, attempt=attempt, is_sweep=False, is_burst=False, **words))
    assert forget_settled(store, NOW) == 2
    with store.read() as session:
        assert [(row.scan_id, row.attempt) for row in session.scalars(select(ClaimRow))] == [(running.id, 1)]


@pytest.mark.parametrize("has_grown_up_with_it", [True, False])
def test_sqlite_gives_back_what_was_freed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_grown_up_with_it: bool
) -> None:
    url = f"sqlite:///{tmp_path / 'pulsar.db'}"
    migrate(url)
    store = open_store(url)
    if not has_grown_up_with_it:
        monkeypatch.setattr("footprint.store.forgetting.BYTES_WORTH_IT", 100_000)
        connection = store.engine.raw_connection()
        connection.driver_connection.executescript("PRAGMA auto_vacuum=NONE; VACUUM")  # type: ignore[union-attr]
        connection.close()
    scan = scanned(store, BOTH)
    with store.write() as session:
        unit = session.scalars(select(ModuleRun.id)).first()
        session.add_all(
            CoverageRow(module_run_id=unit, subject=f"{n}" * 20, outcome="x", note="n" * 900) for n in range(2000)
        )
    with store.write() as session:
        session.execute(update(Scan).where(Scan.id == scan.id).values(status=Status.FAILURE))
        session.query(CoverageRow).delete()
    before = (tmp_path / "pulsar.db").stat().st_size
    assert shrink(store) > 1_000_000
    assert shrink(store) == 0
    store.close()
    assert (tmp_path / "pulsar.db").stat().st_size < before / 2


def test_what_was_left_on_the_disk_is_found_and_what_may_be_in_use_is_not(tmp_path: Path) -> None:
    work, backups, scan = tmp_path / "work", tmp_path / "backups", uuid4()
    for directory in (work / str(scan) / "unit-a", work / "unit-old", work / "unit-new", backups):
        directory.mkdir(parents=True)
    (work / str(scan) / "unit-a" / "out").write_bytes(b"x" * 700)
    (backups / "pulsar-1.db.part").write_bytes(b"y" * 30)
    (backups / "pulsar-1.db").write_bytes(b"z")
    at = datetime.now(UTC)
    assert left_behind(work, backups, at) == []
    with held_directory(work, "worker-"):  # of a worker that has been at work for two days
        found = left_behind(work, backups, at + timedelta(days=2))
    assert [(left.path.name, left.bytes, left.scan) for left in found] == [
        (str(scan), 700, scan),
        ("unit-new", 0, None),
        ("unit-old", 0, None),
        ("pulsar-1.db.part", 30, None),
    ]
