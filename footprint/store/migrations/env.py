"""Runs migrations on the connection that `footprint.store.migrate` opened."""

from __future__ import annotations

from alembic import context

from footprint.store import asset_tables as _asset_tables  # noqa: F401 -- its tables belong to the metadata
from footprint.store import change_tables as _change_tables  # noqa: F401 -- its tables belong to the metadata
from footprint.store import chore_tables as _chore_tables  # noqa: F401 -- its tables belong to the metadata
from footprint.store import claim_table as _claim_table  # noqa: F401 -- its tables belong to the metadata
from footprint.store import feed_tables as _feed_tables  # noqa: F401 -- its tables belong to the metadata
from footprint.store import notification_tables as _notification_tables  # noqa: F401 -- its tables belong to the metadata
from footprint.store import policies as _policies  # noqa: F401 -- likewise
from footprint.store import schedule_tables as _schedule_tables  # noqa: F401 -- likewise
from footprint.store.tables import Table

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Table.metadata,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
