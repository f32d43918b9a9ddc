"""Two scans that are kept, compared: which is compared with which, what is written down, what comes back."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from uuid import UUID, uuid4

import pytest
from sqlalchemy import delete, func, select

from footprint.admission import NewScan
from footprint.drift import Change, Step
from footprint.errors import Conflict, NotFound
from footprint.policy import ScanPolicy
from footprint.records import (
    Certificate,
    Coverage,
    DnsRecord,
    DomainName,
    Finding,
    Host,
    Network,
    Outcome,
    Record,
    Service,
    Severity,
    subject_of,
)
from footprint.states import Status
from footprint.store import Store
from footprint.store.asset_views import asset_domains, asset_findings, asset_hosts, asset_services
from footprint.store.change_tables import ChangeRow
from footprint.store.changes import changes_of_asset, drift_at_end, write_down
from footprint.store.differences import Drift, drift_of, pair_of
from footprint.store.endings import finish
from footprint.store.left_out import keep_left_out
from footprint.store.scans import Begun, begin, insert_scan
from footprint.store.scoring import judge_finding
from footprint.store.tables import FindingRow, Scan, now
from footprint.store.units import Settlement, Unit, begin_unit, plan_unit, settle_unit
from footprint.verdict import UnitStatus, Verdict

NAME, ADDRESS = "www.example.test", "127.0.0.5"
POLICY = ScanPolicy(name="mine", modules={name: {} for name in ("dns", "nmap", "tls", "http_probe")}, ports="1-1024")
NEW = NewScan(DomainName("example.test"), POLICY, "", "api")
HERE = Host(ADDRESS, NAME)
WEB = Service(ADDRESS, 443, name="https", product="nginx", version="1.18.0")
SITE = f"{NAME}@{subject_of(WEB)}"
LEAK = Finding("http_probe/git", SITE, "The repository is exposed", Severity.HIGH, 1.0, score=7.5)
CERTIFICATE = Certificate(SITE, "ab" * 32, not_after="2027-01-01T00:00:00Z", key="RSA 2048")

Asked = tuple[str, Record, tuple[Record, ...], Outcome]


def asked(module: str, target: Record, *found: Record, outcome: Outcome = Outcome.ANSWERED) -> Asked:
    """One unit of one target."""
    return module, target, found, outcome


NAMED = asked("dns", DomainName(NAME), DomainName(NAME), HERE)
SWEPT = asked("nmap", HERE, HERE, Service(ADDRESS, 443))
KNOWN = asked("nmap", WEB, WEB)
PROBED = asked("http_probe", DomainName(SITE), LEAK)


def scanned(
    store: Store,
    *units: Asked,
    new: NewScan = NEW,
    status: UnitStatus = UnitStatus.DONE,
    verdict: Status = Status.SUCCESS,
) -> Begun:
    """A scan that was made of these units and has ended, and whose changes were written down."""
    with store.write() as session:
        scan = begin(session, insert_scan(session, new)[0].id, uuid4())
    for number, (module, target, found, outcome) in enumerate(units, start=1):
        covered = (Coverage(subject_of(target), outcome),)
        with store.write() as session:
            plan_unit(session, scan.id, scan.attempt, Unit(module, number, 0, (target,)))
            unit_id, _ = begin_unit(session, scan.id, scan.attempt, module, number)
            settled = Settlement(status, records=found, coverage=covered, command="nmap --exclude-ports 8000,8001 -p 1")
            settle_unit(session, scan.id, scan.attempt, unit_id, settled)
    with store.write() as session:
        finish(session, scan.id, Verdict(verdict), "Completed")
    note_changes(store, scan)
    return scan


def note_changes(store: Store, scan: Begun) -> None:
    with store.write() as session:
        if found := drift_at_end(session, scan.id):
            write_down(session, found)


def drift(store: Store, scan: Begun, against: Begun | None = None) -> Drift:
    with store.read() as session:
        return drift_of(session, *pair_of(session, scan.id, against.id if against else None))


def against_of(found: Drift) -> UUID:
    assert found.against is not None
    return found.against.id


def told(store: Store, scan: Begun, against: Begun | None = None) -> list[tuple[Change, str]]:
    return [(each.change, subject_of(each.record)) for each in drift(store, scan, against).differences]


def history(store: Store, scan: Begun) -> list[tuple[Change, str]]:
    with store.read() as session:
        rows, total = changes_of_asset(session, scan.asset_id, None, 0, 100)
    assert total == len(rows)
    return [(row.change, row.subject) for row in rows if row.scan == scan.id]


def status_of(store: Store) -> str:
    with store.read() as session:
        return session.scalars(select(FindingRow.status)).one()


def judge(store: Store, scan: Begun, status: str) -> None:
    with store.write() as session:
        fingerprint = session.scalars(select(FindingRow.fingerprint)).one()
        judge_finding(session, scan.asset_id, fingerprint, status)


def test_two_scans_differ_in_exactly_what_changed(store: Store) -> None:
    record = DnsRecord("example.test", "TXT", "v=spf1 -all")
    told_by_tls = asked("tls", DomainName(SITE), CERTIFICATE)
    zone = asked("dns", DomainName("example.test"), DomainName("example.test"), record)
    ssh = Service(ADDRESS, 22)
    first = scanned(store, zone, NAMED, asked("nmap", HERE, HERE, WEB, ssh), KNOWN, told_by_tls, PROBED)
    upgraded = replace(WEB, version="1.22.1")
    renewed = replace(CERTIFICATE, fingerprint="cd" * 32, not_after="2028-01-01T00:00:00Z")
    mail = DomainName("mail.example.test")
    second = scanned(
        store,
        asked("dns", DomainName("example.test"), DomainName("example.test")),
        NAMED,
        asked("dns", mail, mail),
        SWEPT,
        asked("nmap", WEB, upgraded),
        asked("tls", DomainName(SITE), renewed),
        asked("http_probe", DomainName(SITE)),
    )
    expected = [
        (Change.NEW, "mail.example.test"),
        (Change.CHANGED, subject_of(WEB)),
        (Change.GONE, subject_of(ssh)),
        (Change.GONE, "example.test TXT"),
        (Change.CHANGED, subject_of(renewed)),
        (Change.GONE, subject_of(LEAK)),
    ]
    found = drift(store, second)
    assert told(store, second) == expected
    assert against_of(found) == first.id
    assert found.differences[1].steps == (Step("version", "1.18.0", "1.22.1"),)
    assert [step.field for step in found.differences[4].steps] == ["fingerprint", "not_after"]
    written = {*expected, (Change.GONE, subject_of(CERTIFICATE))} - {(Change.GONE, "example.test TXT")}
    assert set(history(store, second)) == written | {(Change.GONE, "example.test TXT v=spf1 -all")}
    assert history(store, first) == []


@pytest.mark.parametrize("status", [UnitStatus.FAILED, UnitStatus.SKIPPED])
def test_a_scan_whose_tools_failed_writes_nothing_gone_and_the_next_nothing_new(
    store: Store, status: UnitStatus
) -> None:
    units = (NAMED, SWEPT, KNOWN, PROBED)
    scanned(store, *units)
    failed = scanned(store, *((module, target, (), outcome) for module, target, _, outcome in units), status=status)
    assert {change for change, _ in told(store, failed)} == {Change.NOT_LOOKED_AT}
    assert history(store, failed) == []
    third = scanned(store, *units)
    assert told(store, third) == []
    assert history(store, third) == []


def test_what_was_gone_and_comes_again_is_back(store: Store) -> None:
    first = scanned(store, NAMED, SWEPT, KNOWN)
    scanned(store, NAMED, asked("nmap", HERE, HERE))
    third = scanned(store, NAMED, SWEPT, KNOWN)
    assert told(store, third) == [(Change.BACK, subject_of(WEB))]
    assert history(store, third) == [(Change.BACK, subject_of(WEB))]
    assert told(store, third, first) == []
    note_changes(store, third)
    assert len(history(store, third)) == 1
    assert told(store, scanned(store, NAMED, SWEPT, KNOWN)) == []


def test_what_only_another_policy_sees_is_back_even_without_a_comparable_scan(store: Store) -> None:
    scanned(store, NAMED, SWEPT, KNOWN)
    scanned(store, NAMED, asked("nmap", HERE, HERE))
    wider = replace(NEW, policy=POLICY.model_copy(update={"ports": "all"}))
    assert history(store, scanned(store, NAMED, SWEPT, KNOWN, new=wider)) == [(Change.BACK, subject_of(WEB))]


@pytest.mark.parametrize(
    ("mark", "after"), [("accepted", "open"), ("false_positive", "false_positive"), ("open", "open")]
)
def test_an_accepted_finding_that_comes_back_is_open_again(store: Store, mark: str, after: str) -> None:
    around = (NAMED, SWEPT, KNOWN)
    first = scanned(store, *around, PROBED)
    judge(store, first, mark)
    scanned(store, *around, PROBED)
    assert status_of(store) == mark
    scanned(store, *around, asked("http_probe", DomainName(SITE), outcome=Outcome.TIMED_OUT))
    scanned(store, *around, PROBED)
    assert status_of(store) == mark
    scanned(store, *around, asked("http_probe", DomainName(SITE)))
    assert status_of(store) == mark
    back = scanned(store, *around, PROBED)
    assert told(store, back) == [(Change.BACK, subject_of(LEAK))]
    assert status_of(store) == after


@pytest.mark.parametrize(
    "change",
    [
        {"ports": "1-100"},
        {"modules": {"dns": {}, "nmap": {}}},
        {"modules": {**POLICY.modules, "nmap": {"ports": "22"}}},
    ],
)
def test_a_scan_that_looked_at_other_things_is_not_comparable(store: Store, change: dict[str, object]) -> None:
    scanned(store, NAMED)
    other = scanned(store, NAMED, new=replace(NEW, policy=POLICY.model_copy(update=change)))
    with pytest.raises(NotFound, match="no earlier scan to compare with"):
        drift(store, other)
    gentle = POLICY.model_copy(update={"concurrency": 1, "name": "gentle"})
    assert told(store, scanned(store, NAMED, new=replace(NEW, policy=gentle))) == []


def test_only_scans_that_succeeded_are_compared_unless_one_is_named(store: Store) -> None:
    first = scanned(store, NAMED, SWEPT)
    failed = scanned(store, NAMED, verdict=Status.FAILURE)
    third = scanned(store, NAMED, SWEPT)
    assert against_of(drift(store, third)) == first.id
    assert against_of(drift(store, third, failed)) == failed.id
    assert against_of(drift(store, failed)) == first.id


def test_scans_that_are_not_to_be_compared_are_told_so(store: Store) -> None:
    first, second = scanned(store, NAMED), scanned(store, NAMED)
    elsewhere = scanned(store, NAMED, new=replace(NEW, target=DomainName("other.test")))
    with store.write() as session:
        live = begin(session, insert_scan(session, NEW)[0].id, uuid4())
    for scan, against, said in (
        (first, second, "asked for before it"),
        (second, second, "asked for before it"),
        (elsewhere, first, "different assets"),
        (live, first, "has not ended"),
    ):
        with pytest.raises(Conflict, match=said):
            drift(store, scan, against)
    with store.read() as session, pytest.raises(NotFound):
        pair_of(session, second.id, uuid4())


def test_a_name_that_did_not_exist_before_is_new(store: Store) -> None:
    listed = asked("ct", DomainName("example.test"), DomainName(NAME))
    new = replace(NEW, policy=POLICY.model_copy(update={"modules": {"ct": {}, "dns": {}}}))
    missing = asked("dns", DomainName(NAME), outcome=Outcome.SILENT)
    scanned(store, listed, missing, new=new)
    scanned(store, listed, missing, new=new)
    exists = scanned(store, listed, asked("dns", DomainName(NAME), DomainName(NAME)), new=new)
    assert history(store, exists) == told(store, exists) == [(Change.NEW, NAME)]


def test_ports_that_the_platform_took_are_not_gone(store: Store) -> None:
    own = Service(ADDRESS, 8000)
    new = replace(NEW, policy=POLICY.model_copy(update={"ports": "all"}))
    scanned(store, NAMED, asked("nmap", HERE, HERE, own), new=new)
    second = scanned(store, NAMED, asked("nmap", HERE, HERE), new=new)
    assert told(store, second) == [(Change.NOT_LOOKED_AT, subject_of(own))]


def test_what_was_excluded_inside_of_a_swept_network_is_not_gone(store: Store) -> None:
    policy = POLICY.model_copy(update={"modules": {"nmap_discovery": {}, "nmap": {}}})
    new, network = replace(NEW, policy=policy, target=Network("127.0.0.0/28")), Network("127.0.0.0/28")
    hosts = Host(ADDRESS), Host("127.0.0.6")
    scanned(store, asked("nmap_discovery", network, *hosts), new=new)
    second = scanned(store, asked("nmap_discovery", network), new=new)
    with store.write() as session:
        keep_left_out(session, second.id, {ADDRESS: "excluded"})
    assert told(store, second) == [(Change.GONE, "127.0.0.6"), (Change.NOT_LOOKED_AT, ADDRESS)]


def test_the_history_is_read_since_a_time_and_outlives_its_scans(store: Store) -> None:
    scanned(store, NAMED, SWEPT)
    second = scanned(store, NAMED, asked("nmap", HERE, HERE))
    third = scanned(store, NAMED, SWEPT)
    with store.write() as session:
        at = {row.scan_id: row.at for row in session.scalars(select(ChangeRow))}
        latest, total = changes_of_asset(session, second.asset_id, at[second.id], 0, 10)
        assert [(row.scan, row.change) for row in latest] == [(third.id, Change.BACK)]
        assert (total, changes_of_asset(session, second.asset_id, at[third.id], 0, 10)[1]) == (1, 0)
        session.delete(session.get_one(Scan, second.id))
    with store.read() as session:
        rows, _ = changes_of_asset(session, second.asset_id, None, 0, 10)
        assert [(row.scan, row.change) for row in rows] == [(third.id, Change.BACK), (None, Change.GONE)]
        with pytest.raises(NotFound):
            changes_of_asset(session, uuid4(), None, 0, 10)


def _estate(store: Store, version: str, ports: range) -> Begun:
    """A scan of 100 hosts with ten services each."""
    hosts = [Host(f"127.0.{block}.{last}") for block in range(2) for last in range(50)]
    with store.write() as session:
        scan = begin(session, insert_scan(session, NEW)[0].id, uuid4())
    batches = [tuple(hosts[start : start + 50]) for start in range(0, 100, 50)]
    for number, batch in enumerate(batches, start=1):
        swept = [Service(host.address, port) for host in batch for port in ports]
        known = [replace(service, name="http", product="nginx", version=version) for service in swept]
        for place, (inputs, found) in enumerate(((batch, (*batch, *swept)), (tuple(swept), tuple(known)))):
            unit = Unit("nmap", 2 * number + place, 0, inputs)
            covered = tuple(Coverage(subject_of(record), Outcome.ANSWERED) for record in inputs)
            with store.write() as session:
                plan_unit(session, scan.id, scan.attempt, unit)
                unit_id, _ = begin_unit(session, scan.id, scan.attempt, "nmap", unit.batch)
                settled = Settlement(UnitStatus.DONE, records=found, coverage=covered)
                settle_unit(session, scan.id, scan.attempt, unit_id, settled)
    with store.write() as session:
        finish(session, scan.id, Verdict(Status.SUCCESS), "Completed")
    return scan


def test_more_things_than_a_statement_takes_are_compared_and_written_down(store: Store) -> None:
    _estate(store, "1", range(1, 11))
    second = _estate(store, "2", range(2, 12))
    assert len(drift(store, second).differences) == 1100
    note_changes(store, second)
    with store.read() as session:
        assert session.scalar(select(func.count()).select_from(ChangeRow)) == 1100


def test_the_inventory_of_a_date_is_what_was_seen_by_then_and_not_known_to_be_gone(store: Store) -> None:
    before = now()
    first = scanned(store, NAMED, SWEPT, KNOWN, PROBED)
    upgraded = replace(WEB, version="1.22.1")
    quiet = (asked("nmap", HERE), asked("http_probe", DomainName(SITE)))
    after = [now()]
    for units in (
        (asked("dns", DomainName(NAME), DomainName(NAME), Host("127.0.0.9", NAME)), *quiet),
        (NAMED, SWEPT, asked("nmap", WEB, upgraded), PROBED),
        (NAMED, SWEPT, asked("nmap", WEB, upgraded), PROBED),
    ):
        scanned(store, *units)
        after.append(now())

    def lists(at: datetime) -> list[object]:
        with store.read() as session:
            given = (session, first.asset_id, 0, 10, at)
            names, hosts = asset_domains(*given)[0], asset_hosts(*given)[0]
            services, findings = asset_services(*given), asset_findings(*given)[0]
        assert services[1] == len(services[0])
        seen = (*names, *hosts, *services[0], *findings)
        assert all(each.first_seen <= each.last_seen <= at for each in seen)
        versions = [service.version for service in services[0]]
        return [len(names), [host.address for host in hosts], versions, len(findings)]

    there = [1, [ADDRESS], ["1.18.0"], 1]
    assert lists(before) == [0, [], [], 0]
    assert lists(after[0]) == there
    assert lists(after[1]) == [1, ["127.0.0.9"], [], 0]
    assert lists(after[2]) == lists(after[3]) == [1, [ADDRESS], ["1.22.1"], 1]


def test_what_was_not_looked_at_stays_in_the_inventory_of_a_date(store: Store) -> None:
    first = scanned(store, NAMED, SWEPT, KNOWN)
    scanned(store, NAMED, asked("nmap", HERE, outcome=Outcome.TIMED_OUT))
    with store.read() as session:
        assert asset_services(session, first.asset_id, 0, 10, now())[1] == 1
        session.execute(delete(Scan))
        (left,), _ = asset_services(session, first.asset_id, 0, 10, now())
        assert left.version == "1.18.0"
