"""When a schedule comes due, by Prefect's own reckoning: what is said here is what its scheduler does.

Where the clocks change, a cron expression or a rule of a time that is left out (02:30 in spring) comes due once, as
the clocks show 01:30. One of a time that comes twice comes due at the first. An interval is counted in UTC: Prefect
runs one of whole days twice as the clocks are set back in its zone.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

from dateutil.rrule import rrulestr
from prefect._vendor.croniter.croniter import CroniterError
from prefect.server.schemas.schedules import CronSchedule, IntervalSchedule, RRuleSchedule
from pydantic import ValidationError

from footprint.errors import InvalidSchedule
from footprint.faults import Fault
from footprint.timing import Timing

HORIZON = timedelta(days=5 * 366)
"""How far ahead a schedule must come due: every leap day is nearer."""
LOOKED_AT = 60
"""How many times in a row are held against the least interval."""


def occurrences(timing: Timing, start: datetime, count: int) -> list[datetime]:
    """The next times from `start` on, in UTC; fewer where it comes due less often. Raises `InvalidSchedule`."""
    try:
        found = _prefect_schedule(timing)._get_dates_generator(n=count, start=start, end=start + HORIZON)
        return [moment.astimezone(UTC) for moment in found]
    except (CroniterError, ValidationError, ValueError, TypeError, OverflowError):
        raise InvalidSchedule.because_of([Fault(timing.kind, "it is not one, or never comes due")]) from None


def next_after(timing: Timing, moment: datetime) -> datetime | None:
    """When it comes due after that moment, in UTC."""
    return next(iter(occurrences(timing, moment + timedelta(seconds=1), 1)), None)


def require_sound(timing: Timing, at: datetime, least: timedelta) -> None:
    """Raise `InvalidSchedule` where it never comes due, or more often than every `least`."""
    if timing.kind == "rrule":
        _require_readable(timing, at)
    coming = occurrences(timing, at, LOOKED_AT)
    if not coming:
        raise InvalidSchedule.because_of([Fault(timing.kind, "it does not come due within five years")])
    if any(gap < least for gap in _gaps(timing, coming)):
        problem = f"at least {int(least.total_seconds())} s between two runs (PULSAR_SCHEDULE_MIN_INTERVAL)"
        raise InvalidSchedule.because_of([Fault(timing.kind, problem)])


def _gaps(timing: Timing, coming: list[datetime]) -> list[timedelta]:
    """Between each two, as the clocks show it where that is more: they may have been set forward between them."""
    shown = [moment.replace(tzinfo=None) for moment in _in_zone(timing, coming)]
    passed = [after - before for before, after in pairwise(coming)]
    return [max(pair) for pair in zip(passed, (after - before for before, after in pairwise(shown)), strict=True)]


def _in_zone(timing: Timing, moments: list[datetime]) -> list[datetime]:
    return [moment.astimezone(ZoneInfo(timing.timezone)) for moment in moments]


def _require_readable(timing: Timing, at: datetime) -> None:
    """A rule that no day fulfils would be tried up to the year 9999, by Prefect's server as well."""
    here = at.replace(tzinfo=None)
    try:
        rule = rrulestr(timing.rule)
        # A rule with a COUNT ends by itself, and takes no second end.
        bounded = rule if rule._count else rule.replace(until=min(filter(None, (rule._until, here + HORIZON))))
        found = bounded.after(here - timedelta(days=2))
    except (ValueError, TypeError, OverflowError, AttributeError):
        raise InvalidSchedule.because_of([Fault("rrule", "a rule of RFC 5545 that makes sense")]) from None
    if found is None:
        raise InvalidSchedule.because_of([Fault("rrule", "it does not come due within five years")])


def _prefect_schedule(timing: Timing) -> CronSchedule | IntervalSchedule | RRuleSchedule:
    if timing.kind == "cron":
        return CronSchedule(cron=timing.rule, timezone=timing.timezone)
    if timing.kind == "rrule":
        return RRuleSchedule(rrule=timing.rule, timezone=timing.timezone)
    seconds = timedelta(seconds=int(timing.rule))
    return IntervalSchedule(interval=seconds, anchor_date=timing.anchor, timezone=timing.timezone)
