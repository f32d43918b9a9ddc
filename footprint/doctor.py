"""Is everything in order? Facts in, lines out: each ok, warn or fail, and what to do. Nothing is asked here.

Every line has its entry in `CHECKS`, from which the README's troubleshooting table is made.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from footprint.durations import duration
from footprint.home_disk import SpoolSeen
from footprint.platform_facts import PoolSeen, PrefectSeen
from footprint.states import Status

GIGABYTE = 1_000_000_000
LITTLE_SPACE, TOO_LITTLE_SPACE = 2 * GIGABYTE, 200_000_000
SMALL_DRIFT, LARGE_DRIFT = 5.0, 60.0
OLD_FEED = timedelta(days=7)
OLD_CHORE = timedelta(days=3)
LONG_PENDING = timedelta(minutes=10)
LEASE_GRACE = timedelta(seconds=60)
NAMED = 3
NO_SPOOL = SpoolSeen()


class Health(StrEnum):
    """How a part is. A scan fails, or does not begin, where one fails."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Line:
    """What was found of one part, by its name in `CHECKS`."""

    name: str
    health: Health
    detail: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Check:
    """A part that is looked at: what an operator notices when it is not in order, and what helps as a rule."""

    symptom: str
    remedy: str


CHECKS: dict[str, Check] = {
    "api": Check("the command says that no platform runs", "`pulsar up`; `PULSAR_API_URL` for one elsewhere"),
    "store": Check(
        "503 `store_unavailable`; nothing can be read or kept",
        "start the database that `PULSAR_DATABASE_URL` names; give the home's owner the right to write",
    ),
    "migrations": Check("the platform refuses the store after an update", "`pulsar up` once: it migrates"),
    "prefect": Check(
        "503 `prefect_unavailable`; scans stay PENDING", "`pulsar up`; with a server of your own, start that"
    ),
    "prefect_auth": Check("Prefect answers 401", "give `PREFECT_API_AUTH_STRING` the server's value"),
    "pool": Check("scans stay PENDING although a worker is there", "resume the pool or its queue in the Prefect UI"),
    "workers": Check("scans stay PENDING; `explain` says `no_worker`", "`pulsar worker`, or `pulsar up` again"),
    "schedules": Check(
        "a scheduled scan does not come, or comes late", "resume it in the Prefect UI; more places or workers"
    ),
    "clock": Check("times are odd; scheduled scans come early or late", "set the clocks by NTP: `timedatectl`"),
    "disk": Check("the store cannot write; tools fail on their output", "make room where `PULSAR_HOME` is"),
    "stuck_scans": Check(
        "a scan neither goes on nor ends", "`pulsar explain ID`; the platform settles lost ones itself"
    ),
    "leftovers": Check("the home grows while nothing runs", "`pulsar cleanup` removes them"),
    "tools": Check("scans end with warnings that name a tool", "what the line says; `pulsar modules` shows all"),
    "privileges": Check(
        "nmap connects instead of SYN scans",
        "run the worker as root, or with ambient `CAP_NET_RAW` and `CAP_NET_ADMIN`",
    ),
    "sandbox": Check("extensions are skipped", "bubblewrap 0.8 or newer, and user namespaces"),
    "notifications": Check(
        "nobody hears of scans although a policy has `notify`",
        "what the line says; `pulsar webhook test NAME`; a Prefect block in the Prefect UI, under Blocks",
    ),
    "feeds": Check("`cve_match` is skipped, or misses new CVEs", "`pulsar feeds update`, daily"),
    "quarantine": Check(
        "scans end with warnings that a tool is quarantined", "`pulsar tools check` says what it says now; release it"
    ),
    "cleanup": Check("the store grows and grows", "`pulsar cleanup`; resume its schedule in the Prefect UI"),
    "backup": Check("there is nothing to restore", "`pulsar backup`; resume its schedule in the Prefect UI"),
}


@dataclass(frozen=True, slots=True)
class LiveScan:
    """A scan that has not ended. `lease_until` is None until it has begun; `waiting` says what for it waits."""

    id: UUID
    status: Status
    created_at: datetime
    lease_until: datetime | None
    waiting: str | None = None


@dataclass(frozen=True, slots=True)
class FeedSeen:
    """A vulnerability feed: when it was last read to its end, and what went wrong since."""

    name: str
    updated_at: datetime | None
    error: str | None


@dataclass(frozen=True, slots=True)
class ChoreSeen:
    """A chore, the last time that it was done, and what came of it."""

    name: str
    at: datetime
    is_well: bool
    said: str


@dataclass(frozen=True, slots=True)
class TellingTrouble:
    """A receiver that cannot be told: how many notifications wait for it or were given up lately; the last error."""

    receiver: str
    waiting: int
    given_up: int
    error: str

    def __str__(self) -> str:
        counts = ((self.waiting, "waiting"), (self.given_up, "given up"))
        said = " and ".join(f"{count} {word}" for count, word in counts if count)
        return f"{self.receiver}: {said}: {self.error}"


def ok(name: str, detail: str) -> Line:
    """A part that is in order."""
    return Line(name, Health.OK, detail)


def warn(name: str, detail: str, remedy: str = "") -> Line:
    """A part that does less than it should."""
    return Line(name, Health.WARN, detail, remedy or CHECKS[name].remedy)


def fail(name: str, detail: str, remedy: str = "") -> Line:
    """A part without which scans do not begin or do not end well."""
    return Line(name, Health.FAIL, detail, remedy or CHECKS[name].remedy)


def unknown(*names: str) -> Iterator[Line]:
    """Parts that could not be looked at, for want of another."""
    return (Line(name, Health.WARN, "not known") for name in names)


def judge_prefect(seen: PrefectSeen, ours: str, now: datetime, silence: timedelta) -> Iterator[Line]:
    """A server that answers. `ours` is the version of Prefect here; `silence`, what a worker may take to ask again."""
    if seen.version == ours:
        yield ok("prefect", f"answers, version {seen.version}")
    else:
        remedy = "run the server with the version that this Pulsar is pinned to"
        yield warn("prefect", f"it is of version {seen.version}, and this Pulsar of {ours}", remedy)
    yield ok("prefect_auth", "it takes our requests")
    if seen.pool is None:
        yield fail("pool", "there is no work pool for scans", "`pulsar up` makes it, or `prefect work-pool create`")
        yield fail("workers", "without a pool there are none")
    else:
        yield _judge_pool(seen.pool)
        yield _judge_workers(seen.pool, now, silence)
    yield _judge_schedules(seen)


def prefect_away(detail: str, *, refused: bool) -> Iterator[Line]:
    """A server that does not answer, or takes us for a stranger."""
    if refused:
        yield ok("prefect", "it answers")
        yield fail("prefect_auth", detail)
    else:
        yield fail("prefect", detail)
        yield from unknown("prefect_auth")
    yield from unknown("pool", "workers", "schedules")


def _judge_pool(pool: PoolSeen) -> Line:
    limit = "without a limit" if pool.limit is None else f"{pool.held} of {pool.limit} places held"
    if pool.is_paused:
        return warn("pool", "paused: no scan begins", f"`prefect work-pool resume {pool.name}`")
    paused = [queue.name for queue in pool.queues if queue.is_paused]
    if paused:
        return warn("pool", f"paused queues: {', '.join(paused)}")
    if pool.limit == 0:
        return warn(
            "pool", "its limit is 0: no scan begins", f"`prefect work-pool set-concurrency-limit {pool.name} 4`"
        )
    return ok("pool", f"ready, {limit}")


def _judge_workers(pool: PoolSeen, now: datetime, silence: timedelta) -> Line:
    online = [worker.name for worker in pool.workers if worker.is_online]
    if pool.is_served(now, silence):
        return ok("workers", f"online: {', '.join(online)}")
    polled = pool.polled_at()
    if online and polled:
        ago = duration((now - polled).total_seconds())
        return fail("workers", f"none has asked for work for {ago}, of {', '.join(online)}")
    last = pool.last_seen
    seen = f"; the last, {last.name}, was there at {last.heard_at:%Y-%m-%d %H:%M} UTC" if last else ""
    return fail("workers", f"none is online{seen}")


def _judge_schedules(seen: PrefectSeen) -> Line:
    found = seen.schedules
    if found is None:
        return fail("schedules", "the flow is not deployed", "`pulsar up` deploys it, or `prefect deploy --all`")
    if found.late:
        return warn("schedules", f"late runs: {found.late}", "more places (PULSAR_SCANS_AT_ONCE) or workers")
    if found.is_deployment_paused:
        return warn("schedules", "all are paused", "resume the deployment in the Prefect UI")
    if found.paused:
        return warn(
            "schedules", f"{found.paused} paused", "`pulsar schedule list` names them, and `resume` resumes one"
        )
    return ok("schedules", f"{found.active} active, none late")


def judge_clock(drifts: dict[str, float | None]) -> Line:
    """How far the clocks of others, by name, are from ours, in seconds; None where one could not be read."""
    known = {name: drift for name, drift in drifts.items() if drift is not None}
    if not known:
        return Line("clock", Health.WARN, "there is nothing to compare it with")
    name, drift = max(known.items(), key=lambda pair: abs(pair[1]))
    if abs(drift) <= SMALL_DRIFT:
        return ok("clock", f"agrees with {' and '.join(sorted(known))}")
    way = "ahead of" if drift > 0 else "behind"
    said = f"that of {name} is {duration(abs(drift))} {way} this machine's"
    return fail("clock", said) if abs(drift) > LARGE_DRIFT else warn("clock", said)


def judge_disk(free: int) -> Line:
    """What is free where the home is, in bytes."""
    said = f"{free / GIGABYTE:.1f} GB free"
    if free < TOO_LITTLE_SPACE:
        return fail("disk", said)
    return warn("disk", said) if free < LITTLE_SPACE else ok("disk", said)


def judge_scans(scans: Iterable[LiveScan], now: datetime, *, may_begin: bool) -> Line:
    """Scans that should have gone on. `may_begin` says that a pool, a worker and a place are there to begin one."""
    stuck = [scan for scan in scans if _is_stuck(scan, now, may_begin=may_begin)]
    if not stuck:
        return ok("stuck_scans", "none")
    ids = [str(scan.id) for scan in stuck]
    return warn("stuck_scans", f"{len(stuck)}: {_some(ids)}", f"`pulsar explain {ids[0]}`")


def _is_stuck(scan: LiveScan, now: datetime, *, may_begin: bool) -> bool:
    if scan.status is Status.STARTED:
        return scan.lease_until is None or now - scan.lease_until > LEASE_GRACE
    return may_begin and not scan.waiting and now - scan.created_at > LONG_PENDING


def judge_leftovers(names: Sequence[str], spool: SpoolSeen = NO_SPOOL) -> Line:
    """Directories of scans that have ended, and results that the store did not take."""
    found, remedies = [], []
    if names:
        found.append(f"{len(names)} directories of scans that are over: {_some(sorted(names))}")
        remedies.append(CHECKS["leftovers"].remedy)
    if spool.waiting:
        found.append(f"results in the spool that wait for the store: {spool.waiting}, of {_some(spool.scans)}")
        remedies.append("mend the store: the scan goes on then, or `pulsar explain ID` says why not")
    if spool.broken:
        found.append(f"files in the spool that cannot be read: {spool.broken}, of {_some(spool.scans)}")
        remedies.append("their units ran again: they go with their scan's end, or remove them")
    return warn("leftovers", "; ".join(found), "; ".join(remedies)) if found else ok("leftovers", "none")


def judge_notifications(troubles: Sequence[TellingTrouble]) -> Line:
    """Receivers that cannot be told."""
    if not troubles:
        return ok("notifications", "none is overdue")
    return warn("notifications", _some([str(one) for one in troubles]))


def judge_feeds(feeds: Sequence[FeedSeen], now: datetime) -> Line:
    """How old what is known of vulnerabilities is."""
    read = [feed for feed in feeds if feed.updated_at]
    if not read:
        return warn("feeds", "none was ever read")
    broken = [f"{feed.name}: {feed.error}" for feed in feeds if feed.error]
    if broken:
        return warn("feeds", _some(broken))
    oldest = max(now - feed.updated_at for feed in read if feed.updated_at)
    said = f"read {duration(oldest.total_seconds())} ago"
    return warn("feeds", said) if oldest > OLD_FEED else ok("feeds", said)


def judge_chore(name: str, chores: Sequence[ChoreSeen], now: datetime) -> Line:
    """When a chore with a line of its own was last done."""
    last = next((chore for chore in chores if chore.name == name), None)
    if last is None:
        # A platform that is new has its first night before it.
        return ok(name, "not done yet")
    said = f"{duration((now - last.at).total_seconds())} ago: {last.said}"
    return warn(name, said) if not last.is_well or now - last.at > OLD_CHORE else ok(name, said)


def judge_quarantine(held: Sequence[str]) -> Line:
    """Tools that are not run, each with its machine."""
    if not held:
        return ok("quarantine", "no tool is quarantined")
    return warn("quarantine", f"not run: {_some(held)}")


def _some(words: Sequence[str]) -> str:
    more = f" and {len(words) - NAMED} more" if len(words) > NAMED else ""
    return ", ".join(words[:NAMED]) + more
