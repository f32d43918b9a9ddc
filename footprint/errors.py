"""Every error of Pulsar, grouped by what the caller should do about it.

PulsarError
├── RequestError            fix the request
│   ├── InvalidTarget       it is not a name, an address or a network
│   ├── TargetRefused       it is one, and may not be touched
│   ├── NotAuthorized       nobody who may has allowed it to be looked at actively
│   ├── InvalidPolicy       no such policy, or one that contradicts itself
│   ├── InvalidSchedule     one that never comes due, or too often, or is not one
│   ├── InvalidExtension    its manifest or its script cannot be taken
│   ├── InvalidBackup       it is no sound copy of a store that this version knows
│   ├── InvalidWebhook      nothing may be sent to its address
│   ├── NotFound            nothing of that id
│   └── Conflict            it contradicts what is already there
├── InstallationError       install or grant something on this machine
│   ├── ToolMissing
│   ├── ToolTooOld
│   ├── ToolQuarantined     what it says of what is known is not what it should be
│   ├── NotPrivileged       it is there, and may not do what it is needed for
│   ├── FeedMissing         data that a module looks things up in was never fetched
│   ├── SandboxMissing      nothing here can hold a user's script
│   ├── FenceMissing        it was asked for, and no tool can be kept to its targets by the kernel here
│   ├── StoreNotMigrated
│   ├── BackupFailed        no copy of the store could be made, or put back
│   └── PlatformError       the platform cannot be started as asked
├── TransientError          try again later
│   ├── PrefectUnavailable
│   │   └── PrefectRefuses  it answers, and does not take our password
│   ├── StoreUnavailable
│   └── NotDelivered        a notification did not reach its receiver
└── UnitError               give this unit of work up; the scan goes on and says so
    ├── ToolTimedOut
    ├── ToolCrashed         it failed, by its own account
    ├── ToolKilled          a signal ended it that was not ours
    ├── TooHeavy            it cannot go as slowly as its destination's budget asks
    ├── StrayedOutOfScope   it sent to addresses that it was not given; the kernel stopped that
    ├── TargetUnreachable   the target refused, or said nothing at all
    ├── OutputTooLarge
    ├── OutputTruncated     it ends in the middle
    ├── OutputNotUnderstood
    ├── LookupFailed        a name server, or a service that was asked, gave no answer
    └── ScanStopped         the scan was cancelled, or its worker is going down
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Self

from footprint.faults import Fault

MOST_NAMED = 5
"""Faults that an error's sentence names; the others are counted."""


class PulsarError(Exception):
    """Anything Pulsar itself reports: a sentence for the operator, and what to do about it.

    `code` is the stable word in `{"error": code}`; `hint` says the remedy and may be empty. `detail` never
    repeats what the caller sent.
    """

    code: ClassVar[str] = "error"

    def __init__(self, detail: str, *, hint: str = "") -> None:
        super().__init__(detail)
        self.detail = detail
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.detail} ({self.hint})" if self.hint else self.detail


class RequestError(PulsarError):
    """The request must be changed."""

    code = "bad_request"


class InvalidTarget(RequestError):
    code = "invalid_target"


class TargetRefused(RequestError):
    code = "target_refused"


class NotAuthorized(RequestError):
    code = "not_authorized"


class FaultyRequest(RequestError):
    """`faults` are the fields at fault, where it is their doing."""

    def __init__(self, detail: str, *, hint: str = "", faults: Sequence[Fault] = ()) -> None:
        super().__init__(detail, hint=hint)
        self.faults = tuple(faults)

    @classmethod
    def because_of(cls, faults: Sequence[Fault]) -> Self:
        """The error that names these fields, each with its bound."""
        return cls(sentence_of(faults), faults=faults)


class InvalidPolicy(FaultyRequest):
    code = "invalid_policy"


class InvalidSchedule(FaultyRequest):
    code = "invalid_schedule"


def sentence_of(faults: Sequence[Fault]) -> str:
    """The first few faults, and how many more there are."""
    named = "; ".join(map(str, faults[:MOST_NAMED]))
    left = len(faults) - MOST_NAMED
    return f"{named}; and {left} more" if left > 0 else named


class InvalidExtension(RequestError):
    code = "invalid_extension"


class InvalidBackup(RequestError):
    code = "invalid_backup"


class InvalidWebhook(FaultyRequest):
    code = "invalid_webhook"

    def __init__(self, problem: str, *, hint: str = "") -> None:
        super().__init__(f"url: {problem}", hint=hint, faults=(Fault("url", problem),))


class NotFound(RequestError):
    code = "not_found"


class Conflict(RequestError):
    code = "conflict"


class InstallationError(PulsarError):
    """Something must be installed or granted on this machine."""

    code = "installation"


class ToolMissing(InstallationError):
    code = "tool_missing"


class ToolTooOld(InstallationError):
    code = "tool_too_old"


class ToolQuarantined(InstallationError):
    code = "tool_quarantined"


class NotPrivileged(InstallationError):
    code = "not_privileged"


class FeedMissing(InstallationError):
    code = "feed_missing"


class SandboxMissing(InstallationError):
    code = "sandbox_missing"


class FenceMissing(InstallationError):
    code = "fence_missing"


class StoreNotMigrated(InstallationError):
    code = "store_not_migrated"


class BackupFailed(InstallationError):
    code = "backup_failed"


class PlatformError(InstallationError):
    code = "platform"


class TransientError(PulsarError):
    """The same call may succeed later. `retry_after` is in seconds."""

    code = "unavailable"
    retry_after: ClassVar[int] = 5


class PrefectUnavailable(TransientError):
    code = "prefect_unavailable"


class PrefectRefuses(PrefectUnavailable):
    """It answers, and does not take our password."""


class StoreUnavailable(TransientError):
    code = "store_unavailable"


class NotDelivered(TransientError):
    code = "not_delivered"


class UnitError(PulsarError):
    """One unit of a scan gave no full answer; the scan goes on."""

    code = "unit_failed"


class ToolTimedOut(UnitError):
    code = "tool_timed_out"


class ToolCrashed(UnitError):
    code = "tool_crashed"


class ToolKilled(UnitError):
    code = "tool_killed"


class TooHeavy(UnitError):
    code = "too_heavy"


class StrayedOutOfScope(UnitError):
    code = "strayed_out_of_scope"


class TargetUnreachable(UnitError):
    code = "target_unreachable"


class OutputTooLarge(UnitError):
    code = "output_too_large"


class OutputTruncated(UnitError):
    code = "output_truncated"


class OutputNotUnderstood(UnitError):
    code = "output_not_understood"


class LookupFailed(UnitError):
    code = "lookup_failed"


class ScanStopped(UnitError):
    code = "scan_stopped"
