"""Comparisons of scans that have ended, kept while somebody turns their pages: neither scan changes any more."""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock
from typing import Annotated
from uuid import UUID

from fastapi import Depends, Request
from sqlalchemy.orm import Session

from footprint.store.differences import Drift, drift_of
from footprint.store.tables import Scan

KEPT = 4


class KeptDrifts:
    """The comparisons that were asked for last; safe to share between threads."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[UUID, UUID], Drift] = OrderedDict()
        self._lock = Lock()

    def of(self, session: Session, scan: Scan, against: Scan) -> Drift:
        """What differs in a scan against an earlier one."""
        pair = scan.id, against.id
        with self._lock:  # who asks for the next page meanwhile waits for this one's answer
            drift = self._kept.pop(pair, None) or drift_of(session, scan, against)
            self._kept[pair] = drift
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        return drift


def _kept(request: Request) -> KeptDrifts:
    kept: KeptDrifts = request.app.state.kept_drifts
    return kept


KeptDriftsDep = Annotated[KeptDrifts, Depends(_kept)]
