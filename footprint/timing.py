"""When something is done again and again: as people say it, and as Prefect's schedules take it.

What people say is `DAILY`, `WEEKLY` or `MONTHLY`, a cron expression, a rule of RFC 5545, or an interval. `DAILY` and
its kin are cron expressions of the moment at which they were said. A change of the clocks never makes a day run twice:
see `tasks.occurrences`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, Self, cast
from zoneinfo import ZoneInfo

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, TypeAdapter, field_validator, model_validator

Kind = Literal["cron", "rrule", "interval"]
PART = r"(?:INTERVAL|COUNT)=[0-9]{1,4}|UNTIL=[0-9]{8}(?:T[0-9]{6})?|WKST=[A-Z]{2}"
BY_PART = r"BY(?:DAY|MONTHDAY|MONTH|SETPOS|HOUR|MINUTE)=[A-Z0-9,+-]{1,200}"
RULE = re.compile(
    rf"(?:DTSTART:20[0-9]{{6}}T[0-9]{{6}}\n)?(?:RRULE:)?FREQ=(?:DAILY|WEEKLY|MONTHLY|YEARLY)(?:;(?:{PART}|{BY_PART}))*"
)
"""Finer ones are intervals or cron expressions: Prefect would count them from the start of the rule each time."""
CRON_FIELDS = 5
LAST_SURE_DAY = 28
LONGEST = timedelta(days=366)
TIME = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]")


@dataclass(frozen=True, slots=True)
class Timing:
    """What a Prefect schedule is made of. `rule` is a cron expression, a rule with its DTSTART, or seconds.

    An interval is counted from `anchor`, and in UTC: it is time that really passes.
    """

    kind: Kind
    rule: str
    timezone: str
    anchor: datetime | None = None

    def pack(self) -> dict[str, Any]:
        """For the store."""
        anchor = self.anchor.astimezone(UTC).isoformat() if self.anchor else None
        return {"kind": self.kind, "rule": self.rule, "timezone": self.timezone, "anchor": anchor}

    @classmethod
    def unpack(cls, packed: dict[str, Any]) -> Self:
        """From the store."""
        anchor = packed.get("anchor")
        moment = datetime.fromisoformat(anchor) if anchor else None
        return cls(cast(Kind, packed["kind"]), packed["rule"], packed["timezone"], moment)


WAYS = ("frequency", "cron", "rrule", "interval")


class RecurrenceFields(BaseModel):
    """The ways of saying how often, each by itself."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    frequency: Literal["DAILY", "WEEKLY", "MONTHLY"] | None = Field(
        default=None, description="At the time of day `at`; on the weekday, or the day of the month, of its creation."
    )
    at: str | None = Field(
        default=None, description="With `frequency`: a time such as 03:00; else the time of its creation."
    )
    cron: str | None = Field(
        default=None, max_length=200, description="Five fields: minute, hour, day, month, weekday."
    )
    rrule: str | None = Field(
        default=None,
        max_length=1000,
        description="A rule of RFC 5545, DAILY or rarer, such as FREQ=MONTHLY;BYDAY=1SA;BYHOUR=3; a line DTSTART:… may"
        " come before it.",
    )
    interval: int | str | None = Field(
        default=None, description="Seconds, or an ISO 8601 duration such as PT6H, of time that really passes."
    )
    anchor: AwareDatetime | None = Field(
        default=None, description="With `interval`: what it is counted from; else the moment of its creation."
    )

    @field_validator("anchor", mode="before")
    @classmethod
    def _written_out(cls, value: object) -> object:
        if isinstance(value, str):
            return datetime.fromisoformat(value)
        if value is not None and not isinstance(value, datetime):
            raise ValueError("a time such as 2026-01-01T00:00:00Z")
        return value

    @field_validator("at")
    @classmethod
    def _time_of_day(cls, value: str | None) -> str | None:
        if value is not None and not TIME.fullmatch(value):
            raise ValueError("a time of day such as 03:00")
        return value

    @field_validator("cron")
    @classmethod
    def _five_fields(cls, value: str | None) -> str | None:
        if value is not None and len(value.split()) != CRON_FIELDS:
            raise ValueError("five fields: minute, hour, day of the month, month, weekday")
        return None if value is None else " ".join(value.split())

    @field_validator("rrule")
    @classmethod
    def _rule(cls, value: str | None) -> str | None:
        if value is not None and not RULE.fullmatch(value):
            raise ValueError(
                "FREQ=DAILY, WEEKLY, MONTHLY or YEARLY, with INTERVAL, COUNT, UNTIL, BYDAY and its kin; what is more"
                " frequent is a `cron` or an `interval`"
            )
        return value

    @field_validator("interval")
    @classmethod
    def _span(cls, value: int | str | None) -> int | str | None:
        if value is not None:
            _seconds(value)
        return value

    def said(self) -> dict[str, Any]:
        """What was said of it, for the store."""
        return self.model_dump(mode="json", include={*WAYS, "at", "anchor"}, exclude_none=True)


class Recurrence(RecurrenceFields):
    """How often: exactly one of `frequency`, `cron`, `rrule` and `interval`."""

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if sum(getattr(self, name) is not None for name in WAYS) != 1:
            raise ValueError("exactly one of `frequency`, `cron`, `rrule` and `interval`")
        if self.at is not None and self.frequency is None:
            raise ValueError("`at` goes with `frequency`")
        if self.anchor is not None and self.interval is None:
            raise ValueError("`anchor` goes with `interval`")
        return self

    def timing(self, timezone: str, said_at: datetime) -> Timing:
        """What it means for somebody in that zone who says it at that moment."""
        here = said_at.astimezone(ZoneInfo(timezone))
        if self.interval is not None:
            return Timing("interval", str(_seconds(self.interval)), "UTC", (self.anchor or said_at).astimezone(UTC))
        if self.rrule is not None:
            rule = self.rrule if "RRULE:" in self.rrule else self.rrule.replace("FREQ=", "RRULE:FREQ=", 1)
            # Without one Prefect counts from 2020.
            start = "" if rule.startswith("DTSTART:") else f"DTSTART:{here:%Y%m%d}T000000\n"
            return Timing("rrule", start + rule, timezone)
        return Timing("cron", self.cron or self._as_cron(here), timezone)

    def kept(self, timing: Timing) -> dict[str, Any]:
        """What was said, with the time of day that it came to."""
        if self.frequency is None:
            return self.said()
        minute, hour = timing.rule.split()[:2]
        return self.said() | {"at": f"{hour:>02}:{minute:>02}"}

    def _as_cron(self, here: datetime) -> str:
        hour, minute = map(int, (self.at or f"{here:%H:%M}").split(":"))
        day = str(here.day) if here.day <= LAST_SURE_DAY else "L"
        days = {"DAILY": "* * *", "WEEKLY": f"* * {here.isoweekday() % 7}", "MONTHLY": f"{day} * *"}
        return f"{minute} {hour} {days[self.frequency or 'DAILY']}"


def as_said(timing: Timing) -> dict[str, Any]:
    """How one would say it that was made, or changed, in Prefect."""
    if timing.kind != "interval":
        return {timing.kind: timing.rule}
    anchor = timing.anchor.astimezone(UTC).isoformat() if timing.anchor else None
    return {"interval": int(timing.rule), "anchor": anchor}


def _seconds(interval: int | str) -> int:
    span = TypeAdapter(timedelta).validate_python(interval)
    if not timedelta(0) < span <= LONGEST or span % timedelta(seconds=1):
        raise ValueError("whole seconds, at most 366 days")
    return int(span.total_seconds())
