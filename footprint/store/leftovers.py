"""What killed processes leave on this machine's disk: the work directories of scans that have ended, and their own."""

from __future__ import annotations

import shutil
from datetime import timedelta
from pathlib import Path
from uuid import UUID

from sqlalchemy import select

from footprint.held_directories import clear_forsaken
from footprint.home_disk import leftovers
from footprint.states import LIVE
from footprint.store.engine import Store
from footprint.store.tables import Scan, now

PATIENCE = timedelta(seconds=20)
"""How long after its scan's end a flow may take to leave its directory itself."""


def clear_leftovers(store: Store, work_dir: Path) -> list[UUID]:
    """Remove the directories of scans that ended a while ago; returns whose they were. Raises `StoreUnavailable`.

    A directory of a scan that the store does not know is left: it may be another installation's. What belonged to a
    process that is dead, and to no scan, goes too.
    """
    clear_forsaken(work_dir)
    there = [UUID(name) for name in leftovers(work_dir, ())]
    if not there:
        return []
    over = select(Scan.id).where(Scan.status.not_in(LIVE), Scan.finished_at < now() - PATIENCE)
    with store.read() as session:
        ended = set(session.scalars(over.where(Scan.id.in_(there))))
    gone = [scan_id for scan_id in there if scan_id in ended]
    for scan_id in gone:
        shutil.rmtree(work_dir / str(scan_id), ignore_errors=True)
    return gone
