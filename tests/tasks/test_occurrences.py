"""When schedules come due, by Prefect's own reckoning: also where the clocks change, and where they never do."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from pydantic import ValidationError

from footprint.errors import InvalidSchedule
from footprint.timing import Recurrence, Timing
from tasks.occurrences import next_after, occurrences, require_sound

BERLIN = "Europe/Berlin"
SAID_AT = datetime(2027, 1, 1, 1, 30, tzinfo=UTC)
"""A Friday, 02:30 in Berlin."""
QUARTER = timedelta(minutes=15)
SPRING, AUTUMN = datetime(2027, 3, 28, tzinfo=UTC), datetime(2027, 10, 31, tzinfo=UTC)
"""The days of the changes in 2027, in UTC at 01:00."""


def _timing(**said: object) -> Timing:
    return Recurrence.model_validate(said).timing(BERLIN, SAID_AT)


def _days(timing: Timing, around: datetime) -> list[str]:
    """When it comes due on three days, as the clocks of Berlin show it: however often and whenever it is asked."""
    first = (around - timedelta(days=1)).replace(tzinfo=ZoneInfo(BERLIN))
    last = first + timedelta(days=3)
    found: set[datetime] = set()
    asked = first.astimezone(UTC)
    while asked < last:
        found |= {moment for moment in occurrences(timing, asked, 4) if moment < last}
        asked += timedelta(minutes=13, seconds=7)
    return [f"{moment.astimezone(ZoneInfo(BERLIN)):%m-%d %H:%M}" for moment in sorted(found)]


@pytest.mark.parametrize(
    "timing",
    [
        _timing(cron="30 2 * * *"),
        _timing(frequency="DAILY"),
        _timing(frequency="DAILY", at="02:30"),
        _timing(rrule="FREQ=DAILY;BYHOUR=2;BYMINUTE=30"),
    ],
)
def test_a_day_on_which_the_clocks_change_runs_once(timing: Timing) -> None:
    assert _days(timing, SPRING) == ["03-27 02:30", "03-28 01:30", "03-29 02:30"]
    assert _days(timing, AUTUMN) == ["10-30 02:30", "10-31 02:30", "11-01 02:30"]
    (first, *_) = occurrences(timing, AUTUMN - timedelta(hours=2), 1)
    assert first == AUTUMN + timedelta(minutes=30), "the first of the two"


def test_an_interval_is_time_that_passes_whatever_the_clocks_do() -> None:
    timing = _timing(interval="P1D")
    assert _days(timing, SPRING) == ["03-27 02:30", "03-28 03:30", "03-29 03:30"]
    assert _days(timing, AUTUMN) == ["10-30 03:30", "10-31 02:30", "11-01 02:30"]


@pytest.mark.parametrize(
    ("said", "due"),
    [
        ({"frequency": "DAILY"}, "2027-01-02 02:30"),
        ({"frequency": "WEEKLY"}, "2027-01-08 02:30"),
        ({"frequency": "WEEKLY", "at": "05:00"}, "2027-01-01 05:00"),
        ({"frequency": "MONTHLY"}, "2027-02-01 02:30"),
        ({"cron": "0  3 * * mon#1"}, "2027-01-04 03:00"),
        ({"rrule": "FREQ=MONTHLY;BYDAY=1SA;BYHOUR=3"}, "2027-01-02 03:00"),
        ({"rrule": "DTSTART:20270105T060000\nRRULE:FREQ=WEEKLY;INTERVAL=2;COUNT=2"}, "2027-01-05 06:00"),
        ({"rrule": "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=29"}, "2028-02-29 00:00"),
        ({"interval": 5400}, "2027-01-01 04:00"),
        ({"interval": "PT6H", "anchor": "2027-01-01T00:00:00+01:00"}, "2027-01-01 06:00"),
    ],
)
def test_what_is_said_comes_due_when_it_should(said: dict[str, object], due: str) -> None:
    timing = _timing(**said)
    require_sound(timing, SAID_AT, QUARTER)
    following = next_after(timing, SAID_AT)
    assert following is not None
    assert f"{following.astimezone(ZoneInfo(BERLIN)):%Y-%m-%d %H:%M}" == due
    assert Timing.unpack(timing.pack()) == timing


def test_a_month_that_has_no_such_day_is_not_left_out() -> None:
    last = Recurrence(frequency="MONTHLY").timing(BERLIN, datetime(2027, 1, 31, 12, tzinfo=UTC))
    days = [moment.day for moment in occurrences(last, datetime(2027, 2, 1, tzinfo=UTC), 3)]
    assert days == [28, 31, 30]


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ({"cron": "0 0 30 2 *"}, "never comes due"),
        ({"cron": "61 * * * *"}, "it is not one"),
        ({"cron": "R * * * *"}, "it is not one"),
        ({"rrule": "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30"}, "does not come due"),
        ({"rrule": "FREQ=DAILY;UNTIL=20261231"}, "does not come due"),
        ({"rrule": "DTSTART:20200101T000000\nFREQ=DAILY;COUNT=2"}, "does not come due"),
        ({"rrule": "FREQ=DAILY;BYHOUR=99"}, "makes sense"),
        ({"rrule": "FREQ=MONTHLY;BYDAY=XX"}, "makes sense"),
        ({"cron": "* * * * *"}, "at least 900 s"),
        ({"cron": "0,14 3 * * *"}, "at least 900 s"),
        ({"rrule": "FREQ=DAILY;BYHOUR=3;BYMINUTE=0,5"}, "at least 900 s"),
        ({"interval": 899}, "at least 900 s"),
    ],
)
def test_what_never_comes_due_or_too_often_is_refused(said: dict[str, object], problem: str) -> None:
    with pytest.raises(InvalidSchedule, match=problem) as refused:
        require_sound(_timing(**said), SAID_AT, QUARTER)
    assert [fault.field for fault in refused.value.faults] == [next(iter(said))]


def test_hours_that_the_clocks_leave_out_do_not_count_as_too_often() -> None:
    timing = _timing(cron="30 1,3 * * *")
    require_sound(timing, SPRING - timedelta(hours=3), timedelta(hours=2))
    with pytest.raises(InvalidSchedule):
        require_sound(timing, SPRING - timedelta(hours=3), timedelta(hours=2, seconds=1))


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"frequency": "DAILY", "cron": "0 3 * * *"},
        {"frequency": "HOURLY"},
        {"frequency": "DAILY", "at": "24:00"},
        {"cron": "0 3 * * *", "at": "03:00"},
        {"cron": "0 0 3 * * *"},
        {"cron": "@daily"},
        {"rrule": "FREQ=SECONDLY"},
        {"rrule": "FREQ=MINUTELY;INTERVAL=30"},
        {"rrule": "FREQ=DAILY\nEXDATE:20270101T000000"},
        {"rrule": "DTSTART:00010101T000000\nFREQ=DAILY"},
        {"interval": 0},
        {"interval": -60},
        {"interval": "PT0.5S"},
        {"interval": "P2Y"},
        {"interval": "often"},
        {"interval": 3600, "anchor": "2027-01-01T00:00:00"},
        {"frequency": "DAILY", "anchor": "2027-01-01T00:00:00Z"},
    ],
)
def test_what_is_no_way_of_saying_how_often_is_refused(said: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Recurrence.model_validate(said)
