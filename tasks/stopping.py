"""How a scan is told to stop: a flag that its flow sets and its running units look at."""

from __future__ import annotations

from threading import Event
from uuid import UUID

_flags: dict[UUID, Event] = {}


def stop_flag(scan_id: UUID) -> Event:
    """The flag of a scan, shared by all units of it in this process."""
    return _flags.setdefault(scan_id, Event())
