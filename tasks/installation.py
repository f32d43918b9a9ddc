"""This process's settings and store, opened once."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from functools import cache

from footprint.errors import StoreUnavailable
from footprint.settings import Settings
from footprint.store import Store, engine, open_store
from tasks.stopping import is_winding_down

log = logging.getLogger("pulsar.installation")


@dataclass(frozen=True, slots=True)
class Installation:
    """What this process works with."""

    settings: Settings
    store: Store


@cache
def installation() -> Installation:
    """Read the settings from the environment and open the store, once it answers.

    Raises `StoreNotMigrated`, or `StoreUnavailable` after `PATIENCE_SECONDS`, or when this process is to end soon.
    """
    settings = Settings()
    return Installation(settings, _opened(settings.store_url))


def _opened(url: str) -> Store:
    """Open a store, waiting for one that is away as long as a scan does that has begun."""
    until, is_said = time.monotonic() + engine.PATIENCE_SECONDS, False
    while True:
        try:
            return open_store(url)
        except StoreUnavailable as away:
            if time.monotonic() > until or is_winding_down():
                raise
            if not is_said:
                log.warning("%s; what begins waits for it", away)
            is_said = True
            time.sleep(engine.RETRY_SECONDS)
