"""Units that wait for their destination: they stay, others pass them by, and the scan says what they wait for."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from uuid import uuid4

import pytest
from prefect.states import Completed

from flows import conduct
from flows.conduct import Conductor
from flows.gate import Gate
from footprint.admission import NewScan
from footprint.extensions import Extension, add
from footprint.manifest import Manifest
from footprint.policy import ScanPolicy
from footprint.records import Host, Network, Record, Service
from footprint.settings import Settings
from footprint.store import migrate, open_store
from footprint.store.ledger import Owner, claims_now, release_all, share_of
from footprint.store.scans import Begun, begin, insert_scan
from footprint.store.units import Settlement, Unit, begin_unit, settle_unit
from footprint.store.views import scan_by_id
from footprint.verdict import UnitStatus
from tasks.installation import Installation
from tests.flows.test_conduct import Future

ALLOWED = ("198.18.0.0/15",)
SWEPT, OTHER = "198.18.0.7", "198.19.0.7"


class Task:
    """Stands in for `run_scan`: notes the order and the share of each unit, and ends it at once, finding nothing."""

    def __init__(self, here: Installation) -> None:
        self.done: list[tuple[str, int, float | None]] = []
        self.before: Callable[[], object] = lambda: None
        self._here = here

    def submit(self, scan: Begun, module: str, batch: int) -> Future:
        """Carry a unit out."""
        self.before()
        with self._here.store.write() as session:
            share = share_of(session, Owner(scan.id, scan.attempt, module, batch))
            unit_id, _ = begin_unit(session, scan.id, scan.attempt, module, batch)
            settle_unit(session, scan.id, scan.attempt, unit_id, Settlement(UnitStatus.DONE))
        self.done.append((module, batch, share.packets if share else None))
        return Future(Completed())


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Installation]:
    settings = Settings(home=tmp_path, scope_allow=ALLOWED, tool_limits={"ssh_audit": 1})  # type: ignore[arg-type]
    migrate(settings.store_url)
    store = open_store(settings.store_url)
    made = Installation(settings, store)
    monkeypatch.setattr(conduct, "installation", cache(lambda: made))
    monkeypatch.setattr(conduct, "get_run_logger", lambda: logging.getLogger("tests"))
    monkeypatch.setattr(conduct, "publish_report", lambda *of: None)
    monkeypatch.setattr(conduct, "LOOK_SECONDS", 0.01)
    yield made
    store.close()


@pytest.fixture
def task(here: Installation, monkeypatch: pytest.MonkeyPatch) -> Task:
    made = Task(here)
    monkeypatch.setattr(conduct, "run_scan", made)
    return made


def _scan(here: Installation, target: Host | Network, *modules: str, concurrency: int = 8) -> Begun:
    policy = ScanPolicy(
        name="own", modules={name: {} for name in modules or ("nmap",)}, concurrency=concurrency, ports="all"
    )
    with here.store.write() as session:
        return begin(session, insert_scan(session, NewScan(target, policy, "", "api"))[0].id, uuid4())


def _unit(module: str, *records: Record) -> Unit:
    return Unit(module, 1, 0, records)


def _give_back(here: Installation, scan: Begun) -> None:
    with here.store.write() as session:
        release_all(session, scan.id)


def test_a_unit_begins_with_its_share_and_gives_it_back(here: Installation, task: Task) -> None:
    scan = _scan(here, Host(SWEPT))
    with Conductor(scan) as conductor:
        conductor.play()
    assert task.done == [("nmap", 1, 8500.0)]
    with here.store.read() as session:
        assert claims_now(session) == []


def test_a_scan_waits_for_another_says_so_and_goes_on_when_that_one_is_done(
    here: Installation, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = _scan(here, Host(SWEPT)), _scan(here, Host("198.18.0.8"))
    assert Gate(first, here).admit(_unit("nmap", Host(SWEPT)))
    real, said = conduct.keep_alive, []

    def watched(
        session: object, scan_id: object, attempt: int, progress: int, modules: list[dict[str, object]], spent: float
    ) -> None:
        real(session, scan_id, attempt, progress, modules, spent)  # type: ignore[arg-type]
        if any(line["waits_on"] for line in modules):
            said.extend((line["name"], line["waiting_for"]) for line in modules if line["waits_on"])
            release_all(session, first.id)  # type: ignore[arg-type]

    monkeypatch.setattr(conduct, "keep_alive", watched)
    monkeypatch.setattr(conduct, "TICK_SECONDS", 0.01)
    with Conductor(second) as conductor:
        conductor.play()
    assert task.done == [("nmap", 1, 8500.0)]
    assert said == [("nmap", f"198.18.0.0/24, held by nmap of scan {first.id}")]
    with here.store.read() as session:
        assert scan_by_id(session, second.id).status == "STARTED"


def test_a_unit_that_waits_is_passed_by_others_and_keeps_its_turn(here: Installation, task: Task) -> None:
    first, second = _scan(here, Host(SWEPT)), _scan(here, Network("198.18.0.0/15"))
    assert Gate(first, here).admit(_unit("nmap", Host(SWEPT)))
    task.before = lambda: _give_back(here, first)
    with Conductor(second) as conductor:
        conductor._frontier.offer([Host(SWEPT), Host(OTHER)])
        conductor._spawn()
        waits = {name: held.what for name, held in conductor._gate.waits.items()}
        conductor._absorb()
        conductor._spawn()
    assert waits == {"nmap": "198.18.0.0/24"}
    assert [batch for _, batch, _ in task.done] == [1, 2]


def test_one_at_a_time_is_a_stable_order_that_nobody_passes_by(here: Installation, task: Task) -> None:
    first, second = _scan(here, Host(SWEPT)), _scan(here, Network("198.18.0.0/15"), concurrency=1)
    assert Gate(first, here).admit(_unit("nmap", Host(SWEPT)))
    with Conductor(second) as conductor:
        conductor._frontier.offer([Host(SWEPT), Host(OTHER)])
        assert conductor._spawn()
        assert task.done == []
        _give_back(here, first)
        conductor._spawn()
    assert [batch for _, batch, _ in task.done] == [1]


def test_a_tools_places_are_counted_on_loopback_too(here: Installation) -> None:
    first, second = _scan(here, Host("198.18.0.1"), "ssh_audit"), _scan(here, Host("198.18.0.2"), "ssh_audit")
    service = Service("127.0.0.1", 22, name="ssh")
    assert Gate(first, here).admit(_unit("ssh_audit", service))
    gate = Gate(second, here)
    assert not gate.admit(_unit("ssh_audit", service))
    assert gate.waits["ssh_audit"].what == "a place of ssh_audit"


def test_what_is_passive_or_on_loopback_claims_nothing(here: Installation) -> None:
    gate = Gate(_scan(here, Host(SWEPT)), here)
    assert gate.admit(_unit("nmap", Host("127.0.0.1")))
    assert gate.admit(_unit("ripestat", Host(SWEPT)))
    with here.store.read() as session:
        assert claims_now(session) == []


def test_a_unit_that_nobody_could_bear_passes_to_be_refused_aloud(here: Installation) -> None:
    policy = ScanPolicy(name="own", modules={"tls": {"checks": "all"}}, intensity=1)
    with here.store.write() as session:
        scan = begin(session, insert_scan(session, NewScan(Host(SWEPT), policy, "", "api"))[0].id, uuid4())
    gate = Gate(scan, here)
    unit = _unit("tls", *conduct.seeds(Host(SWEPT)))
    assert not gate.is_bearable(unit)
    assert gate.admit(unit)
    with here.store.read() as session:
        assert claims_now(session) == []


def test_extensions_claim_a_share_once_one_of_them_reaches_its_record(here: Installation) -> None:
    scan, unit = _scan(here, Host(SWEPT), "extension"), _unit("extension", Host(SWEPT))
    gate = Gate(scan, here)
    assert gate.admit(unit)
    with here.store.read() as session:
        assert claims_now(session) == []
    manifest = Manifest(name="asks", accepts=("host",), script="script", interpreter="sh", network="scoped")
    add(here.settings.home, Extension(manifest, "true"))
    gate.look()
    assert gate.admit(unit)
    with here.store.read() as session:
        (claim,) = claims_now(session)
    assert (claim.module, claim.share.packets, claim.key) == ("extension", 100.0, "net:198.18.0.0/24")
