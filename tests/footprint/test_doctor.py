"""What the doctor says of each part, from ok to fail, and that it always says what to do."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest

from footprint import doctor
from footprint.doctor import CHECKS, ChoreSeen, FeedSeen, Health, Line, LiveScan, TellingTrouble
from footprint.home_disk import free_space, leftovers
from footprint.platform_facts import PoolSeen, PrefectSeen, QueueSeen, SchedulesSeen, WorkerSeen
from footprint.states import Status

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
SILENCE = timedelta(seconds=15)
WORKER = WorkerSeen("box", is_online=True, heard_at=NOW)
QUEUE = QueueSeen("default", is_paused=False, limit=None, polled_at=NOW)
POOL = PoolSeen("pulsar", is_paused=False, limit=4, queues=(QUEUE,), workers=(WORKER,), held=1)
SCHEDULES = SchedulesSeen(active=2, paused=0, is_deployment_paused=False, late=0)
SEEN = PrefectSeen("3.8.8", drift=0.0, pool=POOL, schedules=SCHEDULES)


def judged(seen: PrefectSeen, name: str) -> Line:
    return next(line for line in doctor.judge_prefect(seen, "3.8.8", NOW, SILENCE) if line.name == name)


def test_a_server_in_order_is_all_ok() -> None:
    lines = list(doctor.judge_prefect(SEEN, "3.8.8", NOW, SILENCE))
    assert {line.health for line in lines} == {Health.OK}
    assert {line.name for line in lines} == {"prefect", "prefect_auth", "pool", "workers", "schedules"}


@pytest.mark.parametrize(
    ("seen", "name", "health", "said"),
    [
        (replace(SEEN, version="3.9.0"), "prefect", Health.WARN, "3.9.0"),
        (replace(SEEN, pool=None), "pool", Health.FAIL, "no work pool"),
        (replace(SEEN, pool=None), "workers", Health.FAIL, "none"),
        (replace(SEEN, pool=replace(POOL, is_paused=True)), "pool", Health.WARN, "paused"),
        (replace(SEEN, pool=replace(POOL, queues=(replace(QUEUE, is_paused=True),))), "pool", Health.WARN, "default"),
        (replace(SEEN, pool=replace(POOL, limit=0)), "pool", Health.WARN, "limit is 0"),
        (replace(SEEN, pool=replace(POOL, limit=None)), "pool", Health.OK, "without a limit"),
        (replace(SEEN, pool=replace(POOL, workers=())), "workers", Health.FAIL, "none is online"),
        (
            replace(SEEN, pool=replace(POOL, queues=(replace(QUEUE, polled_at=NOW - timedelta(seconds=70)),))),
            "workers",
            Health.FAIL,
            "none has asked for work for 1 min 10 s, of box",
        ),
        (
            replace(SEEN, pool=replace(POOL, workers=(replace(WORKER, is_online=False),))),
            "workers",
            Health.FAIL,
            "the last, box, was there at 2026-03-01 12:00 UTC",
        ),
        (replace(SEEN, schedules=None), "schedules", Health.FAIL, "not deployed"),
        (replace(SEEN, schedules=replace(SCHEDULES, late=3)), "schedules", Health.WARN, "late runs: 3"),
        (replace(SEEN, schedules=replace(SCHEDULES, paused=1)), "schedules", Health.WARN, "1 paused"),
        (replace(SEEN, schedules=replace(SCHEDULES, is_deployment_paused=True)), "schedules", Health.WARN, "all"),
    ],
)
def test_what_is_wrong_in_prefect_is_named_with_a_remedy(
    seen: PrefectSeen, name: str, health: Health, said: str
) -> None:
    line = judged(seen, name)
    assert (line.health, bool(line.remedy)) == (health, health is not Health.OK)
    assert said in line.detail


def test_a_server_that_is_away_and_one_that_refuses_are_told_apart() -> None:
    away = {line.name: line.health for line in doctor.prefect_away("cannot be reached", refused=False)}
    refused = {line.name: line.health for line in doctor.prefect_away("answers 401", refused=True)}
    assert (away["prefect"], away["prefect_auth"]) == (Health.FAIL, Health.WARN)
    assert (refused["prefect"], refused["prefect_auth"]) == (Health.OK, Health.FAIL)
    assert away["pool"] == away["workers"] == away["schedules"] == Health.WARN


@pytest.mark.parametrize(
    ("drift", "health"),
    [(0.0, Health.OK), (-5.0, Health.OK), (5.5, Health.WARN), (-61.0, Health.FAIL), (None, Health.WARN)],
)
def test_clocks_that_disagree_are_told(drift: float | None, health: Health) -> None:
    line = doctor.judge_clock({"the database": None, "the Prefect server": drift})
    assert line.health is health
    if drift and health is not Health.OK:
        assert ("ahead of" if drift > 0 else "behind") in line.detail


def test_the_clock_that_is_furthest_off_is_named() -> None:
    assert "of b is 9.0 s behind" in doctor.judge_clock({"a": 6.0, "b": -9.0}).detail


@pytest.mark.parametrize(("free", "health"), [(10**8, Health.FAIL), (10**9, Health.WARN), (10**10, Health.OK)])
def test_little_space_is_told(free: int, health: Health) -> None:
    assert doctor.judge_disk(free).health is health


def live(status: Status, minutes: float, lease: float | None = None) -> LiveScan:
    until = NOW + timedelta(seconds=lease) if lease is not None else None
    return LiveScan(uuid4(), status, NOW - timedelta(minutes=minutes), until)


@pytest.mark.parametrize(
    ("scan", "may_begin", "is_stuck"),
    [
        (live(Status.STARTED, 60, lease=30), True, False),
        (live(Status.STARTED, 60, lease=-59), True, False),
        (live(Status.STARTED, 60, lease=-61), False, True),
        (live(Status.STARTED, 1), True, True),
        (live(Status.PENDING, 9), True, False),
        (live(Status.PENDING, 11), True, True),
        (live(Status.PENDING, 11), False, False),
        (replace(live(Status.RETRY, 11), waiting="its time window is closed"), True, False),
    ],
)
def test_a_scan_is_stuck_without_a_lease_or_when_it_waits_for_nothing(
    scan: LiveScan, may_begin: bool, is_stuck: bool
) -> None:
    line = doctor.judge_scans([scan], NOW, may_begin=may_begin)
    assert line.health is (Health.WARN if is_stuck else Health.OK)
    assert (str(scan.id) in line.detail) is (str(scan.id) in line.remedy) is is_stuck


def test_directories_of_scans_that_are_over_are_leftovers_and_nothing_else_is(tmp_path: Path) -> None:
    over, running = uuid4(), uuid4()
    for name in (str(over), str(running), "nmap-x", "1"):
        (tmp_path / name).mkdir()
    assert leftovers(tmp_path, {running}) == [str(over)]
    assert leftovers(tmp_path / "none", ()) == []
    assert str(over) in doctor.judge_leftovers([str(over)]).detail
    assert doctor.judge_leftovers([]).health is Health.OK


def test_space_is_measured_where_a_home_is_going_to_be(tmp_path: Path) -> None:
    assert free_space(tmp_path / "not" / "yet") > 0


@pytest.mark.parametrize(
    ("feeds", "health"),
    [
        ([], Health.WARN),
        ([FeedSeen("nvd", None, None)], Health.WARN),
        ([FeedSeen("nvd", NOW - timedelta(days=1), None)], Health.OK),
        ([FeedSeen("nvd", NOW - timedelta(days=8), None), FeedSeen("kev", NOW, None)], Health.WARN),
        ([FeedSeen("nvd", NOW, None), FeedSeen("kev", NOW, "answers 403")], Health.WARN),
    ],
)
def test_old_and_broken_feeds_are_told(feeds: list[FeedSeen], health: Health) -> None:
    assert doctor.judge_feeds(feeds, NOW).health is health


@pytest.mark.parametrize(
    ("chores", "health", "said"),
    [
        ([], Health.OK, "not done yet"),
        ([ChoreSeen("backup", NOW, is_well=False, said="no room")], Health.OK, "not done yet"),
        ([ChoreSeen("cleanup", NOW - timedelta(days=2), is_well=True, said="2 scans")], Health.OK, "ago: 2 scans"),
        ([ChoreSeen("cleanup", NOW - timedelta(days=4), is_well=True, said="2 scans")], Health.WARN, "96 h 0 min ago"),
        ([ChoreSeen("cleanup", NOW, is_well=False, said="broke off")], Health.WARN, "broke off"),
    ],
)
def test_chores_that_went_wrong_or_were_not_done_for_days_are_told(
    chores: list[ChoreSeen], health: Health, said: str
) -> None:
    line = doctor.judge_chore("cleanup", chores, NOW)
    assert (line.health, said in line.detail) == (health, True)


def test_quarantined_tools_are_told() -> None:
    assert doctor.judge_quarantine([]).health is Health.OK
    assert doctor.judge_quarantine(["nmap on here"]).detail == "not run: nmap on here"


def test_every_check_has_a_symptom_and_a_remedy() -> None:
    assert all(check.symptom and check.remedy and "|" not in check.symptom + check.remedy for check in CHECKS.values())


def test_receivers_that_cannot_be_told_are_named_with_the_last_error() -> None:
    assert doctor.judge_notifications([]).health is Health.OK
    line = doctor.judge_notifications([TellingTrouble("slack-webhook/oncall", 3, 1, "answered 500")])
    assert (line.health, line.detail) == (Health.WARN, "slack-webhook/oncall: 3 waiting and 1 given up: answered 500")
