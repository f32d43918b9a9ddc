"""Chores as they are done on a schedule or by hand, each written down with what came of it, for the doctor."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from footprint.errors import BackupFailed, ToolMissing
from footprint.settings import Settings
from footprint.store import Store
from footprint.store.chores import BACKUP, CHECK_TOOLS, REFRESH_FEEDS, note_chore
from footprint.store.copies import Copy
from footprint.store.quarantine import Checked, Outcome
from tasks.copies import back_up
from tasks.feeds import Fetcher
from tasks.tool_checks import check_tools


def make_backup(settings: Settings, store: Store) -> Copy:
    """Copy the store into the home. Raises `BackupFailed`, or `ToolMissing` where a program for it is not here."""
    try:
        copy = back_up(settings)
    except (BackupFailed, ToolMissing) as failure:
        _note(store, BACKUP, str(failure), is_well=False)
        raise
    _note(store, BACKUP, f"{copy.path.name}, {copy.bytes} bytes", is_well=True)
    return copy


def check_all_tools(settings: Settings, store: Store) -> list[Checked]:
    """Check every tool, and quarantine those that changed."""
    found = check_tools(settings, store)
    _note(store, CHECK_TOOLS, tally(found), is_well=not changed(found))
    return found


def changed(found: Sequence[Checked]) -> list[str]:
    """The modules whose tool changed."""
    return [checked.module for checked in found if checked.outcome is Outcome.CHANGED]


def tally(found: Sequence[Checked]) -> str:
    """How many checks came to what."""
    counts = Counter(checked.outcome for checked in found)
    return ", ".join(f"{outcome.replace('_', ' ')}: {counts[outcome]}" for outcome in Outcome)


def refresh_all_feeds(settings: Settings, store: Store) -> dict[str, str]:
    """Bring the feeds up to date; returns what went wrong, by feed."""
    problems = Fetcher(settings, store).update()
    said = "; ".join(problems.values()) or "all feeds are up to date"
    _note(store, REFRESH_FEEDS, said, is_well=not problems)
    return problems


def _note(store: Store, name: str, said: str, *, is_well: bool) -> None:
    with store.write() as session:
        note_chore(session, name, said, is_well=is_well)
