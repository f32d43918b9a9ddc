"""What a scan's row should say, given what Prefect says of its run: the store never claims that a dead run goes on."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from footprint.states import Status, status_of
from footprint.store.resumption import CRASH_PAUSE, MOST_RESUMES
from footprint.store.scans import LEASE, Live
from footprint.text import clean
from footprint.verdict import Verdict

MESSAGE_KEPT = 500
LONGEST_GAP = 5.0
START_PATIENCE = timedelta(seconds=60)
"""How long a run that is to be taken up again may say that it runs, before that counts as what is left of the last."""

TAKEN_PATIENCE = timedelta(seconds=60)
"""How long a run that a worker has taken may go without its flow's having begun. One that is later is fenced."""


@dataclass(frozen=True, slots=True)
class RunState:
    """A Prefect flow run, as far as a scan needs it. `since` is when it came to its state, by Prefect's clock."""

    id: UUID
    type: str
    name: str
    message: str
    has_started: bool
    ended_at: datetime | None
    since: datetime | None = None

    @property
    def status(self) -> Status:
        """The status that this state means."""
        return status_of(self.type, self.name, started=self.has_started)


@dataclass(frozen=True, slots=True)
class Ended:
    """The row must be ended. `lost` says that the run itself still claims to go on, and must be ended too."""

    verdict: Verdict
    state: str
    at: datetime | None = None
    lost: bool = False


@dataclass(frozen=True, slots=True)
class Seen:
    """The row may take over what Prefect says. `is_cancelled` says that somebody asked for its end there."""

    status: Status
    state: str
    is_cancelled: bool = False


@dataclass(frozen=True, slots=True)
class PutBack:
    """The worker was lost, and the scan goes on at `at`. `lost` as in `Ended`."""

    reason: str
    at: datetime
    lost: bool = False


@dataclass(frozen=True, slots=True)
class Reschedule:
    """It is time for the next attempt, or for the first where a worker dropped it: Prefect must have the run again."""


class Silence:
    """For how long each running scan has given no sign of life, by the looks of the one who asks.

    A sign of life is a changed lease. Clocks of other machines do not matter, and neither does a sleep of one's own:
    a gap between two looks counts as `LONGEST_GAP` at most.
    """

    def __init__(self) -> None:
        self._heard: dict[UUID, tuple[datetime | None, float]] = {}
        self._looked_at = time.monotonic()

    def look(self, scans: Sequence[Live]) -> dict[UUID, float]:
        """Seconds without a sign of life, by scan; 0 for those that have not begun."""
        looked_at = time.monotonic()
        gap = min(looked_at - self._looked_at, LONGEST_GAP)
        self._looked_at = looked_at
        heard = {}
        for scan in scans:
            lease, silent = self._heard.get(scan.id, (None, 0.0))
            is_same = scan.lease_until is not None and scan.lease_until == lease
            heard[scan.id] = (scan.lease_until, silent + gap if is_same else 0.0)
        self._heard = heard
        return {scan_id: silent for scan_id, (_, silent) in heard.items()}


Step = Ended | PutBack | Reschedule | Seen


def reconcile(scan: Live, run: RunState | None, silent: float, at: datetime) -> Step | None:
    """Compare a live row with its run; None says that they agree. `silent` is in seconds, from `Silence`."""
    if run is None:
        missing = Verdict(Status.FAILURE, error="its run is not known to Prefect any more")
        return Ended(Verdict(Status.REVOKED) if scan.is_cancelled else missing, "Missing")
    is_silent = silent > LEASE.total_seconds()
    if run.type == "CANCELLING" and (scan.lease_until is None or is_silent):
        return Ended(Verdict(Status.REVOKED), "Cancelled", lost=True)  # no flow is there to hear of it
    if run.status.is_terminal and (scan.is_cancelled or run.status is Status.REVOKED):
        return Ended(Verdict(Status.REVOKED), "Cancelled", at=run.ended_at)
    if scan.is_cancelled and scan.lease_until is None:
        return Ended(Verdict(Status.REVOKED), "Cancelled", lost=True)  # it was put back before, or as it was cancelled
    is_due = _was_dropped(scan, run, at) or _is_due(scan, run, at)
    if is_due or scan.resume_at is not None:
        return Reschedule() if is_due else _seen(scan, run)
    if run.status.is_terminal:
        return _crashed(scan, run, at) if run.type == "CRASHED" else Ended(_verdict(run), run.name, at=run.ended_at)
    if is_silent:
        return _silent(scan, silent, at)
    return _seen(scan, run)


def _seen(scan: Live, run: RunState) -> Seen | None:
    is_cancelled = run.type == "CANCELLING" and not scan.is_cancelled
    # What is to be resumed is begun by its flow, whatever its run says until then.
    status = scan.status if scan.status is Status.RETRY or scan.resume_at is not None else run.status
    if (status, run.name) == (scan.status, scan.state) and not is_cancelled:
        return None
    return Seen(status, run.name, is_cancelled)


def _was_dropped(scan: Live, run: RunState, at: datetime) -> bool:
    """True where a worker took the run and its flow never began: both died in between, and no other is offered it.

    A run that is to be taken up again may still say that it runs, of its last attempt: `_is_due` waits for that.
    """
    is_taken = run.type == "PENDING" or (run.type == "RUNNING" and scan.resume_at is None)
    if not is_taken or run.since is None or scan.lease_until is not None:
        return False
    return at - run.since > TAKEN_PATIENCE


def _is_due(scan: Live, run: RunState, at: datetime) -> bool:
    if scan.resume_at is None or run.type in ("SCHEDULED", "PENDING"):
        return False
    return at >= (scan.resume_at if run.status.is_terminal else scan.resume_at + START_PATIENCE)


def _crashed(scan: Live, run: RunState, at: datetime) -> PutBack | Ended:
    verdict = _verdict(run)
    if scan.losses >= MOST_RESUMES:
        return Ended(_given_up(verdict.error or "", run.ended_at or at), run.name, at=run.ended_at)
    return PutBack(f"worker lost at {_moment(run.ended_at or at)}: {verdict.error}", at + CRASH_PAUSE)


def _silent(scan: Live, silent: float, at: datetime) -> PutBack | Ended:
    said, since = f"no sign of it for {round(silent)} s", at - timedelta(seconds=silent)
    if scan.is_cancelled:
        return Ended(Verdict(Status.REVOKED), "Cancelled", lost=True)
    if scan.losses >= MOST_RESUMES:
        return Ended(_given_up(said, since), "Crashed", lost=True)
    return PutBack(f"worker lost at {_moment(since)}: {said}", at, lost=True)


def _given_up(said: str, since: datetime) -> Verdict:
    error = f"worker lost at {_moment(since)}: {said}; the scan had been resumed {MOST_RESUMES} times before"
    return Verdict(Status.FAILURE, error=error)


def _moment(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def _verdict(run: RunState) -> Verdict:
    said = clean(run.message, MESSAGE_KEPT) or "no reason given"
    if run.status is Status.SUCCESS:
        return Verdict(Status.FAILURE, error="its run ended without a verdict")
    word = "crashed" if run.type == "CRASHED" else "failed"
    return Verdict(Status.FAILURE, error=f"its run {word}: {said}")
