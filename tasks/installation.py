"""This process's settings and store, opened once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from footprint.settings import Settings
from footprint.store import Store, open_store


@dataclass(frozen=True, slots=True)
class Installation:
    """What this process works with."""

    settings: Settings
    store: Store


@cache
def installation() -> Installation:
    """Read the settings from the environment and open the store. Raises `StoreNotMigrated`, `StoreUnavailable`."""
    settings = Settings()
    return Installation(settings, open_store(settings.store_url))
