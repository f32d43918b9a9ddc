"""What the REST API answers of schedules, as far as the `pulsar` command reads it."""

from __future__ import annotations

from deployments.answers import Answer
from footprint.notify_rules import NotifyRules
from footprint.states import Status


class LastScan(Answer):
    """The scan that a schedule asked for last."""

    id: str
    status: Status
    created_at: str = ""


class ScheduleRun(Answer):
    """A time it came due, and what became of it; times are ISO 8601 text."""

    due_at: str | None = None
    came_at: str = ""
    outcome: str = ""
    reason: str | None = None
    scans: tuple[str, ...] = ()


class Schedule(Answer):
    """A schedule as `/api/schedules/{id}/` shows it; times are ISO 8601 text."""

    id: str
    origin: str = "api"
    deployment: str | None = None
    slug: str | None = None
    target: str | None = None
    asset: str | None = None
    policy: str = ""
    frequency: str | None = None
    at: str | None = None
    cron: str | None = None
    rrule: str | None = None
    interval: int | str | None = None
    timezone: str = "UTC"
    overlap: str | None = "skip"
    comment: str = ""
    notify: NotifyRules | None = None
    state: str = ""
    prefect_away: bool = False
    next_runs: tuple[str, ...] = ()
    last_scan: LastScan | None = None
    last_run: ScheduleRun | None = None
    skipped: int = 0

    @property
    def how_often(self) -> str:
        """How often, in words."""
        if self.interval is not None:
            return f"every {self.interval}{' s' if isinstance(self.interval, int) else ''}"
        if self.frequency is not None:
            return f"{self.frequency.lower()} {self.at or ''}".strip() + f" {self.timezone}"
        return f"{self.cron or self.rrule} {self.timezone}"

    @property
    def what(self) -> str:
        """What it scans, in words."""
        return self.target or (f"asset {self.asset}" if self.asset else "nothing")

    @property
    def is_kept_in_prefect(self) -> bool:
        """True of one that the API does not keep: it is in prefect.yaml, or was made in the Prefect UI."""
        return self.origin == "prefect"
