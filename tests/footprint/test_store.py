"""The store, on SQLite and on PostgreSQL."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import create_engine, func, select, text, update
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.orm import Session

from footprint.admission import NewScan
from footprint.errors import Conflict, NotFound, ScanStopped, StoreNotMigrated, StoreUnavailable
from footprint.policy import PRESETS
from footprint.records import Coverage, DomainName, Finding, Host, Outcome, Service, Severity
from footprint.states import Status
from footprint.store import Store, engine, ensure_home_token, migrate, open_store
from footprint.store.asset_views import asset_by_id, asset_services
from footprint.store.endings import finish
from footprint.store.scans import (
    Begun,
    attach,
    begin,
    insert_scan,
    keep_alive,
    live_scans,
    observe,
    withdraw,
    withdraw_forgotten,
)
from footprint.store.tables import Scan, ServiceRow, Sighting, Table, now
from footprint.store.tokens import digest_of, valid_digests
from footprint.store.units import (
    Settlement,
    Unit,
    begin_unit,
    lose_unit,
    plan_unit,
    report_progress,
    reports_of,
    settle_unit,
)
from footprint.store.units import (
    digest_of as digest_of_units,
)
from footprint.store.views import (
    domains_of_scan,
    findings_of_scan,
    hosts_of_scan,
    scan_by_id,
    scans_page,
    services_of_scan,
)
from footprint.verdict import UnitStatus, Verdict
from tests.conftest import new_postgres_database

NEW = NewScan(Host("127.0.0.1"), PRESETS["quick"], "", "api")


def _begun(store: Store, new: NewScan = NEW) -> Begun:
    with store.write() as session:
        scan, _ = insert_scan(session, new)
        return begin(session, scan.id, uuid4())


def _settled(store: Store, scan: Begun, batch: int, settlement: Settlement, module: str = "nmap") -> int:
    unit = Unit(module, batch, 0, (Host("127.0.0.1"),))
    with store.write() as session:
        plan_unit(session, scan.id, scan.attempt, unit)
    with store.write() as session:
        unit_id, planned = begin_unit(session, scan.id, scan.attempt, module, batch)
    assert planned == unit
    with store.write() as session:
        settle_unit(session, scan.id, scan.attempt, unit_id, settlement)
    return unit_id


def test_migrations_make_exactly_the_tables_that_the_code_expects(store: Store) -> None:
    with store.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Table.metadata) == []


def test_migrating_twice_changes_nothing(store_url: str, store: Store) -> None:
    scan = _begun(store)
    migrate(store_url)
    with store.read() as session:
        assert session.get_one(Scan, scan.id).target == "127.0.0.1"


def test_a_store_that_is_not_migrated_says_what_to_do(store_url: str) -> None:
    with pytest.raises(StoreNotMigrated, match="pulsar up"):
        open_store(store_url)


def test_a_store_that_does_not_answer_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable):
        open_store("postgresql+psycopg://pulsar@127.0.0.1:1/none?connect_timeout=2")
    with pytest.raises(StoreUnavailable):
        open_store(f"sqlite:///{tmp_path}/missing/pulsar.db")


def test_a_postgresql_that_takes_no_writes_is_unavailable(postgres_url: str) -> None:
    url = new_postgres_database(postgres_url)
    migrate(url)
    operator = create_engine(url, isolation_level="AUTOCOMMIT")
    with operator.connect() as connection:
        name = url.rpartition("/")[2]
        connection.execute(text(f"ALTER DATABASE {name} SET default_transaction_read_only = on"))
    operator.dispose()
    store = open_store(url)
    with store.read() as session:
        assert session.scalars(select(Scan)).all() == []
    with pytest.raises(StoreUnavailable, match="read-only"), store.write() as session:
        insert_scan(session, NEW)
    store.close()


def test_times_come_back_aware_and_in_utc(store: Store) -> None:
    scan = _begun(store)
    with store.read() as session:
        row = scan_by_id(session, scan.id)
    assert row.created_at.tzinfo == UTC
    assert abs(row.created_at - datetime.now(UTC)) < timedelta(minutes=1)


def test_the_same_key_finds_the_same_scan_and_another_request_conflicts(store: Store) -> None:
    asked = replace(NEW, idempotency_key="monthly")
    with store.write() as session:
        first, made = insert_scan(session, asked)
        again, made_again = insert_scan(session, asked)
        assert (made, made_again, again.id) == (True, False, first.id)
        with pytest.raises(Conflict):
            insert_scan(session, replace(asked, comment="something else"))


def test_fifty_requests_at_once_with_one_key_are_one_scan(store: Store) -> None:
    asked = replace(NEW, idempotency_key="at once")

    def ask(_: int) -> UUID:
        for _attempt in range(2):
            try:
                with store.write() as session:
                    return insert_scan(session, asked)[0].id
            except IntegrityError:
                continue
        raise AssertionError("the key was neither new nor known")

    with ThreadPoolExecutor(16) as pool:
        assert len(set(pool.map(ask, range(50)))) == 1


def test_a_request_in_the_making_is_shown_to_nobody_until_it_has_its_run(store: Store) -> None:
    with store.write() as session:
        scan, _ = insert_scan(session, NEW)
    with store.read() as session:
        with pytest.raises(NotFound):
            scan_by_id(session, scan.id)
        assert scans_page(session, status=None, target=None, offset=0, limit=10) == ([], 0)
    task = uuid4()
    with store.write() as session:
        assert attach(session, scan.id, task)
        assert attach(session, scan.id, task)
        assert not attach(session, scan.id, uuid4())
        assert scan_by_id(session, scan.id).task_id == task


def test_a_withdrawn_request_leaves_nothing_and_one_with_a_run_stays(store: Store) -> None:
    with store.write() as session:
        gone, _ = insert_scan(session, NEW)
        withdraw(session, gone.id)
        kept, _ = insert_scan(session, NEW)
        attach(session, kept.id, uuid4())
        withdraw(session, kept.id)
        assert session.scalars(select(Scan.id)).all() == [kept.id]
        with pytest.raises(NotFound):
            begin(session, gone.id, uuid4())


def test_requests_that_were_forgotten_half_way_are_withdrawn(store: Store) -> None:
    with store.write() as session:
        old, _ = insert_scan(session, NEW)
        fresh, _ = insert_scan(session, NEW)
        session.execute(update(Scan).where(Scan.id == old.id).values(created_at=now() - timedelta(hours=1)))
        assert withdraw_forgotten(session, timedelta(minutes=1)) == 1
        assert session.scalars(select(Scan.id)).all() == [fresh.id]


def test_a_terminal_status_never_changes(store: Store) -> None:
    scan = _begun(store)
    with store.write() as session:
        assert finish(session, scan.id, Verdict(Status.REVOKED), "Cancelled")
        assert not finish(session, scan.id, Verdict(Status.SUCCESS), "Completed")
        assert not observe(session, scan.id, Status.STARTED, "Running")
        with pytest.raises(ScanStopped):
            keep_alive(session, scan.id, scan.attempt, 50, [])
        with pytest.raises(Conflict):
            begin(session, scan.id, uuid4())
    with store.read() as session:
        row = scan_by_id(session, scan.id)
    assert (row.status, row.state, row.progress) == ("REVOKED", "Cancelled", 0)
    assert row.finished_at is not None
    assert row.lease_until is None


def test_progress_never_falls_and_success_is_all_of_it(store: Store) -> None:
    scan = _begun(store)
    shown = []
    for progress in (10, 60, 30):
        with store.write() as session:
            keep_alive(session, scan.id, scan.attempt, progress, [])
        with store.read() as session:
            shown.append(scan_by_id(session, scan.id).progress)
    with store.write() as session:
        finish(session, scan.id, Verdict(Status.SUCCESS), "Completed")
        shown.append(scan_by_id(session, scan.id).progress)
    assert shown == [10, 60, 60, 100]


def test_what_prefect_says_does_not_put_a_started_scan_back(store: Store) -> None:
    scan = _begun(store)
    with store.write() as session:
        assert not observe(session, scan.id, Status.PENDING, "Pending")
        assert observe(session, scan.id, Status.STARTED, "Cancelling")
        assert [(live.id, live.status, live.state) for live in live_scans(session)] == [
            (scan.id, Status.STARTED, "Cancelling")
        ]


def test_a_second_attempt_fences_the_first(store: Store) -> None:
    first = _begun(store)
    with store.write() as session:
        task = scan_by_id(session, first.id).task_id
        assert task is not None
        second = begin(session, first.id, task)
    assert second.attempt == first.attempt + 1
    with store.write() as session, pytest.raises(ScanStopped):
        plan_unit(session, first.id, first.attempt, Unit("nmap", 1, 0, ()))
    with store.write() as session, pytest.raises(ScanStopped):
        keep_alive(session, first.id, first.attempt, 1, [])
    with store.write() as session, pytest.raises(Conflict):
        begin(session, first.id, uuid4())
    with store.write() as session:
        late = Verdict(Status.FAILURE, error="the first attempt's own")
        assert not finish(session, first.id, late, "Failed", attempt=first.attempt)
        assert finish(session, first.id, Verdict(Status.SUCCESS), "Completed", attempt=second.attempt)


def test_a_second_attempt_begins_anew_what_the_first_left_and_keeps_what_it_finished(store: Store) -> None:
    first = _begun(store)
    _settled(store, first, 1, Settlement(UnitStatus.DONE, records=(Service("127.0.0.1", 22),)))
    with store.write() as session:
        plan_unit(session, first.id, first.attempt, Unit("nmap", 2, 0, ()))
    with store.write() as session:
        task = scan_by_id(session, first.id).task_id
        assert task is not None
        second = begin(session, first.id, task)
        assert second.batches == {"nmap": 1}
        plan_unit(session, second.id, second.attempt, Unit("nmap", 2, 0, ()))
        assert [report.status for report in reports_of(session, first.id)] == [UnitStatus.DONE, UnitStatus.PLANNED]


def test_a_unit_whose_result_was_not_kept_says_so(store: Store) -> None:
    scan = _begun(store)
    done = _settled(store, scan, 1, Settlement(UnitStatus.DONE))
    with store.write() as session:
        broken = plan_unit(session, scan.id, scan.attempt, Unit("nmap", 2, 0, ()))
        assert lose_unit(session, scan.id, scan.attempt, broken)
        assert not lose_unit(session, scan.id, scan.attempt, done)
    with store.read() as session:
        reports = reports_of(session, scan.id)
    assert [report.status for report in reports] == [UnitStatus.DONE, UnitStatus.FAILED]
    assert "could not be kept" in (reports[1].error or "")


def test_what_a_scan_found_is_kept_when_the_store_comes_back(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "RETRY_SECONDS", 0.01)
    tries = []

    def change(session: Session) -> int:
        tries.append(1)
        if len(tries) < 3:
            raise OperationalError("SELECT 1", {}, Exception("the database is locked"))
        return len(tries)

    assert store.keep(change) == 3
    monkeypatch.setattr(engine, "PATIENCE_SECONDS", 0)
    tries.clear()
    with pytest.raises(StoreUnavailable, match="locked"):
        store.keep(change)


def test_a_unit_is_kept_whole_or_not_at_all(store: Store) -> None:
    scan = _begun(store)
    with store.write() as session:
        unit_id = plan_unit(session, scan.id, scan.attempt, Unit("nmap", 1, 0, (Host("127.0.0.1"),)))
    found = Settlement(UnitStatus.DONE, records=(Service("127.0.0.1", 22),))

    def settle_and_lose_power() -> None:
        with store.write() as session:
            settle_unit(session, scan.id, scan.attempt, unit_id, found)
            raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        settle_and_lose_power()
    with store.read() as session:
        assert session.scalar(select(func.count()).select_from(Sighting)) == 0
        assert session.scalar(select(func.count()).select_from(ServiceRow)) == 0
        assert [report.status for report in reports_of(session, scan.id)] == [UnitStatus.PLANNED]


def test_saving_the_same_twice_keeps_one_and_what_was_known_of_it(store: Store) -> None:
    scan = _begun(store)
    bare = Service("127.0.0.1", 22)
    full = Service(
        "127.0.0.1", 22, name="ssh", product="OpenSSH", version="9.2p1", cpes=("cpe:/a:openbsd:openssh:9.2p1",)
    )
    for batch, service in enumerate((full, bare, bare), start=1):
        _settled(store, scan, batch, Settlement(UnitStatus.DONE, records=(service, service)))
    with store.read() as session:
        services, total = services_of_scan(session, scan.id, 0, 10)
        known, _ = asset_services(session, scan.asset_id, 0, 10)
        row = scan_by_id(session, scan.id)
    assert total == 1
    assert [(seen.service, seen.product, seen.version, seen.cpes) for seen in services] == [
        ("ssh", "OpenSSH", "9.2p1", full.cpes)
    ]
    assert known[0].product == "OpenSSH"
    assert known[0].first_seen < known[0].last_seen
    assert {kind: count for kind, count in row.counts.items() if count} == {"services": 1}


def test_a_scan_shows_what_it_saw_and_not_what_a_later_one_saw(store: Store) -> None:
    before, after = _begun(store), _begun(store)
    for scan, version in ((before, "9.2"), (after, "9.9")):
        found = (Service("127.0.0.1", 22, product="OpenSSH", version=version),)
        _settled(store, scan, 1, Settlement(UnitStatus.DONE, records=found))
    with store.read() as session:
        seen = [services_of_scan(session, scan.id, 0, 10)[0][0].version for scan in (before, after)]
    assert seen == ["9.2", "9.9"]


def test_every_kind_of_record_is_read_back_in_order(store: Store) -> None:
    scan = _begun(store)
    found = (
        DomainName("www.example.test", cname="host.example.test"),
        DomainName("any.example.test", wildcard=True),
        Host("127.0.0.10", name="b.example.test"),
        Host("127.0.0.9", name="a.example.test"),
        Host("127.0.0.9", name="www.example.test", via="a.example.test"),
        Host("::1"),
        Finding("open-redis", "127.0.0.9:6379/tcp", "Redis asks for no password", Severity.HIGH, 0.9, "+PONG"),
    )
    _settled(store, scan, 1, Settlement(UnitStatus.DONE, records=found))
    with store.read() as session:
        domains, _ = domains_of_scan(session, scan.id, 0, 10)
        hosts, _ = hosts_of_scan(session, scan.id, 0, 10)
        findings, _ = findings_of_scan(session, scan.id, 0, 10)
        asset = asset_by_id(session, scan.asset_id)
    assert [(seen.name, seen.cname, seen.wildcard) for seen in domains] == [
        ("any.example.test", None, True),
        ("www.example.test", "host.example.test", False),
    ]
    assert [(seen.address, seen.names) for seen in hosts] == [
        ("127.0.0.9", ("a.example.test", "www.example.test")),
        ("127.0.0.10", ("b.example.test",)),
        ("::1", ()),
    ]
    assert [(seen.rule, seen.severity, seen.confidence) for seen in findings] == [("open-redis", "high", 0.9)]
    assert {kind: count for kind, count in asset.counts.items() if count} == {"domains": 2, "hosts": 3, "findings": 1}
    assert asset.roots == (("host", "127.0.0.1"),)


def test_pages_of_a_large_scan_hold_each_service_once(store: Store) -> None:
    scan = _begun(store)
    found = tuple(Service(f"127.0.{port % 7}.{port % 251}", port) for port in range(1, 1001))
    _settled(store, scan, 1, Settlement(UnitStatus.DONE, records=found))
    with store.read() as session:
        pages = [services_of_scan(session, scan.id, offset, 100) for offset in range(0, 1000, 100)]
    assert {total for _, total in pages} == {1000}
    assert len({(seen.host, seen.port) for page, _ in pages for seen in page}) == 1000


def test_units_at_once_of_the_same_records_do_not_block_each_other(store: Store) -> None:
    scan = _begun(store)
    found = [Service(f"127.0.0.{last}", 80) for last in range(1, 120)]

    def settle(batch: int) -> None:
        order = tuple(found if batch % 2 else reversed(found))
        _settled(store, scan, batch, Settlement(UnitStatus.DONE, records=order))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(settle, range(1, 17)))
    with store.read() as session:
        assert services_of_scan(session, scan.id, 0, 1)[1] == len(found)


def test_the_digest_counts_units_and_stays_below_a_hundred(store: Store) -> None:
    scan = _begun(store)
    with store.read() as session:
        assert digest_of_units(session, scan.id, {}) == (0, [])
    _settled(store, scan, 1, Settlement(UnitStatus.DONE))
    with store.write() as session:
        running = plan_unit(session, scan.id, scan.attempt, Unit("nmap", 2, 0, ()))
        begin_unit(session, scan.id, scan.attempt, "nmap", 2)
        report_progress(session, running, 50.0)
        report_progress(session, running, 20.0)
    with store.read() as session:
        progress, (line,) = digest_of_units(session, scan.id, {"nmap": 1})
        everything, _ = digest_of_units(session, scan.id, {})
        with_silent, lines = digest_of_units(session, scan.id, {}, modules=("nmap", "tls", "cve_match"))
    assert (progress, everything) == (50, 75)
    assert (with_silent, len(lines)) == (37, 1), "a module that nothing has come to is not done"
    assert (line["status"], line["units"], line["done"], line["running"], line["waiting"]) == ("running", 3, 1, 1, 1)


def test_reports_carry_what_each_target_came_to(store: Store) -> None:
    scan = _begun(store)
    coverage = (Coverage("127.0.0.1", Outcome.ANSWERED), Coverage("127.0.0.2", Outcome.TIMED_OUT, "no answer in 5 s"))
    settlement = Settlement(UnitStatus.PARTIAL, coverage=coverage, error_code="x", error="nmap: stopped", hint="wait")
    _settled(store, scan, 1, settlement)
    with store.read() as session:
        (report,) = reports_of(session, scan.id)
    assert report.coverage == {Outcome.ANSWERED: 1, Outcome.TIMED_OUT: 1}
    assert report.notes == ("127.0.0.2: no answer in 5 s",)
    assert report.error == "nmap: stopped (wait)"


def test_the_homes_token_is_kept_as_a_hash_and_made_once(store: Store, tmp_path: Path) -> None:
    token, made = ensure_home_token(store, tmp_path)
    again, made_again = ensure_home_token(store, tmp_path)
    assert (made, made_again, again) == (True, False, token)
    assert (tmp_path / "token").stat().st_mode & 0o777 == 0o600
    with store.read() as session:
        assert valid_digests(session) == {digest_of(token)}
        assert token not in str(session.execute(select(Table.metadata.tables["tokens"])).all())


def test_units_that_will_not_end_any_more_are_closed_with_their_scan(store: Store) -> None:
    scan = _begun(store)
    with store.write() as session:
        for batch in (1, 2):
            plan_unit(session, scan.id, scan.attempt, Unit("nmap", batch, 0, ()))
        begin_unit(session, scan.id, scan.attempt, "nmap", 1)
        finish(session, scan.id, Verdict(Status.FAILURE, error="the worker was lost"), "Crashed")
    with store.read() as session:
        assert [report.status for report in reports_of(session, scan.id)] == [UnitStatus.FAILED, UnitStatus.SKIPPED]
        (line,) = scan_by_id(session, scan.id).modules
    assert (line["failed"], line["skipped"], line["running"], line["planned"]) == (1, 1, 0, 0)
