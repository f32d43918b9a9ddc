"""What becomes of a time that a schedule comes due: scanned, queued, skipped, refused; once for each Prefect run."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select

from footprint.asset_scope import AssetScope
from footprint.errors import Conflict, InvalidPolicy, TargetRefused
from footprint.notify_rules import NotifyRules
from footprint.policy import PRESETS
from footprint.settings import Settings
from footprint.states import Status
from footprint.store import Store
from footprint.store.assets import add_asset, set_scope
from footprint.store.endings import finish
from footprint.store.policies import add_policy, delete_policy, replace_policy
from footprint.store.resumption import put_back
from footprint.store.scans import attach, begin, observe, withdraw_forgotten
from footprint.store.schedule_tables import ScheduleRow, ScheduleRunRow
from footprint.store.schedule_turns import note_released, predecessor, released, without_run
from footprint.store.schedules import delete_schedule, runs_page
from footprint.store.tables import Scan, now
from footprint.timing import Timing
from footprint.verdict import Verdict
from tasks.scheduled import MISSED, ONE_WAITS, PAUSED, REMOVED, Turn, take_extra_turn, take_turn

ANCHOR = datetime(2026, 1, 1, tzinfo=UTC)
HOURLY = Timing("interval", "3600", "UTC", ANCHOR)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """An installation that may scan loopback."""
    return Settings(home=tmp_path, scope_allow=("127.0.0.0/16",))  # type: ignore[arg-type]


def _due() -> datetime:
    """The last time that an hourly schedule came due."""
    at = now()
    return at - (at - ANCHOR) % timedelta(hours=1)


def _schedule(store: Store, **said: Any) -> UUID:
    values = {"target": "127.0.0.1", "policy_name": "quick", "said": {"interval": 3600}, "timezone": "UTC"} | said
    with store.write() as session:
        row = ScheduleRow(timing=HOURLY.pack(), prefect_id=uuid4(), deployment_id=uuid4(), **values)
        session.add(row)
        session.flush()
        return row.id


def _turn(
    store: Store, settings: Settings, schedule: UUID, task: UUID | None = None, due: datetime | None = None
) -> Turn:
    with store.write() as session:
        return take_turn(session, settings, schedule, task or uuid4(), due or _due())


def _end(store: Store, scan: UUID) -> None:
    with store.write() as session:
        assert finish(session, scan, Verdict(Status.SUCCESS), "Completed")


def _scan(store: Store, scan: UUID) -> Scan:
    with store.read() as session:
        return session.get_one(Scan, scan)


def _told(store: Store, schedule: UUID) -> list[tuple[str, str | None]]:
    with store.read() as session:
        return [(row.outcome, row.reason) for row, _ in runs_page(session, schedule, 0, 10)[0]]


def test_a_run_gets_its_scan_once_however_often_it_begins(store: Store, settings: Settings) -> None:
    schedule, task = _schedule(store, comment="hourly"), uuid4()
    turn = _turn(store, settings, schedule, task)
    assert _turn(store, settings, schedule, task) == Turn()
    (scan_id,) = turn.scans
    scan = _scan(store, scan_id)
    assert (scan.task_id, scan.origin, scan.comment) == (task, "schedule", "hourly")
    assert (scan.target, scan.policy_name, scan.schedule_id) == ("127.0.0.1", "quick", schedule)
    with store.read() as session:
        ((run, scans),), count = runs_page(session, schedule, 0, 10)
    assert (count, run.task_id, run.due_at, scans) == (1, task, _due(), [scan_id])


def test_while_the_last_run_goes_on_the_next_is_skipped_and_written_down(store: Store, settings: Settings) -> None:
    schedule, task = _schedule(store), uuid4()
    (first,) = _turn(store, settings, schedule).scans
    reason = f"the last run of its schedule has not ended: scan {first}"
    assert _turn(store, settings, schedule, task) == Turn(skipped=reason)
    _end(store, first)
    assert _turn(store, settings, schedule, task) == Turn(skipped=reason), "it was decided"
    assert len(_turn(store, settings, schedule).scans) == 1
    assert _told(store, schedule) == [("scanned", None), ("skipped", reason), ("scanned", None)]


def test_another_schedule_does_not_hinder(store: Store, settings: Settings) -> None:
    for schedule in (_schedule(store), _schedule(store)):
        assert _turn(store, settings, schedule).scans


def test_one_run_is_queued_and_begins_when_the_last_has_ended(store: Store, settings: Settings) -> None:
    schedule, task = _schedule(store, overlap="queue"), uuid4()
    (first,) = _turn(store, settings, schedule).scans
    (second,) = _turn(store, settings, schedule, task).scans
    assert _turn(store, settings, schedule) == Turn(skipped=ONE_WAITS)
    with store.write() as session:
        before = predecessor(session, session.get_one(Scan, second))
        assert before is not None
        assert before.id == first
        assert observe(session, second, Status.STARTED, "Running"), "Prefect is ahead of the flow"
        assert predecessor(session, session.get_one(Scan, second, populate_existing=True)) is not None
        put_back(session, second, attempt=0, reason="it waits", at=now() + timedelta(days=1))
        assert released(session) == []
    _end(store, first)
    with store.write() as session:
        assert predecessor(session, session.get_one(Scan, second)) is None
        assert released(session) == [(second, task)]
        note_released(session, second)
        assert released(session) == []
    waited = _scan(store, second)
    assert (waited.status, waited.waiting, waited.resume_at) == ("PENDING", None, None)
    with store.write() as session:
        assert begin(session, second, task).attempt == 1
    assert len(_turn(store, settings, schedule).scans) == 1, "the queue is free again"


def test_after_an_outage_one_run_catches_up(store: Store, settings: Settings) -> None:
    schedule, due = _schedule(store), _due()
    late = [due - timedelta(hours=hours) for hours in (3, 2, 1)]
    assert [_turn(store, settings, schedule, due=moment).skipped for moment in late] == [MISSED] * 3
    assert len(_turn(store, settings, schedule, due=due).scans) == 1
    assert [outcome for outcome, _ in _told(store, schedule)] == ["scanned", "skipped", "skipped", "skipped"]


def test_a_paused_schedule_and_one_that_is_gone_scan_nothing(store: Store, settings: Settings) -> None:
    schedule = _schedule(store, active=False)
    assert _turn(store, settings, schedule) == Turn(skipped=PAUSED)
    with store.write() as session:
        delete_schedule(session, schedule)
    assert _turn(store, settings, schedule) == Turn(skipped=REMOVED)
    with store.read() as session:
        assert session.scalars(select(ScheduleRunRow)).all() == []


def test_a_schedule_says_in_place_of_its_policy_who_is_told(store: Store, settings: Settings) -> None:
    policy = PRESETS["quick"].model_copy(update={"notify": NotifyRules(to=("slack-webhook/all",))})
    mine = NotifyRules(to=("smtp-mail/me",)).model_dump(mode="json")
    for own, told in ((None, ["slack-webhook/all"]), (mine, ["smtp-mail/me"]), ({"to": []}, [])):
        (scan,) = _turn(store, settings, _schedule(store, policy=policy.model_dump(mode="json"), notify=own)).scans
        assert _scan(store, scan).policy["notify"]["to"] == told


def test_a_named_policy_counts_as_it_is_at_each_run_and_an_own_one_as_it_was(store: Store, settings: Settings) -> None:
    own = PRESETS["quick"].model_copy(update={"name": "mine", "ports": "top:10"})
    with store.write() as session:
        add_policy(session, own)
    named = _schedule(store, policy_name="mine")
    frozen = _schedule(store, policy_name="inline", policy=own.model_dump(mode="json"))
    for ports in ("top:10", "top:20"):
        with store.write() as session:
            replace_policy(session, own.model_copy(update={"ports": ports}))
        (scan,) = _turn(store, settings, named).scans
        (other,) = _turn(store, settings, frozen).scans
        assert _scan(store, scan).policy["ports"] == ports
        assert _scan(store, other).policy["ports"] == "top:10"
        _end(store, scan)
        _end(store, other)
    with store.write() as session:
        delete_policy(session, "mine")
    with pytest.raises(InvalidPolicy):
        _turn(store, settings, named)


def test_each_root_of_an_asset_gets_a_scan_as_the_roots_are_then(store: Store, settings: Settings) -> None:
    with store.write() as session:
        asset = add_asset(session, "Example", AssetScope(roots=("127.0.0.1", "127.0.0.2", "127.0.0.3")))
        set_scope(session, asset, AssetScope(exclude=("127.0.0.2",)))
    schedule, task = _schedule(store, target=None, asset_id=asset), uuid4()
    scans = [_scan(store, scan) for scan in _turn(store, settings, schedule, task).scans]
    assert [(scan.target, scan.task_id) for scan in scans] == [("127.0.0.1", task), ("127.0.0.3", None)]
    ((outcome, reason),) = _told(store, schedule)
    assert (outcome, (reason or "").startswith("1 of 3 roots were refused: ")) == ("scanned", True)
    with store.write() as session:
        withdraw_forgotten(session, timedelta(0))
        assert without_run(session, timedelta(0)) == [scans[1].id]
        attach(session, scans[1].id, uuid4())
        assert without_run(session, timedelta(0)) == []


def test_what_may_not_be_scanned_any_more_is_refused(store: Store, settings: Settings) -> None:
    schedule = _schedule(store)
    narrow = settings.model_copy(update={"scope_exclude": ("127.0.0.1",)})
    with pytest.raises(TargetRefused):
        _turn(store, narrow, schedule)
    assert _told(store, schedule) == []


def test_a_run_by_hand_waits_or_is_refused_while_the_last_goes_on(store: Store, settings: Settings) -> None:
    skipping, queueing = _schedule(store), _schedule(store, overlap="queue", active=False)
    for schedule, most in ((skipping, 1), (queueing, 2)):
        for _ in range(most):
            with store.write() as session:
                assert len(take_extra_turn(session, settings, schedule)) == 1
        with store.write() as session, pytest.raises(Conflict):
            take_extra_turn(session, settings, schedule)


def test_numbers_of_runs_that_are_given_out_again_mix_nothing_up(store: Store, settings: Settings) -> None:
    old = _schedule(store, overlap="queue")
    (first,) = _turn(store, settings, old).scans
    (queued,) = _turn(store, settings, old).scans
    with store.write() as session:
        delete_schedule(session, old)
    new = _schedule(store, overlap="queue")
    (scan,) = _turn(store, settings, new).scans
    _turn(store, settings, new)
    with store.read() as session:
        told, _ = runs_page(session, new, 0, 10)
        assert [len(scans) for _, scans in told] == [1, 1]
        assert told[1][1] == [scan]
        assert predecessor(session, session.get_one(Scan, queued)) is None
    assert first != scan
