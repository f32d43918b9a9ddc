"""Why a scan is where it is: facts in, causes and one paragraph out. Nothing is asked here.

A cause of a new kind is a field in `Facts` (footprint/scan_facts.py), a function here that finds it there, and its name
in the list of the phase in which it counts (`WAITING`, `RUNNING`, `ENDED`). The first cause of a phase decides.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from footprint.durations import duration
from footprint.scan_facts import Cause, Facts, Trouble
from footprint.states import Status

SLOW_START = timedelta(seconds=60)
SILENT_AFTER = timedelta(seconds=15)
NAMED = 5
"""Scans, units and modules that are named before the rest is counted."""

TELLINGS = (
    ("delivered", "told", "told of it", ""),
    ("pending", "to_be_told", "still to be told of it", "it is tried again, for a day; is the receiver there?"),
    ("given_up", "not_told", "not told of it, and given up", "look at the receiver; `pulsar webhook test NAME`"),
    ("undecided", "to_be_decided", "may have to be told, once it is known what changed", ""),
    ("not_needed", "no_news", "not told of it, as there is nothing that its policy wants told", ""),
)
"""How far the telling of a receiver is: the cause's code, what is said, what to do where it was tried in vain."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """A paragraph for people, and the causes for programs. There is always at least one."""

    status: Status
    explanation: str
    causes: tuple[Cause, ...]


Finder = Callable[[Facts], Iterator[Cause]]


def explain(facts: Facts) -> Explanation:
    """Say why a scan is where it is."""
    finders, otherwise = _phase(facts)
    causes = tuple(cause for find in finders for cause in find(facts)) or (otherwise,)
    return Explanation(facts.scan.status, " ".join([_opening(facts), *map(_sentence, causes)]), causes)


def _phase(facts: Facts) -> tuple[Sequence[Finder], Cause]:
    if facts.scan.status.is_terminal:
        return ENDED, Cause("ended", "nothing more will come of it")
    if facts.scan.status is Status.STARTED:
        return RUNNING, Cause("between_units", "no unit runs at this moment: what comes next is being decided")
    soon = "a worker is online and takes it at one of its next looks, within seconds"
    return WAITING, Cause("about_to_start", soon)


def _opening(facts: Facts) -> str:
    scan = facts.scan
    name = f"The scan of {scan.target}{f', for schedule {scan.schedule},' if scan.schedule else ''}"
    if scan.status.is_terminal:
        begun = scan.started_at or scan.created_at
        return f"{name} ended after {_span(begun, scan.finished_at or begun)}: {scan.status}."
    if scan.status is Status.STARTED:
        again = f", attempt {scan.attempt}" if scan.attempt > 1 else ""
        return f"{name} has run for {_span(scan.started_at or scan.created_at, facts.now)}{again}: {scan.progress} %."
    return f"{name} has waited for {_span(scan.created_at, facts.now)}: {scan.status}."


def _sentence(cause: Cause) -> str:
    remedy = f" ({cause.remedy})" if cause.remedy else ""
    return f"{cause.detail[:1].upper()}{cause.detail[1:].rstrip('.')}{remedy}."


def _span(begin: datetime, end: datetime) -> str:
    return duration(max(0.0, (end - begin).total_seconds()))


def _prefect_away(facts: Facts) -> Iterator[Cause]:
    if facts.away is None:
        return
    last = f"; it was last heard {_span(facts.heard_at, facts.now)} ago" if facts.heard_at else ""
    effect = "the scan goes on meanwhile" if facts.scan.status is Status.STARTED else "no scan begins meanwhile"
    remedy = "start the platform: `pulsar up`; where it runs, logs/prefect.log in its home says more"
    yield Cause("prefect_away", f"{facts.away}{last}; {effect}", remedy, facts.heard_at)


def _run_gone(facts: Facts) -> Iterator[Cause]:
    if facts.away is not None:
        return
    if facts.run is None:
        yield Cause("run_missing", "Prefect does not know its run any more: it will be ended", "ask for it anew")
    elif facts.run.state_type in ("COMPLETED", "FAILED", "CRASHED", "CANCELLED"):
        said = f"its run has ended in Prefect ({facts.run.state}), and the store takes that over within seconds"
        yield Cause("being_settled", said, since=facts.run.since)


def _no_worker(facts: Facts) -> Iterator[Cause]:
    if (pool := facts.pool) is None:
        if facts.away is None:
            yield Cause("pool_missing", "Prefect has no work pool for scans", "`pulsar up` makes it")
        return
    if (facts.run and facts.run.state_type == "PENDING") or pool.is_served(facts.now, facts.silence):
        return
    last, polled = pool.last_seen, pool.polled_at()
    since = polled or (last.heard_at if last else None)
    seen = f"the last one, {last.name}, was there {_span(since, facts.now)} ago" if last and since else "none ever was"
    remedy = "`pulsar worker` starts one, and `pulsar up` the platform with one"
    yield Cause("no_worker", f"no worker is online in the pool {pool.name}: {seen}", remedy, since)


def _paused(facts: Facts) -> Iterator[Cause]:
    if (pool := facts.pool) is None:
        return
    if pool.is_paused:
        remedy = f"`prefect work-pool resume {pool.name}`, or the switch in the Prefect UI"
        yield Cause("pool_paused", f"the pool {pool.name} is paused", remedy)
    queue = pool.queue(facts.run.queue if facts.run else None)
    # A paused pool pauses its queues.
    if queue and queue.is_paused and not pool.is_paused:
        remedy = f"`prefect work-queue resume {queue.name} --pool {pool.name}`, or the switch in the Prefect UI"
        yield Cause("queue_paused", f"the queue {queue.name} of the pool {pool.name} is paused", remedy)


def _limit_reached(facts: Facts) -> Iterator[Cause]:
    pool, run = facts.pool, facts.run
    if pool is None or run is None or run.state_type != "SCHEDULED":
        return
    line = f"; number {facts.ahead + 1} in the line"
    if pool.is_full:
        held = f"the pool {pool.name} runs at most {pool.limit} at once, and all places are held"
        yield Cause("pool_full", f"{held}{_held_by(facts)}{line}", "wait, or raise PULSAR_SCANS_AT_ONCE")
    queue = pool.queue(run.queue)
    inside = sum(holder.queue == queue.name for holder in pool.holders) if queue else 0
    if queue and queue.limit is not None and inside >= queue.limit and not pool.is_full:
        held = f"the queue {queue.name} runs at most {queue.limit} at once, and all places are held"
        remedy = f"wait, or `prefect work-queue set-concurrency-limit {queue.name} N --pool {pool.name}`"
        yield Cause("queue_full", f"{held}{_held_by(facts)}{line}", remedy)
    if run.state == "AwaitingConcurrencySlot":
        yield Cause("deployment_full", f"the deployment's own limit of runs is reached{line}", "wait", run.since)


def _held_by(facts: Facts) -> str:
    holders = facts.pool.holders if facts.pool else ()
    named = [
        f"{facts.others[run.id][1]} ({facts.others[run.id][0]})" if run.id in facts.others else run.name
        for run in holders[:NAMED]
    ]
    more = f" and {len(holders) - NAMED} more" if len(holders) > NAMED else ""
    return f" by {', '.join(named)}{more}" if named else ""


def _scheduled(facts: Facts) -> Iterator[Cause]:
    run = facts.run
    if run is None or run.state_type != "SCHEDULED" or run.due is None or facts.scan.is_queued:
        return
    if run.due > facts.now:
        if _goes_on_at(facts):
            return  # why, and until the same moment, is said already
        when = f"{run.due:%Y-%m-%d %H:%M:%S} UTC, in {_span(facts.now, run.due)}"
        yield Cause("scheduled_later", f"its run is to begin at {when}", since=run.since)
    elif run.state == "Late":
        remedy = "where no other reason is named, the worker's log says more"
        yield Cause("late", f"its run is late: it was to begin {_span(run.due, facts.now)} ago", remedy, run.due)


def _put_back(facts: Facts) -> Iterator[Cause]:
    said, at = facts.scan.put_back or "", _goes_on_at(facts)
    if facts.scan.is_queued:
        yield Cause("queued", said, "wait, or cancel that scan")
    elif at:
        named, left = f"{at:%Y-%m-%d %H:%M}", _span(facts.now, at)
        # A window's reason names the moment itself.
        when = f", in {left}" if named in said else f"; it goes on from {named} UTC on, in {left}"
        yield Cause("put_back", f"{said}{when}")


def _goes_on_at(facts: Facts) -> datetime | None:
    """When a scan that was put back goes on, where that is still to come."""
    at = facts.scan.resume_at or (facts.run.due if facts.run else None)
    return at if facts.scan.put_back and at and at > facts.now else None


def _closed(facts: Facts) -> Iterator[Cause]:
    if facts.scan.closed:
        yield Cause("window_closed", facts.scan.closed)


def _held(facts: Facts) -> Iterator[Cause]:
    for said in facts.scan.held:
        yield Cause(
            "waits_for_others", said, "wait; PULSAR_TOOL_LIMITS and the policy's budget say how much goes at once"
        )


def _being_started(facts: Facts) -> Iterator[Cause]:
    run = facts.run
    if run is None or run.state_type not in ("PENDING", "RUNNING") or facts.scan.status is Status.STARTED:
        return
    if _goes_on_at(facts):
        return  # its flow has put it back, and is about to tell Prefect
    slow = facts.now - run.since > SLOW_START
    remedy = "that takes seconds as a rule: the worker's log says more" if slow else ""
    said = f"a worker has taken it {_span(run.since, facts.now)} ago and starts it"
    yield Cause("being_started", said, remedy, run.since)


def _being_stopped(facts: Facts) -> Iterator[Cause]:
    run = facts.run
    since = facts.scan.cancelled_at or (run.since if run and run.state_type == "CANCELLING" else None)
    if since:
        # What runs waits for nothing but, here, for processes to end.
        stuck = facts.scan.put_back if facts.scan.status is Status.STARTED else None
        said = f"it is being cancelled since {_span(since, facts.now)}{f': {stuck}' if stuck else ''}"
        remedy = "it is tried again; end them by hand on the worker's machine" if stuck else ""
        yield Cause("being_cancelled", said, remedy, since)
    elif run and run.state_type == "PAUSED":
        yield Cause(
            "run_paused", f"its run is paused in Prefect ({run.state})", "resume it in the Prefect UI", run.since
        )


def _silent(facts: Facts) -> Iterator[Cause]:
    renewed = facts.scan.renewed_at
    if renewed and facts.now - renewed > SILENT_AFTER:
        said = (
            f"no sign of life from its worker for {_span(renewed, facts.now)}; after a minute the scan counts as lost"
        )
        yield Cause("silent", said, "is the worker's machine up, and does it reach the store?", renewed)


def _units(facts: Facts) -> Iterator[Cause]:
    scan = facts.scan
    for unit in scan.units[:NAMED]:
        left = timedelta(seconds=scan.unit_timeout) - (facts.now - unit.since)
        limit = f", given up after {duration(scan.unit_timeout)} at the latest" if left > timedelta() else ""
        far = f", {unit.progress} % done" if unit.progress else ""
        targets = f"{unit.targets} target{'' if unit.targets == 1 else 's'}"
        said = f"running: {unit.module} batch {unit.batch} ({targets}) for {_span(unit.since, facts.now)}{far}{limit}"
        yield Cause("unit_running", said, since=unit.since)
    more, waiting = len(scan.units) - NAMED, scan.waiting
    if more > 0:
        yield Cause("units_running", f"{more} more units run")
    if waiting and scan.units:
        yield Cause("units_waiting", f"{waiting} more unit{' is' if waiting == 1 else 's are'} to come")


def _verdict(facts: Facts) -> Iterator[Cause]:
    scan = facts.scan
    if scan.status is Status.SUCCESS:
        much = (
            "not all that was planned was looked at; found" if scan.troubles else "all that was planned was looked at"
        )
        yield Cause("success", f"{much}: {scan.found}", since=scan.finished_at)
    elif scan.status is Status.REVOKED:
        when = "while it ran: what it had found is kept" if scan.started_at else "before it began"
        yield Cause("revoked", f"it was cancelled {when}", since=scan.finished_at)
    else:
        yield Cause("failure", f"the reason: {scan.error or 'none was given'}", since=scan.finished_at)


def _troubles(facts: Facts) -> Iterator[Cause]:
    troubles = facts.scan.troubles
    for trouble in troubles[:NAMED]:
        units = f" ({trouble.units} units)" if trouble.units > 1 else ""
        yield Cause(f"module_{trouble.status}", f"{trouble.status}: {_of_module(trouble)}{units}", trouble.hint)
    if len(troubles) > NAMED:
        yield Cause("modules_failed", f"{len(troubles) - NAMED} more reasons", "the scan's `warnings` name them")


def _of_module(trouble: Trouble) -> str:
    error = trouble.error or "no reason was given"
    return error if error.startswith(f"{trouble.module}:") else f"{trouble.module}: {error}"


def _warnings(facts: Facts) -> Iterator[Cause]:
    warnings = facts.scan.warnings
    if not warnings:
        return
    first = (
        f"one warning: {warnings[0]}" if len(warnings) == 1 else f"{len(warnings)} warnings, the first: {warnings[0]}"
    )
    yield Cause("warnings", first, "" if len(warnings) == 1 else f"`pulsar status {facts.scan.id}` shows them all")


def _told(facts: Facts) -> Iterator[Cause]:
    tellings = facts.scan.tellings
    for status, code, said, remedy in TELLINGS:
        some = [one for one in tellings if one.status == status]
        if some:
            names = ", ".join(f"{one.receiver}{f', {one.error}' if one.error else ''}" for one in some[:NAMED])
            is_in_vain = any(one.error for one in some)
            yield Cause(code, f"{said}: {names}", remedy if is_in_vain else "", since=some[0].at)


WAITING: tuple[Finder, ...] = (
    _put_back, _prefect_away, _run_gone, _being_stopped, _paused, _no_worker, _limit_reached, _scheduled,
    _being_started,
)  # fmt: skip
"""Why a scan that has not begun, or waits for another try, waits."""
RUNNING: tuple[Finder, ...] = (_run_gone, _being_stopped, _silent, _closed, _units, _held, _prefect_away)
"""What a scan that runs is at."""
ENDED: tuple[Finder, ...] = (_verdict, _troubles, _warnings, _told)
"""With what verdict a scan ended, and why."""
