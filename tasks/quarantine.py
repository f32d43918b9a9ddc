"""Whether this machine may run a module's tool: not while it is quarantined, see `tool_checks`."""

from __future__ import annotations

import socket
from functools import cache

from sqlalchemy.orm import Session

from footprint.errors import ToolQuarantined
from footprint.store.quarantine import reason_against


@cache
def machine() -> str:
    """What checks of this machine's tools are kept under."""
    return socket.gethostname()[:255]


def quarantine_of(session: Session, module: str) -> ToolQuarantined | None:
    """Why a module's tool is not run on this machine, or None where it may be."""
    reason = reason_against(session, machine(), module)
    return ToolQuarantined(f"{module}: quarantined on this machine: {reason}", hint=remedy(module)) if reason else None


def remedy(module: str) -> str:
    """What to do about a quarantined tool."""
    return f"install a version that was tried and `pulsar tools check`, or `pulsar tools release {module}`"
