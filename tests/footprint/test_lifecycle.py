"""A scan's row when it is cancelled, lost, resumed, purged or deleted, on each database."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from footprint.admission import NewScan
from footprint.errors import Conflict, InvalidPolicy, NotFound, ScanStopped
from footprint.policy import PRESETS
from footprint.records import Coverage, Host, Outcome, Service
from footprint.states import Status
from footprint.store import Store
from footprint.store.cancelling import delete_scan, is_cancelled, request_cancel, revoke_waiting
from footprint.store.endings import finish
from footprint.store.resumption import again, note_rescheduled, put_back, take_over
from footprint.store.scans import Begun, attach, begin, insert_scan, keep_alive, live_scans
from footprint.store.tables import CoverageRow, ModuleRun, Scan, ServiceRow, Sighting
from footprint.store.units import Settlement, Unit, begin_unit, finished_units, plan_unit, settle_unit
from footprint.store.views import scan_by_id, services_of_scan
from footprint.verdict import UnitStatus, Verdict

HOST = Host("127.0.0.1")
SSH, HTTP = Service("127.0.0.1", 22, name="ssh"), Service("127.0.0.1", 80, name="http")
NEW = NewScan(HOST, PRESETS["quick"], "a remark", "api")
SOON = datetime(2026, 1, 1, tzinfo=UTC)


def _asked(session: Session) -> UUID:
    scan, _ = insert_scan(session, NEW)
    attach(session, scan.id, uuid4())
    return scan.id


def _begun(session: Session) -> Begun:
    scan, _ = insert_scan(session, NEW)
    return begin(session, scan.id, scan.task_id or uuid4())


def _unit(session: Session, scan: Begun, batch: int, settled: Settlement | None, module: str = "nmap") -> int:
    unit_id = plan_unit(session, scan.id, scan.attempt, Unit(module, batch, 0, (HOST,)))
    begin_unit(session, scan.id, scan.attempt, module, batch)
    if settled is not None:
        settle_unit(session, scan.id, scan.attempt, unit_id, settled)
    return unit_id


def _settled(status: UnitStatus, *found: Service, error_code: str | None = None) -> Settlement:
    coverage = (Coverage("127.0.0.1", Outcome.ANSWERED),)
    return Settlement(status, records=found, coverage=coverage, error_code=error_code, error=error_code)


def _end(session: Session, scan: Begun, status: Status = Status.FAILURE) -> Scan:
    assert finish(session, scan.id, Verdict(status), "Failed")
    return scan_by_id(session, scan.id)


def test_a_scan_that_has_not_begun_is_revoked_at_once_with_a_receipt(store: Store) -> None:
    with store.write() as session:
        scan = request_cancel(session, _asked(session))
        assert (scan.status, scan.started_at, scan.processes_ended) == ("REVOKED", None, 0)
        assert scan.cancelled_at is not None
        assert scan.processes_gone_at is not None
    with store.write() as session, pytest.raises(Conflict, match="ended already: REVOKED"):
        request_cancel(session, scan.id)


def test_a_scan_at_work_is_only_marked_and_asking_again_changes_nothing(store: Store) -> None:
    with store.write() as session:
        begun = _begun(session)
        assert not is_cancelled(session, begun.id)
        first = request_cancel(session, begun.id).cancelled_at
        assert (scan_by_id(session, begun.id).status, is_cancelled(session, begun.id)) == ("STARTED", True)
    with store.write() as session:
        assert request_cancel(session, begun.id).cancelled_at == first
        assert [live.is_cancelled for live in live_scans(session)] == [True]


def test_what_is_not_there_cannot_be_cancelled_or_deleted(store: Store) -> None:
    for change in (request_cancel, delete_scan):
        with store.write() as session, pytest.raises(NotFound):
            change(session, uuid4())


def test_a_scan_that_is_put_back_can_no_longer_be_written_by_its_old_flow(store: Store) -> None:
    with store.write() as session:
        begun = _begun(session)
        done = _unit(session, begun, 1, _settled(UnitStatus.DONE, SSH))
        _unit(session, begun, 2, None)
        assert put_back(session, begun.id, attempt=1, reason="worker lost", at=SOON, losses=0)
    with store.read() as session:
        scan = scan_by_id(session, begun.id)
        assert (scan.status, scan.waiting, scan.resume_at, scan.losses) == ("RETRY", "worker lost", SOON, 1)
        assert [run.id for run in session.scalars(select(ModuleRun))] == [done]
        assert scan.modules[0]["running"] == 0
    writes: list[Callable[[Session], object]] = [
        lambda session: keep_alive(session, begun.id, 1, 50, []),
        lambda session: plan_unit(session, begun.id, 1, Unit("nmap", 3, 0, (HOST,))),
    ]
    for late in writes:
        with store.write() as session, pytest.raises(ScanStopped):
            late(session)
    with store.write() as session:
        assert not finish(session, begun.id, Verdict(Status.SUCCESS), "Completed", attempt=1)


def test_it_is_put_back_once_for_one_loss(store: Store) -> None:
    with store.write() as session:
        begun = _begun(session)
        assert put_back(session, begun.id, attempt=1, reason="", at=SOON, losses=0)
        assert not put_back(session, begun.id, attempt=1, reason="", at=SOON, losses=0)


def test_the_next_attempt_takes_it_up_and_waits_for_nothing(store: Store) -> None:
    with store.write() as session:
        begun = _begun(session)
        put_back(session, begun.id, attempt=1, reason="worker lost", at=SOON, losses=0)
        note_rescheduled(session, begun.id)
        task_id = scan_by_id(session, begun.id).task_id
        assert task_id is not None
        second = begin(session, begun.id, task_id)
        scan = scan_by_id(session, begun.id)
        assert (second.attempt, scan.status, scan.waiting, scan.resume_at) == (2, "STARTED", None, None)


def test_a_stop_of_the_worker_is_no_loss_and_a_scan_that_had_not_begun_stays_pending(store: Store) -> None:
    with store.write() as session:
        scan_id = _asked(session)
        assert put_back(session, scan_id, attempt=0, reason="window opens at …", at=SOON)
        scan = scan_by_id(session, scan_id)
        assert (scan.status, scan.losses, scan.waiting) == ("PENDING", 0, "window opens at …")


def test_a_scan_that_has_ended_is_not_put_back(store: Store) -> None:
    with store.write() as session:
        begun = _begun(session)
        _end(session, begun)
        assert not put_back(session, begun.id, attempt=1, reason="", at=SOON)


def test_a_resumed_scan_has_what_was_finished_and_nothing_of_what_was_not(store: Store) -> None:
    with store.write() as session:
        begun = _begun(session)
        _unit(session, begun, 1, _settled(UnitStatus.DONE, SSH))
        _unit(session, begun, 2, _settled(UnitStatus.FAILED, error_code="tool_crashed"))
        _unit(session, begun, 3, _settled(UnitStatus.PARTIAL, HTTP, error_code=ScanStopped.code))
        _unit(session, begun, 4, _settled(UnitStatus.SKIPPED, error_code="tool_missing"))
        _unit(session, begun, 5, _settled(UnitStatus.PARTIAL, HTTP, error_code="tool_timed_out"))
        _unit(session, begun, 6, _settled(UnitStatus.SKIPPED))
        _unit(session, begun, 7, None)
        old = _end(session, begun)
        new, _ = insert_scan(session, again(session, old))
        take_over(session, old, new)
    with store.read() as session:
        row = session.get_one(Scan, new.id)
        assert (row.resumed_from, row.comment, row.policy) == (old.id, "a remark", old.policy)
        assert [done.unit.batch for done in finished_units(session, new.id)] == [1, 5, 6]
        own = select(ModuleRun.id).where(ModuleRun.scan_id == new.id)
        assert session.scalar(select(func.count()).select_from(Sighting).where(Sighting.scan_id == new.id)) == 2
        covered = select(func.count()).select_from(CoverageRow).where(CoverageRow.module_run_id.in_(own))
        assert session.scalar(covered) == 3
        assert row.counts["services"] == 2
    with store.write() as session:
        attach(session, new.id, uuid4())
        taken = begin(session, new.id, scan_by_id(session, new.id).task_id or uuid4())
        assert taken.batches == {"nmap": 6}
        assert {service.port for service in services_of_scan(session, new.id, 0, 9)[0]} == {22, 80}


def test_one_module_is_done_again_and_the_others_are_left_as_they_were(store: Store) -> None:
    with store.write() as session:
        begun = _begun(session)
        _unit(session, begun, 1, _settled(UnitStatus.PARTIAL, SSH, error_code="tool_timed_out"))
        _unit(session, begun, 1, _settled(UnitStatus.FAILED, error_code="tool_crashed"), module="tls")
        old = _end(session, begun, Status.SUCCESS)
        new, _ = insert_scan(session, again(session, old))
        take_over(session, old, new, "nmap")
        assert [done.unit.module for done in finished_units(session, new.id)] == ["tls"]


def test_a_scan_that_finished_all_is_not_resumed_and_neither_is_one_twice(store: Store) -> None:
    with store.write() as session:
        begun = _begun(session)
        with pytest.raises(Conflict, match="has not ended"):
            again(session, scan_by_id(session, begun.id))
        _unit(session, begun, 1, _settled(UnitStatus.DONE, SSH))
        whole = _end(session, begun, Status.SUCCESS)
        for module in (None, "nmap"):
            with pytest.raises(Conflict, match="nothing is left"):
                take_over(session, whole, insert_scan(session, NEW)[0], module)
        old = _end(session, _begun(session), Status.REVOKED)
        first, second = (insert_scan(session, again(session, old))[0] for _ in range(2))
        take_over(session, old, first)
        session.flush()
        with pytest.raises(Conflict, match="being resumed already"):
            take_over(session, old, second)


def test_a_purge_ends_what_has_not_begun_and_nothing_else(store: Store) -> None:
    with store.write() as session:
        waiting = [_asked(session) for _ in range(3)]
        begun = _begun(session)
        lost = _begun(session)
        put_back(session, lost.id, attempt=1, reason="", at=SOON, losses=0)
        in_the_making = insert_scan(session, NEW)[0].id
        runs = [scan_by_id(session, scan_id).task_id for scan_id in waiting]
    with store.write() as session:
        assert set(revoke_waiting(session)) == set(runs)
        assert revoke_waiting(session) == []
    with store.read() as session:
        statuses = {scan.id: scan.status for scan in session.scalars(select(Scan))}
        assert [statuses[scan_id] for scan_id in waiting] == ["REVOKED"] * 3
        assert [statuses[id] for id in (begun.id, lost.id, in_the_making)] == ["STARTED", "RETRY", "PENDING"]  # noqa: A001


def test_a_deleted_scan_takes_its_sightings_along_and_leaves_the_inventory(store: Store) -> None:
    with store.write() as session:
        begun = _begun(session)
        _unit(session, begun, 1, _settled(UnitStatus.DONE, SSH))
        with pytest.raises(Conflict, match="has not ended: STARTED"):
            delete_scan(session, begun.id)
        _end(session, begun)
        delete_scan(session, begun.id)
    with store.read() as session:
        left = [session.scalar(select(func.count()).select_from(table)) for table in (Scan, ModuleRun, Sighting)]
        assert (left, session.scalar(select(func.count()).select_from(ServiceRow))) == ([0, 0, 0], 1)


def test_a_new_scan_says_what_it_waits_for_and_one_that_would_wait_for_ever_is_refused(store: Store) -> None:
    today = datetime.now(UTC).date()
    policies = [
        PRESETS["quick"].model_copy(update={"blackouts": tuple(today + timedelta(days=n) for n in range(-1, days))})
        for days in (2, 400)
    ]
    with store.write() as session:
        scan, _ = insert_scan(session, replace(NEW, policy=policies[0]))
        assert (scan.waiting or "").startswith("window opens at ")
        with pytest.raises(InvalidPolicy, match="opens within a year"):
            insert_scan(session, replace(NEW, policy=policies[1]))
        assert date.fromisoformat((scan.waiting or "")[16:26]) == today + timedelta(days=2)
