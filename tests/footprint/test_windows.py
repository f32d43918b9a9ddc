"""Time windows: open or closed at a moment, in a zone, also when its clocks change."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from footprint.windows import Closed, Open, TimeWindow, standing


def _window(**words: Any) -> TimeWindow:
    return TimeWindow.model_validate({"from": "22:00", "until": "02:00"} | words)


def _at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def _stands(at: str, *windows: TimeWindow, blackouts: tuple[str, ...] = ()) -> Open | Closed:
    return standing(windows, [date.fromisoformat(day) for day in blackouts], _at(at))


def test_without_windows_it_is_always_open() -> None:
    assert _stands("2026-05-04 12:00") == Open()


@pytest.mark.parametrize(
    ("at", "stands"),
    [
        ("2026-05-04 21:59:59", Closed(_at("2026-05-04 22:00"))),
        ("2026-05-04 22:00", Open(_at("2026-05-05 02:00"))),
        ("2026-05-05 01:59:59", Open(_at("2026-05-05 02:00"))),
        ("2026-05-05 02:00", Closed(_at("2026-05-05 22:00"))),
    ],
)
def test_a_window_is_open_from_its_first_moment_to_before_its_last(at: str, stands: Open | Closed) -> None:
    assert _stands(at, _window()) == stands


def test_weekdays_are_those_on_which_it_opens() -> None:
    weekend = _window(days=["fri"], until="06:00")
    assert _stands("2026-05-04 12:00", weekend) == Closed(_at("2026-05-08 22:00"))
    assert _stands("2026-05-09 05:00", weekend) == Open(_at("2026-05-09 06:00"))


def test_a_rule_names_days_as_rfc_5545_does() -> None:
    first_saturday = _window(rrule="FREQ=MONTHLY;BYDAY=1SA")
    assert _stands("2026-05-04 12:00", first_saturday) == Closed(_at("2026-06-06 22:00"))
    assert _stands("2026-06-07 01:00", first_saturday) == Open(_at("2026-06-07 02:00"))


def test_windows_that_meet_are_one() -> None:
    late, early = _window(until="00:00"), _window(**{"from": "00:00", "until": "04:00"})
    assert _stands("2026-05-04 23:00", early, late) == Open(_at("2026-05-05 04:00"))


def test_a_duration_may_be_longer_than_a_day() -> None:
    long = _window(days=["sat"], until=None, duration="PT48H")
    assert _stands("2026-05-10 23:00", long) == Open(_at("2026-05-11 22:00"))


@pytest.mark.parametrize(
    ("winter", "summer"), [("2026-03-27 21:00", "2026-03-29 20:00"), ("2026-10-25 21:00", "2026-10-24 20:00")]
)
def test_wall_clock_times_stay_when_the_clocks_change(winter: str, summer: str) -> None:
    berlin = _window(timezone="Europe/Berlin")
    for opening in (winter, summer):
        second = timedelta(seconds=1)
        assert standing([berlin], [], _at(opening) - second) == Closed(_at(opening))
        assert isinstance(standing([berlin], [], _at(opening)), Open)


def test_the_night_of_a_change_is_an_hour_shorter_or_longer() -> None:
    berlin = _window(until="04:00", timezone="Europe/Berlin")
    assert _stands("2026-03-28 22:00", berlin) == Open(_at("2026-03-29 02:00"))
    assert _stands("2026-10-24 22:00", berlin) == Open(_at("2026-10-25 03:00"))


def test_a_duration_is_time_that_passes_whatever_the_clocks_do() -> None:
    berlin = _window(until=None, duration="PT6H", timezone="Europe/Berlin")
    assert _stands("2026-03-28 22:00", berlin) == Open(_at("2026-03-29 03:00"))


def test_a_time_that_the_clocks_leave_out_is_the_moment_they_jump_to() -> None:
    berlin = _window(**{"from": "02:30", "until": "05:00"}, timezone="Europe/Berlin")
    assert _stands("2026-03-29 01:00", berlin) == Closed(_at("2026-03-29 01:30"))


def test_a_time_that_comes_twice_opens_at_the_first_and_closes_at_the_first() -> None:
    opens = _window(**{"from": "02:30", "until": "05:00"}, timezone="Europe/Berlin")
    closes = _window(until="02:30", timezone="Europe/Berlin")
    assert _stands("2026-10-25 00:00", opens) == Closed(_at("2026-10-25 00:30"))
    assert _stands("2026-10-24 22:00", closes) == Open(_at("2026-10-25 00:30"))


def test_on_a_blackout_date_nothing_is_open_and_a_window_into_it_closes_at_midnight() -> None:
    berlin = _window(timezone="Europe/Berlin")
    stands = [_stands(at, berlin, blackouts=("2026-12-25",)) for at in ("2026-12-24 21:30", "2026-12-25 21:30")]
    assert stands == [Open(_at("2026-12-24 23:00")), Closed(_at("2026-12-25 23:00"))]


def test_blackouts_alone_are_days_of_utc() -> None:
    assert _stands("2026-12-25 10:00", blackouts=("2026-12-25", "2026-12-26")) == Closed(_at("2026-12-27 00:00"))
    assert _stands("2026-12-24 10:00", blackouts=("2026-12-25",)) == Open(_at("2026-12-25 00:00"))


def test_what_never_opens_is_said() -> None:
    never = _stands("2026-05-04 12:00", _window(rrule="FREQ=DAILY;BYMONTH=2;BYMONTHDAY=31"))
    assert never == Closed(None)
    assert str(never) == "no window of its policy opens within a year"


def test_an_opening_is_said_in_words() -> None:
    assert str(_stands("2026-05-04 12:00", _window())) == "window opens at 2026-05-04 22:00:00 UTC"


def test_a_window_survives_being_frozen_into_a_scan() -> None:
    window = _window(days=["mon"], until=None, duration="PT90M", timezone="America/New_York")
    assert TimeWindow.model_validate(window.model_dump(mode="json")) == window


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"until": None}, "either `until` or `duration`"),
        ({"duration": "PT1H"}, "either `until` or `duration`"),
        ({"until": None, "duration": "PT0S"}, "greater than 0"),
        ({"until": None, "duration": "P8D"}, "less than or equal to 7 days"),
        ({"days": []}, "at least 1"),
        ({"days": ["Monday"]}, "'mon'"),
        ({"days": ["mon"], "rrule": "FREQ=DAILY"}, "either `days` or `rrule`"),
        ({"rrule": "FREQ=SECONDLY"}, "a rule names days"),
        ({"rrule": "FREQ=DAILY;COUNT=3"}, "a rule names days"),
        ({"rrule": "DTSTART:20260101T000000\nRRULE:FREQ=DAILY"}, "a rule names days"),
        ({"rrule": "FREQ=MONTHLY;BYDAY=9XX"}, "Value error"),
        ({"from": "22:00+02:00"}, "without an offset"),
        ({"timezone": "Berlin"}, "time zone is a name"),
        ({"timezone": "../etc/passwd"}, "time zone is a name"),
        ({"every": "day"}, "Extra inputs"),
    ],
)
def test_a_window_that_makes_no_sense_is_refused(words: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        _window(**words)
