"""How a scan is told to stop: a flag that its flow sets and its running units look at; and a signal to wind down."""

from __future__ import annotations

import signal
from threading import Event
from uuid import UUID

WIND_DOWN = signal.SIGUSR1
"""What a worker sends a flow's process before SIGTERM: units that run may end, and none is begun any more."""

_flags: dict[UUID, Event] = {}
_is_winding_down = False


def stop_flag(scan_id: UUID) -> Event:
    """The flag of a scan, shared by all units of it in this process."""
    return _flags.setdefault(scan_id, Event())


def heed_winding_down() -> None:
    """Take note of `WIND_DOWN` from here on; without this it ends the process. For the main thread."""
    signal.signal(WIND_DOWN, _wind_down)


def is_winding_down() -> bool:
    """Whether this process was told to begin nothing new."""
    return _is_winding_down


def _wind_down(*_: object) -> None:
    global _is_winding_down
    _is_winding_down = True
