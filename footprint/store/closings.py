"""What a scan that runs waits for once its window has closed in mid-scan."""

from __future__ import annotations

from datetime import datetime

from footprint.policy import ScanPolicy
from footprint.states import Status
from footprint.store.tables import Scan
from footprint.windows import Closed


def closed_upon(scan: Scan, at: datetime) -> str | None:
    """Why a scan that runs begins no unit at this moment, in words; None where its window is open, or it is cancelled.

    It follows from the policy that is frozen into the scan, as what its flow does: nothing is written down for it.
    """
    is_bound = bool(scan.policy.get("windows") or scan.policy.get("blackouts"))
    if not is_bound or scan.status != Status.STARTED or scan.cancelled_at:
        return None
    stands = ScanPolicy.model_validate(scan.policy).standing_at(at)
    return (
        f"its window has closed: units that run end, and no other begins; {stands}"
        if isinstance(stands, Closed)
        else None
    )
