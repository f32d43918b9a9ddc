"""What a scan's row should say, given what Prefect says of its run: the store never claims that a dead run goes on."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from footprint.states import Status, status_of
from footprint.store.scans import LEASE, Live
from footprint.text import clean
from footprint.verdict import Verdict

MESSAGE_KEPT = 500
LONGEST_GAP = 5.0


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


def reconcile(scan: Live, run: RunState | None, silent: float) -> Ended | Seen | None:
    """Compare a live row with its run; None says that they agree. `silent` is in seconds, from `Silence`."""
    if run is None:
        return Ended(Verdict(Status.FAILURE, error="its run is not known to Prefect any more"), "Missing")
    if run.status.is_terminal:
        return Ended(_verdict(run), run.name, at=run.ended_at)
    if silent > LEASE.total_seconds():
        lost = Verdict(Status.FAILURE, error=f"the worker was lost: no sign of it for {round(silent)} s")
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
