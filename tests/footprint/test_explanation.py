"""Why a scan is where it is: each cause from its facts, in words that name what is missing."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from footprint.explanation import Explanation, explain
from footprint.platform_facts import PoolSeen, QueueSeen, RunSeen, WorkerSeen
from footprint.scan_facts import Cause, Facts, ScanSeen, TellingSeen, Trouble, UnitSeen
from footprint.states import Status

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
OTHER, OTHER_RUN = uuid4(), uuid4()
WORKER = WorkerSeen("box", is_online=True, heard_at=NOW)
QUEUE = QueueSeen("default", is_paused=False, limit=None, polled_at=NOW)
POOL = PoolSeen("pulsar", is_paused=False, limit=4, queues=(QUEUE,), workers=(WORKER,), held=0)


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


def run(state_type: str = "SCHEDULED", state: str = "Scheduled", **more: Any) -> RunSeen:
    facts = {"since": ago(5), "due": ago(5), "queue": "default", "id": uuid4(), "name": "a run", "message": ""}
    return RunSeen(state_type=state_type, state=state, **(facts | more))


def scan(status: Status = Status.PENDING, **more: Any) -> ScanSeen:
    begun = ago(20) if status is not Status.PENDING else None
    facts = {"created_at": ago(30), "started_at": begun, "finished_at": NOW if status.is_terminal else None}
    return ScanSeen(UUID(int=1), "127.0.0.1", status, **(facts | more))


def found(**facts: Any) -> Explanation:
    return explain(Facts(**({"now": NOW, "scan": scan(), "run": run(), "pool": POOL} | facts)))


def cause(code: str, **facts: Any) -> Cause:
    """The cause of that code, which is told in the paragraph as well."""
    explained = found(**facts)
    (cause,) = [cause for cause in explained.causes if cause.code == code]
    assert cause.detail[1:].rstrip(".") in explained.explanation
    assert cause.remedy in explained.explanation
    return cause


def codes(**facts: Any) -> list[str]:
    return [cause.code for cause in found(**facts).causes]


@pytest.mark.parametrize("status", list(Status))
@pytest.mark.parametrize("seen", [run(), run("RUNNING", "Running"), run("COMPLETED", "Completed"), None])
def test_no_status_is_without_a_reason(status: Status, seen: RunSeen | None) -> None:
    explained = found(scan=scan(status), run=seen)
    assert explained.causes
    assert explained.explanation.startswith("The scan of 127.0.0.1 ")
    assert all(cause.code and cause.detail for cause in explained.causes)


def test_a_scan_that_just_was_asked_for_is_about_to_start() -> None:
    assert codes() == ["about_to_start"]
    assert found().explanation == (
        "The scan of 127.0.0.1 has waited for 30 s: PENDING. "
        "A worker is online and takes it at one of its next looks, within seconds."
    )


def test_prefect_away_is_told_with_since_when() -> None:
    away = {"run": None, "pool": None, "away": "Prefect cannot be reached", "heard_at": ago(90)}
    told = cause("prefect_away", **away)
    assert "last heard 1 min 30 s ago; no scan begins meanwhile" in told.detail
    assert (told.since, codes(**away)) == (ago(90), ["prefect_away"])
    assert "goes on meanwhile" in cause("prefect_away", **away, scan=scan(Status.STARTED)).detail


@pytest.mark.parametrize(
    ("worker", "polled"),
    [(replace(WORKER, is_online=False, heard_at=ago(100)), ago(95)), (WORKER, ago(95)), (None, None)],
)
def test_no_worker_is_told_with_when_one_was_there(worker: WorkerSeen | None, polled: datetime | None) -> None:
    pool = replace(POOL, workers=(worker,) if worker else (), queues=(replace(QUEUE, polled_at=polled),))
    told = cause("no_worker", pool=pool)
    assert told.since == polled
    assert ("the last one, box, was there 1 min 35 s ago" if worker else "none ever was") in told.detail
    assert "pulsar worker" in told.remedy


def test_a_worker_that_looks_rarely_is_no_missing_one() -> None:
    pool = replace(POOL, queues=(replace(QUEUE, polled_at=ago(50)),))
    assert codes(pool=pool, look=60) == ["about_to_start"]
    assert codes(pool=pool, look=1) == ["no_worker"]


def test_a_paused_pool_and_a_paused_queue_are_told_apart() -> None:
    paused = replace(QUEUE, is_paused=True)
    assert codes(pool=replace(POOL, is_paused=True, queues=(paused,))) == ["pool_paused"]
    told = cause("queue_paused", pool=replace(POOL, queues=(replace(QUEUE, name="other"), paused)))
    assert "prefect work-queue resume default --pool pulsar" in told.remedy
    assert codes(pool=replace(POOL, queues=(QUEUE, replace(paused, name="other")))) == ["about_to_start"]


def test_a_reached_limit_names_who_holds_the_places_and_the_place_in_the_line() -> None:
    holder = run("RUNNING", "Running", id=OTHER_RUN)
    stranger = run("RUNNING", "Running", name="somebody's")
    full = replace(POOL, limit=2, held=2, holders=(holder, stranger))
    told = cause("pool_full", pool=full, others={OTHER_RUN: (OTHER, "10.0.0.0/24")}, ahead=3)
    assert told.detail == (
        "the pool pulsar runs at most 2 at once, and all places are held "
        f"by 10.0.0.0/24 ({OTHER}), somebody's; number 4 in the line"
    )
    assert "PULSAR_SCANS_AT_ONCE" in told.remedy
    queue = replace(QUEUE, limit=1)
    assert codes(pool=replace(POOL, queues=(queue,), held=1, holders=(holder,))) == ["queue_full"]
    assert codes(pool=replace(POOL, limit=3, held=2)) == ["about_to_start"]
    assert codes(run=run(state="AwaitingConcurrencySlot")) == ["deployment_full"]


def test_many_holders_are_counted() -> None:
    holders = tuple(run("RUNNING", "Running", name=f"run {number}") for number in range(9))
    told = cause("pool_full", pool=replace(POOL, limit=9, held=9, holders=holders))
    assert "run 4 and 4 more; number 1" in told.detail


def test_a_run_that_is_late_or_scheduled_for_later_is_told() -> None:
    assert "5.0 s ago" in cause("late", run=run(state="Late")).detail
    later = cause("scheduled_later", run=run(due=NOW + timedelta(hours=2)))
    assert "2026-03-01 14:00:00 UTC, in 2 h 0 min" in later.detail
    retry = found(scan=scan(Status.RETRY), run=run(state="AwaitingRetry", due=NOW + timedelta(seconds=30)))
    assert [cause.code for cause in retry.causes] == ["scheduled_later"]


def test_a_run_that_a_worker_has_taken_is_being_started_and_no_worker_is_missed() -> None:
    nobody = replace(POOL, workers=())
    assert cause("being_started", run=run("PENDING", "Pending"), pool=nobody).remedy == ""
    assert codes(run=run("PENDING", "Pending"), pool=nobody) == ["being_started"]
    assert "log" in cause("being_started", run=run("PENDING", "Pending", since=ago(61))).remedy


def test_a_run_that_has_ended_or_is_unknown_will_be_taken_over() -> None:
    assert "Crashed" in cause("being_settled", run=run("CRASHED", "Crashed"), scan=scan(Status.STARTED)).detail
    assert codes(run=None, scan=scan(Status.STARTED)) == ["run_missing"]
    assert codes(pool=None) == ["pool_missing"]


def test_running_units_are_told_with_since_when_and_how_far() -> None:
    units = tuple(UnitSeen("nmap", number, 16, 40, ago(75)) for number in range(1, 8))
    running = {"scan": scan(Status.STARTED, units=units, unit_timeout=3600, waiting=1, attempt=2, progress=12)}
    running["run"] = run("RUNNING", "Running")
    assert codes(**running) == ["unit_running"] * 5 + ["units_running", "units_waiting"]
    paragraph = found(**running).explanation
    assert "has run for 20 s, attempt 2: 12 %." in paragraph
    assert (
        "Running: nmap batch 1 (16 targets) for 1 min 15 s, 40 % done, given up after 1 h 0 min at the latest."
        in paragraph
    )
    assert "2 more units run. 1 more unit is to come." in paragraph


def test_a_scan_between_two_units_says_so() -> None:
    assert codes(scan=scan(Status.STARTED), run=run("RUNNING", "Running")) == ["between_units"]


def test_silence_cancelling_and_pausing_of_a_running_scan_are_told() -> None:
    running = {"scan": scan(Status.STARTED, renewed_at=ago(40)), "run": run("RUNNING", "Running")}
    assert "no sign of life from its worker for 40 s" in cause("silent", **running).detail
    assert codes(scan=scan(Status.STARTED, renewed_at=ago(3)), run=run("CANCELLING", "Cancelling")) == [
        "being_cancelled"
    ]
    asked = scan(Status.STARTED, renewed_at=ago(3), cancelled_at=ago(2))
    told = cause("being_cancelled", scan=asked, run=None, away="Prefect is away").detail
    assert told == "it is being cancelled since 2.0 s"
    assert "Suspended" in cause("run_paused", scan=scan(Status.STARTED), run=run("PAUSED", "Suspended")).detail


def test_a_success_summarises_its_warnings_and_names_failed_modules_with_their_hints() -> None:
    ended = scan(
        Status.SUCCESS,
        found="3 hosts",
        warnings=("amass: not installed (apt)", "second"),
        troubles=(
            Trouble("amass", "skipped", 2, "amass: not installed", "make tools"),
            Trouble("tls", "failed", 1, "", ""),
        ),
    )
    told = found(scan=ended)
    assert [(cause.code, cause.remedy) for cause in told.causes] == [
        ("success", ""),
        ("module_skipped", "make tools"),
        ("module_failed", ""),
        ("warnings", f"`pulsar status {ended.id}` shows them all"),
    ]
    assert told.explanation == (
        "The scan of 127.0.0.1 ended after 20 s: SUCCESS. Not all that was planned was looked at; found: 3 hosts. "
        "Skipped: amass: not installed (2 units) (make tools). Failed: tls: no reason was given. "
        f"2 warnings, the first: amass: not installed (apt) (`pulsar status {ended.id}` shows them all)."
    )


def test_a_failure_says_its_error_and_a_cancelled_scan_when_it_was() -> None:
    assert (
        cause("failure", scan=scan(Status.FAILURE, error="nmap: it failed everywhere")).detail
        == "the reason: nmap: it failed everywhere"
    )
    assert "while it ran" in cause("revoked", scan=scan(Status.REVOKED)).detail
    assert "before it began" in cause("revoked", scan=scan(Status.REVOKED, started_at=None)).detail


def test_many_reasons_of_failure_are_counted() -> None:
    troubles = tuple(Trouble(f"m{number}", "failed", 1, "broken", "") for number in range(7))
    assert "2 more reasons" in cause("modules_failed", scan=scan(Status.SUCCESS, troubles=troubles)).detail


def test_a_scan_that_was_put_back_says_what_it_waits_for_and_until_when() -> None:
    waiting = scan(Status.RETRY, put_back="its time window is closed", resume_at=NOW + timedelta(hours=8))
    said = cause("put_back", scan=waiting)
    assert said.detail == "its time window is closed; it goes on from 2026-03-01 20:00 UTC on, in 8 h 0 min"
    window = replace(waiting, put_back="window opens at 2026-03-01 20:00:00 UTC", resume_at=None)
    later = run(due=NOW + timedelta(hours=8, seconds=1))
    assert cause("put_back", scan=window, run=later).detail == f"{window.put_back}, in 8 h 0 min"
    assert codes(scan=window, run=later) == ["put_back"], "the same moment is told once"
    assert found(scan=waiting).causes[0] == said
    leaving = run("RUNNING", "Running", since=ago(40), due=ago(40))
    assert codes(scan=waiting, run=leaving) == ["put_back"], "its flow is about to tell Prefect"
    late = replace(window, resume_at=ago(1))
    assert codes(scan=late, run=later) == ["scheduled_later"], "its time has come, and its run is for later"
    assert "put_back" not in codes(scan=replace(waiting, resume_at=ago(1)))


def test_a_scan_that_runs_and_whose_window_has_closed_says_so_before_its_units() -> None:
    unit = UnitSeen("nmap", 1, 8, 40, ago(10))
    closed = scan(Status.STARTED, closed="its window has closed; window opens at ten", units=(unit,), unit_timeout=60)
    running = run("RUNNING", "Running")
    assert cause("window_closed", scan=closed, run=running).detail == closed.closed
    assert codes(scan=closed, run=running) == ["window_closed", "unit_running"]
    assert codes(scan=replace(closed, closed=None), run=running) == ["unit_running"]


def test_a_scan_whose_units_wait_for_another_says_who_has_what() -> None:
    waiting = scan(Status.STARTED, held=("nmap waits for 10.87.0.0/24, held by nmap of scan 7",))
    assert cause("waits_for_others", scan=waiting, run=run("RUNNING", "Running")).detail == waiting.held[0]


def test_an_ended_scan_says_who_was_told_and_who_was_not_and_why() -> None:
    tellings = (
        TellingSeen("smtp-mail/a", "delivered", 1, at=ago(5)),
        TellingSeen("slack-webhook/b", "pending", 2, "answered 500"),
        TellingSeen("signed-webhook/c", "given_up", 40, "it is gone"),
    )
    seen = scan(Status.SUCCESS, finished_at=ago(10), tellings=tellings)
    assert cause("told", scan=seen).detail == "told of it: smtp-mail/a"
    assert cause("to_be_told", scan=seen).detail == "still to be told of it: slack-webhook/b, answered 500"
    assert cause("not_told", scan=seen).remedy
    quiet = scan(Status.SUCCESS, finished_at=ago(10), tellings=(TellingSeen("smtp-mail/a", "not_needed"),))
    assert codes(scan=quiet)[-1] == "no_news"
    assert not {"told", "no_news"} & set(codes(scan=scan(Status.SUCCESS, finished_at=ago(10))))
