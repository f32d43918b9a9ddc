"""The ledger of claims, on SQLite and on PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier
from uuid import uuid4

import pytest
from sqlalchemy import func, select, update

from footprint.admission import NewScan
from footprint.budget import Allowance, Held, Load, Request, Share
from footprint.policy import PRESETS
from footprint.records import Host
from footprint.states import Status
from footprint.store import Store, open_store
from footprint.store.claim_table import ClaimRow
from footprint.store.endings import finish
from footprint.store.ledger import Owner, acquire, claims_now, release, share_of
from footprint.store.scans import Begun, begin, insert_scan, keep_alive
from footprint.store.tables import Scan, now
from footprint.store.units import digest_of
from footprint.verdict import Verdict

NET = "198.51.100.0/24"
WAITERS, ROUNDS = 12, 8
PACED, BURST, SWEEP = Load(100, 100.0 - 1), Load(100, 100), Load(1000, 1, is_sweep=True)


def _scan(store: Store, task: str = "") -> Begun:
    with store.write() as session:
        new = NewScan(Host("198.51.100.7"), PRESETS["quick"], task, "api")
        return begin(session, insert_scan(session, new)[0].id, uuid4())


def _ask(store: Store, scan: Begun, batch: int, load: Load = PACED, places: int | None = None) -> Share | Held:
    request = Request("nmap", (NET,), load, Allowance(250, 64), places)
    with store.write() as session:
        return acquire(session, Owner(scan.id, scan.attempt, "nmap", batch), request)


def _give_back(store: Store, scan: Begun, batch: int) -> None:
    with store.write() as session:
        release(session, Owner(scan.id, scan.attempt, "nmap", batch))


def _taken(store: Store) -> float:
    with store.read() as session:
        return sum(claim.share.packets for claim in claims_now(session))


@pytest.fixture
def second(store: Store, store_url: str) -> Iterator[Store]:
    """The same store, as another worker has it open."""
    opened = open_store(store_url)
    yield opened
    opened.close()


def test_what_is_claimed_is_not_given_twice(store: Store) -> None:
    first, other = _scan(store, "first"), _scan(store, "other")
    assert _ask(store, first, 1) == Share(100, 1)
    assert _ask(store, other, 1) == Share(100, 1)
    held = _ask(store, other, 2)
    assert isinstance(held, Held)
    assert {claim.scan_id for claim in held.holders} == {first.id, other.id}
    _give_back(store, first, 1)
    assert _ask(store, other, 2) == Share(100, 1)


def test_two_workers_that_ask_at_the_same_moment_do_not_get_more_than_there_is(store: Store, second: Store) -> None:
    scans = [_scan(store, str(number)) for number in range(WAITERS)]
    together = Barrier(WAITERS)

    def ask(number: int) -> Share | Held:
        together.wait(20)
        return _ask((store, second)[number % 2], scans[number], 1)

    with ThreadPoolExecutor(WAITERS) as pool:
        for _ in range(ROUNDS):
            answers = list(pool.map(ask, range(WAITERS)))
            assert sum(isinstance(answer, Share) for answer in answers) == 2
            assert _taken(second) == 200
            for scan in scans:
                _give_back(store, scan, 1)


def test_a_claim_whose_answer_was_lost_is_made_again_and_counts_once(store: Store) -> None:
    scan = _scan(store)
    assert _ask(store, scan, 1) == _ask(store, scan, 1) == Share(100, 1)
    assert _taken(store) == 100


def test_a_unit_finds_the_share_that_it_was_given(store: Store) -> None:
    scan = _scan(store)
    _ask(store, scan, 1, places=1)
    with store.read() as session:
        assert share_of(session, Owner(scan.id, scan.attempt, "nmap", 1)) == Share(100, 1)
        assert share_of(session, Owner(scan.id, scan.attempt, "nmap", 2)) is None


def test_a_claim_ends_with_the_lease_of_a_scan_whose_worker_died(store: Store) -> None:
    dead, alive = _scan(store, "dead"), _scan(store, "alive")
    _ask(store, dead, 1, SWEEP)
    assert isinstance(_ask(store, alive, 1, SWEEP), Held)
    with store.write() as session:
        session.execute(update(Scan).where(Scan.id == dead.id).values(lease_until=now() - timedelta(seconds=1)))
    assert isinstance(_ask(store, alive, 1, SWEEP), Share)


def test_a_claim_ends_with_its_attempt(store: Store) -> None:
    scan = _scan(store)
    _ask(store, scan, 1)
    with store.write() as session:
        task_id = session.get_one(Scan, scan.id).task_id
        assert task_id is not None
        again = begin(session, scan.id, task_id)
    assert _taken(store) == 0
    _ask(store, scan, 2)
    assert _taken(store) == 0, "what the attempt before claims late does not count"
    _ask(store, again, 1)
    assert _taken(store) == 100


def test_a_claim_ends_with_its_scan(store: Store) -> None:
    scan = _scan(store)
    _ask(store, scan, 1)
    with store.write() as session:
        finish(session, scan.id, Verdict(Status.REVOKED), "Cancelled")
    with store.read() as session:
        assert claims_now(session) == []
        assert session.scalars(select(func.count()).select_from(ClaimRow)).one() == 0


def test_a_burst_counts_for_a_second_after_its_unit(store: Store) -> None:
    scan = _scan(store)
    _ask(store, scan, 1, BURST)
    _ask(store, scan, 2, PACED)
    _give_back(store, scan, 1)
    _give_back(store, scan, 2)
    assert _taken(store) == 100
    with store.write() as session:
        session.execute(update(ClaimRow).values(released_at=now() - timedelta(seconds=1.1)))
    assert _taken(store) == 0


def test_a_tool_has_its_places_on_the_whole_installation(store: Store, second: Store) -> None:
    first, other = _scan(store, "first"), _scan(store, "other")
    assert isinstance(_ask(store, first, 1, places=1), Share)
    held = _ask(second, other, 1, places=1)
    assert isinstance(held, Held)
    assert held.what == "a place of nmap"
    _give_back(store, first, 1)
    assert isinstance(_ask(second, other, 1, places=1), Share)


def test_a_scan_says_what_it_waits_for_and_who_has_it(store: Store) -> None:
    first, other = _scan(store, "first"), _scan(store, "other")
    _ask(store, first, 1, SWEEP)
    held = _ask(store, other, 1, SWEEP)
    assert isinstance(held, Held)
    with store.write() as session:
        progress, modules = digest_of(session, other.id, {"nmap": 1}, {"nmap": held})
        keep_alive(session, other.id, other.attempt, progress, modules)
    assert (modules[0]["status"], modules[0]["waiting"]) == ("waiting", 1)
    assert (modules[0]["waits_on"], modules[0]["waiting_for"]) == (held.key, f"{NET}, held by nmap of scan {first.id}")
