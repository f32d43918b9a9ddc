"""A cleanup deletes what it said, and no more, whatever Prefect is at."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from sqlalchemy import update

from flows import cleaning
from flows.cleaning import clean_up, plan_cleanup
from flows.prefect_runs import PrefectRuns
from footprint.errors import PrefectUnavailable, StoreUnavailable
from footprint.settings import Settings
from footprint.store import Store, migrate, open_store
from footprint.store.chores import chores_done
from footprint.store.scans import begin, insert_scan
from footprint.store.tables import Scan
from footprint.store.views import scans_page
from tests.footprint.test_differences import NEW, WEB, asked, scanned

NOW = datetime(2027, 6, 1, tzinfo=UTC)


class Prefect(PrefectRuns):
    """Stands in for Prefect: has these runs that are over, each with whether it is one of a scan's flow."""

    def __init__(self, runs: Sequence[tuple[UUID, bool]] = (), *, is_away: bool = False) -> None:
        self.runs = dict(runs)
        self.forgotten: list[UUID] = []
        self.is_away = is_away

    def over(self, before: datetime) -> Iterator[tuple[UUID, bool]]:
        """All of them."""
        if self.is_away:
            raise PrefectUnavailable("Prefect is away")
        assert before == NOW - timedelta(days=7)
        return iter(self.runs.items())

    def forget(self, ids: Sequence[UUID]) -> int:
        """Remember."""
        if self.is_away:
            raise PrefectUnavailable("Prefect is away")
        self.forgotten += ids
        return len(ids)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path, keep_scans=1)


@pytest.fixture
def store(settings: Settings) -> Iterator[Store]:
    migrate(settings.store_url)
    opened = open_store(settings.store_url)
    yield opened
    opened.close()


def three_scans(store: Store) -> list[Scan]:
    scans = [scanned(store, asked("nmap", WEB, WEB)).id for _ in range(3)]
    for number, scan in enumerate(scans):
        at = NOW - timedelta(days=3 - number)
        with store.write() as session:
            session.execute(update(Scan).where(Scan.id == scan).values(created_at=at, finished_at=at))
    with store.read() as session:
        return [session.get_one(Scan, scan) for scan in scans]


def left(store: Store) -> set[UUID]:
    with store.read() as session:
        rows, _ = scans_page(session, status=None, target=None, offset=0, limit=10)
    return {row.id for row in rows}


def test_what_is_said_is_what_is_deleted(settings: Settings, store: Store) -> None:
    scans = three_scans(store)
    with store.write() as session:
        going = begin(session, insert_scan(session, NEW)[0].id, uuid4())
    for directory in (scans[0].id, going.id):
        (settings.work_dir / str(directory)).mkdir(parents=True)
    (settings.work_dir / str(scans[0].id) / "out").write_bytes(b"x" * 77)
    maintenance, of_nobody = uuid4(), uuid4()
    assert scans[2].task_id
    prefect = Prefect([(maintenance, False), (of_nobody, True), (scans[2].task_id, True)])
    plan = plan_cleanup(settings, store, prefect, NOW)
    assert left(store) == {going.id, *(scan.id for scan in scans)}
    assert [scan.id for scan in plan.scans] == [scans[0].id, scans[1].id]
    assert [one.path.name for one in plan.leftovers] == [str(scans[0].id)]
    assert plan.runs == (maintenance, of_nobody)
    lines = plan.lines(NOW)
    assert lines[0].startswith(
        f"scan {scans[0].id} of example.test, mine, SUCCESS, ended 72 h 0 min ago:"
        " older than the newest of its target; 1 sighting, "
    )
    assert lines[2] == f"{scans[0].id} in work: directory of a scan that is over, 77 bytes"
    assert lines[3].startswith("scans: 2; leftovers: 1; runs without a scan in Prefect: 2; bytes: ")
    assert json.loads(json.dumps(plan.as_json()))["bytes"] == plan.bytes
    cleaned = clean_up(settings, store, prefect, plan, NOW)
    assert tuple(cleaned.scans) == plan.scans
    assert left(store) == {going.id, scans[2].id}
    assert [path.name for path in settings.work_dir.iterdir()] == [str(going.id)]
    assert prefect.forgotten == [scans[0].task_id, scans[1].task_id, maintenance, of_nobody]
    assert cleaned.runs == 4
    again = plan_cleanup(settings, store, Prefect(), NOW)
    assert (again.scans, again.leftovers, again.runs) == ((), (), ())
    with store.read() as session:
        (chore,) = chores_done(session)
    assert (chore.name, chore.is_well, chore.said) == ("cleanup", True, cleaned.summary())


@pytest.mark.parametrize("prefect", [None, Prefect(is_away=True)])
def test_without_prefect_the_rest_is_done_and_that_is_said(
    settings: Settings, store: Store, prefect: Prefect | None
) -> None:
    three_scans(store)
    plan = plan_cleanup(settings, store, prefect, NOW)
    assert "runs in Prefect: not known" in plan.summary()
    assert clean_up(settings, store, prefect, plan, NOW).left == (
        "Prefect could not be asked: its runs go with a later cleanup"
    )
    assert len(left(store)) == 1


def test_runs_are_kept_for_ever_where_that_is_wanted(settings: Settings, store: Store) -> None:
    kept = settings.model_copy(update={"keep_run_days": 0})
    assert plan_cleanup(kept, store, Prefect([(uuid4(), False)]), NOW).runs == ()


def test_a_cleanup_that_breaks_off_is_noted_as_such(
    settings: Settings, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    three_scans(store)
    plan = plan_cleanup(settings, store, None, NOW)

    def broken(store: Store, at: datetime) -> int:
        raise StoreUnavailable("the store is busy")

    monkeypatch.setattr(cleaning, "forget_settled", broken)
    with pytest.raises(StoreUnavailable):
        clean_up(settings, store, None, plan, NOW)
    with store.read() as session:
        (chore,) = chores_done(session)
    assert not chore.is_well
    assert chore.said.startswith("broke off (StoreUnavailable): deleted scans: 2;")
