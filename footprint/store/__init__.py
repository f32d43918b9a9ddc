"""Where a footprint is kept: SQLite in the platform's home, or PostgreSQL where several machines work."""

from footprint.store.engine import Store, migrate, open_store
from footprint.store.tokens import ensure_home_token

__all__ = ["Store", "ensure_home_token", "migrate", "open_store"]
