"""What a scan could not look at is compared with what the last that could had seen there."""

from __future__ import annotations

from dataclasses import replace

from footprint.baseline import completed, open_targets
from footprint.drift import Change, compare
from footprint.policy import ScanPolicy
from footprint.records import Finding, Host, Outcome, subject_of
from footprint.states import Status
from footprint.store import Store
from footprint.store.differences import Drift, drift_of, pair_of
from footprint.store.scans import Begun
from footprint.verdict import UnitStatus
from tests.footprint.test_differences import HERE, KNOWN, LEAK, NAMED, NEW, POLICY, PROBED, SWEPT, WEB, asked, scanned
from tests.footprint.test_drift import ADDRESS, NAME, SERVICE, scan, unit

GUESS = "Linux 5 (95 %)"
SAW = unit("nmap", ADDRESS, Host(ADDRESS, os=GUESS), SERVICE)
PLACE = subject_of(SERVICE)
JUDGED = unit("http_probe", PLACE, Finding("http_probe/git", PLACE))
LED = unit("dns", NAME, Host(ADDRESS, NAME))
BROKEN = unit("nmap", ADDRESS, outcome=Outcome.NOT_LOOKED_AT)
FAILED = asked("nmap", HERE, outcome=Outcome.NOT_LOOKED_AT)


def test_only_what_was_missed_is_added_and_what_hangs_on_it() -> None:
    witness, broken = scan(LED, SAW, JUDGED), scan(LED, BROKEN)
    assert open_targets(broken) == {("nmap", ADDRESS)}
    whole = completed(broken, witness, open_targets(broken))
    assert set(whole.things) == set(witness.things)
    assert [each.module for each in whole.things[Host(ADDRESS)]] == ["nmap", "dns"]
    assert completed(broken, witness, open_targets(broken), gone=[SERVICE]).things.keys() == {Host(ADDRESS)}
    sound = scan(LED, unit("nmap", ADDRESS))
    assert completed(sound, witness, open_targets(sound)) is sound


def test_what_was_found_in_another_manner_is_not_added() -> None:
    witness, broken = scan(LED, SAW), scan(LED, BROKEN)
    harder = ScanPolicy(name="harder", modules=dict(broken.policy.modules), ports="1-1024", intensity=5)
    assert completed(replace(broken, policy=harder), witness, open_targets(broken)).things == broken.things


def test_what_ended_while_a_tool_had_failed_is_gone_and_the_rest_is_as_it_was() -> None:
    broken = scan(LED, BROKEN)
    before = completed(broken, scan(LED, SAW, JUDGED), open_targets(broken))
    assert compare(before, scan(LED, SAW, JUDGED)) == ()
    assert compare(broken, scan(LED, SAW, JUDGED)) != ()
    ended = compare(before, scan(LED, unit("nmap", ADDRESS, Host(ADDRESS, os=GUESS))))
    assert [(each.change, each.record.kind) for each in ended] == [(Change.GONE, "service"), (Change.GONE, "finding")]
    again = compare(before, broken)
    assert {each.change for each in again} == {Change.NOT_LOOKED_AT}


def _drift(store: Store, scan: Begun) -> Drift:
    with store.read() as session:
        return drift_of(session, *pair_of(session, scan.id))


def _told(store: Store, scan: Begun) -> list[tuple[Change, str]]:
    return [(each.change, subject_of(each.record)) for each in _drift(store, scan).differences]


def test_a_service_that_ended_under_a_broken_tool_is_told_of_by_the_next_whole_scan(store: Store) -> None:
    scanned(store, NAMED, SWEPT, KNOWN, PROBED)
    for _ in range(2):
        broken = scanned(store, NAMED, FAILED, status=UnitStatus.PARTIAL)
        unseen = [(Change.NOT_LOOKED_AT, subject_of(record)) for record in (WEB, LEAK)]
        assert _told(store, broken) == unseen
    whole = scanned(store, NAMED, asked("nmap", HERE, HERE))
    assert _told(store, whole) == [(Change.GONE, subject_of(WEB)), (Change.GONE, subject_of(LEAK))]
    assert _drift(store, whole).against is not None
    assert _told(store, scanned(store, NAMED, asked("nmap", HERE, HERE))) == []


def test_nothing_changed_where_a_broken_tool_is_whole_again(store: Store) -> None:
    scanned(store, NAMED, SWEPT, KNOWN, PROBED)
    scanned(store, NAMED, FAILED, status=UnitStatus.PARTIAL)
    assert _told(store, scanned(store, NAMED, SWEPT, KNOWN, PROBED)) == []


def test_a_scan_of_other_ports_is_no_witness(store: Store) -> None:
    others = POLICY.model_copy(update={"ports": "1-65535"})
    scanned(store, NAMED, SWEPT, KNOWN, new=replace(NEW, policy=others))
    scanned(store, NAMED, FAILED, status=UnitStatus.PARTIAL)
    assert _told(store, scanned(store, NAMED, asked("nmap", HERE, HERE))) == []


def test_a_scan_that_failed_is_no_witness(store: Store) -> None:
    scanned(store, NAMED, SWEPT, KNOWN, verdict=Status.FAILURE)
    scanned(store, NAMED, FAILED, status=UnitStatus.PARTIAL)
    assert _told(store, scanned(store, NAMED, asked("nmap", HERE, HERE))) == []
