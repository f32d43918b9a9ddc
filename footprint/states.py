"""The one table between Prefect's states and the status words of the API (Celery's vocabulary)."""

from __future__ import annotations

from enum import StrEnum


class Status(StrEnum):
    """What `status` of a scan can say (Celery's task states)."""

    PENDING = "PENDING"
    STARTED = "STARTED"
    RETRY = "RETRY"
    SUCCESS = "SUCCESS"
    FAILURE = "FAILURE"
    REVOKED = "REVOKED"

    @property
    def is_terminal(self) -> bool:
        """Terminal statuses never change."""
        return self in TERMINAL


TERMINAL = frozenset({Status.SUCCESS, Status.FAILURE, Status.REVOKED})
LIVE = frozenset(Status) - TERMINAL

STATUS_OF_PREFECT_TYPE: dict[str, Status] = {
    "SCHEDULED": Status.PENDING,
    "PENDING": Status.PENDING,
    "RUNNING": Status.STARTED,
    "PAUSED": Status.STARTED,
    "CANCELLING": Status.STARTED,
    "COMPLETED": Status.SUCCESS,
    "FAILED": Status.FAILURE,
    "CRASHED": Status.FAILURE,
    "CANCELLED": Status.REVOKED,
}
"""Prefect's `StateType` → status. A test compares the keys with Prefect's own."""

RETRY_NAMES = frozenset({"AwaitingRetry", "Retrying"})


def status_of(state_type: str, state_name: str, *, started: bool) -> Status:
    """Translate a Prefect state (its type, its free-text name, whether the run ever started) into a status."""
    if state_name in RETRY_NAMES and started:
        return Status.RETRY
    return STATUS_OF_PREFECT_TYPE[state_type]
