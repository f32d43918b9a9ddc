"""What a scan's row should say, given what Prefect says of its run: the store never claims that a dead run goes on."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from footprint.states import Status, status_of
from footprint.store.scans import Live
from footprint.text import clean
from footprint.verdict import Verdict

MESSAGE_KEPT = 500


@dataclass(frozen=True, slots=True)
class RunState:
    """A Prefect flow run, as far as a scan needs it."""

    id: UUID
    type: str
    name: str
    message: str
    has_started: bool
    ended_at: datetime | None

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
    """The row may take over what Prefect says."""

    status: Status
    state: str


def reconcile(scan: Live, run: RunState | None, now: datetime) -> Ended | Seen | None:
    """Compare a live row with its run; None says that they agree."""
    if run is None:
        return Ended(Verdict(Status.FAILURE, error="its run is not known to Prefect any more"), "Missing")
    if run.status.is_terminal:
        return Ended(_verdict(run), run.name, at=run.ended_at)
    if scan.lease_until is not None and scan.lease_until < now:
        since = scan.lease_until.isoformat(timespec="seconds")
        lost = Verdict(Status.FAILURE, error=f"the worker was lost: no sign of it since {since}")
        return Ended(lost, "Crashed", lost=True)
    if (run.status, run.name) != (scan.status, scan.state):
        return Seen(run.status, run.name)
    return None


def _verdict(run: RunState) -> Verdict:
    if run.status is Status.REVOKED:
        return Verdict(Status.REVOKED)
    said = clean(run.message, MESSAGE_KEPT) or "no reason given"
    if run.status is Status.SUCCESS:
        return Verdict(Status.FAILURE, error="its run ended without a verdict")
    word = "crashed" if run.type == "CRASHED" else "failed"
    return Verdict(Status.FAILURE, error=f"its run {word}: {said}")
