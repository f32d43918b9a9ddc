"""The lines that the API and `pulsar doctor` have in common: Prefect's, the store's, those of the home."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from footprint import doctor
from footprint.doctor import Line
from footprint.errors import StoreUnavailable
from footprint.home_disk import free_space, leftovers
from footprint.platform_facts import PrefectSeen
from footprint.scan_facts import silence_of
from footprint.settings import Settings
from footprint.spool import Spool
from footprint.store.checkup import StoreSeen, look_into, trouble_writing
from footprint.store.chores import BACKUP, CLEANUP
from footprint.store.engine import Store, is_migrated


def check_store(store: Store, *, by_writing: bool) -> tuple[list[Line], StoreSeen | None]:
    """Reachable, of this version's shape, writable; and what is in it, where it can be read.

    To try `by_writing` waits for whoever writes at that moment, and makes others wait.
    """
    try:
        if not is_migrated(store):
            return [doctor.ok("store", "answers"), doctor.fail("migrations", "it is not of this version's shape")], None
        seen = look_into(store)
    except StoreUnavailable as away:
        return [doctor.fail("store", str(away)), *doctor.unknown("migrations")], None
    trouble = trouble_writing(store) if by_writing else None
    line = doctor.fail("store", f"nothing can be written: {trouble}") if trouble else doctor.ok("store", "answers")
    return [line, doctor.ok("migrations", "all are applied")], seen


def check_home(settings: Settings, stored: StoreSeen | None, prefect: PrefectSeen | None) -> Iterator[Line]:
    """Clock, disk, scans, what they left, feeds, chores: as far as the store and Prefect could be asked."""
    now = datetime.now(UTC)
    drifts = {
        "the database": stored.drift if stored else None,
        "the Prefect server": prefect.drift if prefect else None,
    }
    yield doctor.judge_clock(drifts)
    yield doctor.judge_disk(free_space(settings.home))
    if stored is None:
        yield from doctor.unknown(
            "stuck_scans", "leftovers", "notifications", "feeds", "quarantine", "cleanup", "backup"
        )
        return
    yield doctor.judge_scans(stored.live, now, may_begin=_may_begin(settings, prefect, now))
    left = leftovers(settings.work_dir, {scan.id for scan in stored.live})
    yield doctor.judge_leftovers(left, Spool(settings.spool_dir).look())
    yield doctor.judge_notifications(stored.untold)
    yield doctor.judge_feeds(stored.feeds, now)
    yield doctor.judge_quarantine(stored.quarantined)
    yield doctor.judge_chore(CLEANUP, stored.chores, now)
    yield doctor.judge_chore(BACKUP, stored.chores, now)


def _may_begin(settings: Settings, prefect: PrefectSeen | None, now: datetime) -> bool:
    pool = prefect.pool if prefect else None
    if pool is None or pool.is_paused or pool.is_full or any(queue.is_paused for queue in pool.queues):
        return False
    return pool.is_served(now, silence(settings))


def silence(settings: Settings) -> timedelta:
    """How long a pool may go without being asked for runs before nobody counts as being there."""
    return silence_of(settings.worker_poll_seconds)
