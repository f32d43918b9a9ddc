"""Which tools are not to be run on a machine, since what came out of them was not what it should be."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from footprint.errors import NotFound
from footprint.store.chore_tables import ToolCheckRow
from footprint.store.tables import now

SAID_KEPT = 1000


class Outcome(StrEnum):
    """What the check of a tool came to. Only `changed` says something against the tool."""

    GOOD = "good"
    CHANGED = "changed"
    NOT_CHECKED = "not_checked"


@dataclass(frozen=True, slots=True)
class Checked:
    """A module's tool as it was checked: what came out, or why it could not be checked."""

    module: str
    outcome: Outcome
    said: str
    version: str | None = None


@dataclass(frozen=True, slots=True)
class CheckSeen:
    """The last check of a module's tool on a machine."""

    machine: str
    module: str
    checked_at: datetime
    outcome: Outcome
    version: str | None
    said: str
    quarantined_at: datetime | None


def note_check(session: Session, machine: str, checked: Checked) -> None:
    """Keep what a check came to: a changed tool is quarantined, a good one released, of others nothing new is known."""
    row = session.get(ToolCheckRow, (machine, checked.module)) or ToolCheckRow(machine=machine, module=checked.module)
    row.checked_at, row.outcome, row.version = now(), checked.outcome, checked.version
    if checked.outcome is Outcome.CHANGED:
        row.quarantined_at = row.quarantined_at or now()
    elif checked.outcome is Outcome.GOOD:
        row.quarantined_at = None
    # While a tool is quarantined, the reason is what is worth reading.
    if checked.outcome is not Outcome.NOT_CHECKED or row.quarantined_at is None:
        row.said = checked.said[:SAID_KEPT]
    session.add(row)


def release(session: Session, machine: str, module: str) -> None:
    """Let a tool be run again, whatever its check came to. Raises `NotFound` where it is not quarantined."""
    held = update(ToolCheckRow).where(ToolCheckRow.machine == machine, ToolCheckRow.module == module)
    held = held.where(ToolCheckRow.quarantined_at.is_not(None)).values(quarantined_at=None)
    if not session.scalars(held.returning(ToolCheckRow.module)).all():
        raise NotFound("this tool is not quarantined on this machine", hint="`pulsar modules` shows which are")


def reason_against(session: Session, machine: str, module: str) -> str | None:
    """Why a module's tool is not to be run on a machine, or None."""
    row = session.get(ToolCheckRow, (machine, module))
    return row.said if row and row.quarantined_at else None


def checks_of(session: Session, machine: str | None = None) -> tuple[CheckSeen, ...]:
    """The last check of each module's tool, on one machine or on all."""
    wanted = select(ToolCheckRow).order_by(ToolCheckRow.machine, ToolCheckRow.module)
    rows = session.scalars(wanted if machine is None else wanted.where(ToolCheckRow.machine == machine))
    return tuple(
        CheckSeen(
            row.machine, row.module, row.checked_at, Outcome(row.outcome), row.version, row.said, row.quarantined_at
        )
        for row in rows
    )
