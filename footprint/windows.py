"""When a scan may work: time windows of a policy, and the dates on which there is none.

A window is wall-clock time in a zone of its own: `22:00` stays 22:00 when the clocks change. What a change of the
clocks leaves out counts as the moment it jumps over; what comes twice opens at the first and closes at the first.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Literal, Self
from zoneinfo import ZoneInfo, available_timezones

from dateutil.rrule import rrule, rrulestr
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
WEEK: tuple[Weekday, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
RULE = re.compile(r"FREQ=(DAILY|WEEKLY|MONTHLY|YEARLY)(;(INTERVAL|BY(DAY|MONTHDAY|MONTH|SETPOS))=[A-Z0-9,+-]+)*")
ANCHOR = datetime(2024, 1, 1)  # noqa: DTZ001 -- a calendar day, in whatever zone the window has
"""What an INTERVAL of a rule is counted from: a Monday, and the first of a month and a year."""
LONGEST = timedelta(days=7)
HORIZON = timedelta(days=366)
"""How far ahead an opening is looked for."""
CYCLE = timedelta(days=28 * 366)
"""After so long weekdays and leap years come as they did before."""
EARLINESS = timedelta(seconds=1)
"""By how much Prefect may start a run before its time: it waits in whole seconds."""

Span = tuple[datetime, datetime]


class TimeWindow(BaseModel):
    """A time in which a scan may work, on some days, in one zone.

    The days are weekdays, or a rule of RFC 5545 (`FREQ=MONTHLY;BYDAY=1SA`). It ends at `until`, on the next day where
    that is not later than `from`, or after `duration` (ISO 8601, `PT4H`) of time that really passes.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, serialize_by_alias=True)

    days: tuple[Weekday, ...] = Field(default=WEEK, min_length=1, max_length=7)
    rrule: str | None = Field(default=None, max_length=200, description="In place of `days`: RFC 5545, days only.")
    start: time = Field(alias="from", description="When it opens, such as 22:00.")
    until: time | None = Field(default=None, description="When it closes.")
    duration: timedelta | None = Field(default=None, gt=timedelta(0), le=LONGEST, description="In place of `until`.")
    timezone: str = Field(default="UTC", max_length=64, description="A name of the IANA time zone database.")

    @field_validator("start", "until")
    @classmethod
    def _without_zone(cls, value: time | None) -> time | None:
        if value is not None and value.tzinfo is not None:
            raise ValueError("a window's times are without an offset: `timezone` says which they are of")
        return value

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        if value not in available_timezones():
            raise ValueError("the time zone is a name such as Europe/Berlin")
        return value

    @field_validator("rrule")
    @classmethod
    def _rule(cls, value: str | None) -> str | None:
        if value is not None:
            if not RULE.fullmatch(value):
                raise ValueError("a rule names days: FREQ, INTERVAL, BYDAY, BYMONTHDAY, BYMONTH, BYSETPOS")
            rrulestr(value, dtstart=ANCHOR)  # raises ValueError where it makes no sense
        return value

    @model_validator(mode="after")
    def _one_of_each(self) -> Self:
        if (self.until is None) == (self.duration is None):
            raise ValueError("a window has either `until` or `duration`")
        if self.rrule is not None and "days" in self.model_fields_set and self.days != WEEK:
            raise ValueError("a window has either `days` or `rrule`")
        return self

    @property
    def zone(self) -> ZoneInfo:
        """The zone that its times are of."""
        return ZoneInfo(self.timezone)

    @property
    def ever_opens(self) -> bool:
        """False where its rule names days that no calendar has, such as the 31st of February."""
        return self.rrule is None or any(True for _ in self.spans(ANCHOR.date(), (ANCHOR + CYCLE).date()))

    def spans(self, first: date, last: date) -> Iterator[Span]:
        """When it is open, in UTC, on the days from `first` to `last`."""
        rule = self.rrule or f"FREQ=WEEKLY;BYDAY={','.join(day[:2].upper() for day in self.days)}"
        # Bounded, or a rule that no day fulfils would be tried up to the year 9999.
        days = rrulestr(rule, dtstart=ANCHOR)
        assert isinstance(days, rrule)
        for day in days.replace(until=_midnight(last)).between(_midnight(first), _midnight(last), inc=True):
            yield self._span(day.date())

    def _span(self, day: date) -> Span:
        opens = _instant(day, self.start, self.zone)
        if self.duration is not None:
            return opens, opens + self.duration
        assert self.until is not None
        closing = day if self.until > self.start else day + timedelta(days=1)
        return opens, _instant(closing, self.until, self.zone)


@dataclass(frozen=True, slots=True)
class Open:
    """Work may be begun. `until` is when that ends; None says that it does not."""

    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Closed:
    """No work may be begun. `opens_at` is None where no window opens within a year."""

    opens_at: datetime | None

    def __str__(self) -> str:
        """Why a scan waits, in words."""
        if self.opens_at is None:
            return "no window of its policy opens within a year"
        return f"window opens at {self.opens_at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def standing(windows: Sequence[TimeWindow], blackouts: Sequence[date], at: datetime) -> Open | Closed:
    """Whether work may be begun at this moment, and until or from when.

    Without windows it always may, but on blackout dates, which are then days of UTC; with windows they are days of the
    zone of each.
    """
    if not windows and not blackouts:
        return Open()
    always = TimeWindow(start=time(), until=time())
    spans = sorted(span for window in windows or (always,) for span in _open(window, blackouts, at))
    closes: datetime | None = None
    for opens, ends in spans:
        if opens > (closes or at):
            break
        if ends > at:
            closes = max(closes or ends, ends)
    if closes is not None:
        return Open(closes)
    return Closed(next((opens for opens, _ in spans if opens > at), None))


def _open(window: TimeWindow, blackouts: Sequence[date], at: datetime) -> Iterator[Span]:
    """The spans of a window around and after a moment, without its blackout dates."""
    today = at.astimezone(window.zone).date()
    closed = [
        (_instant(day, time(), window.zone), _instant(day + timedelta(days=1), time(), window.zone))
        for day in sorted(set(blackouts))
    ]
    for span in window.spans(today - LONGEST - timedelta(days=1), today + HORIZON):
        yield from _without(span, closed)


def _without(span: Span, closed: Sequence[Span]) -> Iterator[Span]:
    opens, ends = span
    for begins, over in closed:
        if over <= opens or begins >= ends:
            continue
        if begins > opens:
            yield opens, begins
        opens = over
    if opens < ends:
        yield opens, ends


def _instant(day: date, at: time, zone: ZoneInfo) -> datetime:
    return datetime.combine(day, at, zone).astimezone(UTC)


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time())
