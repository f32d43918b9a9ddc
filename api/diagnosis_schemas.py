"""What the explanation and the log of a scan look like over the wire."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel

from footprint.explanation import Explanation
from footprint.journal import Entry, Level
from footprint.states import Status


class CauseOut(BaseModel):
    """One reason: a stable word, a sentence, what to do (empty where there is nothing to do), since when."""

    code: str
    detail: str
    remedy: str
    since: datetime | None


class ExplanationOut(BaseModel):
    """Why a scan is where it is: a paragraph for people, the causes for programs, at least one."""

    status: Status
    explanation: str
    causes: list[CauseOut]

    @classmethod
    def of(cls, found: Explanation) -> ExplanationOut:
        """An explanation, as it is shown."""
        causes = [
            CauseOut(code=one.code, detail=one.detail, remedy=one.remedy, since=one.since) for one in found.causes
        ]
        return cls(status=found.status, explanation=found.explanation, causes=causes)


class LogLineOut(BaseModel):
    """A line of a scan's log. `module` and `batch` are null where the scan itself speaks.

    `stderr` is what the unit's tool said last, on the line of its error. `source` is prefect, or store for what the
    unit's row tells; `id` is the same each time.
    """

    id: str
    at: datetime
    level: Level
    module: str | None
    batch: int | None
    message: str
    stderr: list[str]
    source: str

    @classmethod
    def of(cls, entry: Entry) -> LogLineOut:
        """A line, as it is shown."""
        return cls.model_validate(entry, from_attributes=True)
