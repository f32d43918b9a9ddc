"""How scans are cancelled, lost, resumed, and what they wait for."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from footprint.store.tables import UtcDateTime

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("scans") as scans:
        scans.add_column(sa.Column("cancelled_at", UtcDateTime(), nullable=True))
        scans.add_column(sa.Column("processes_ended", sa.Integer(), nullable=True))
        scans.add_column(sa.Column("processes_gone_at", UtcDateTime(), nullable=True))
        scans.add_column(sa.Column("resumed_from", sa.Uuid(), nullable=True))
        scans.add_column(sa.Column("losses", sa.Integer(), nullable=False, server_default="0"))
        scans.add_column(sa.Column("resume_at", UtcDateTime(), nullable=True))
        scans.add_column(sa.Column("waiting", sa.Text(), nullable=True))


def downgrade() -> None:
    # Not in a batch: on SQLite that makes the table anew, and what hangs on its rows would go with them.
    for column in ("waiting", "resume_at", "losses", "resumed_from"):
        op.drop_column("scans", column)
    for column in ("processes_gone_at", "processes_ended", "cancelled_at"):
        op.drop_column("scans", column)
