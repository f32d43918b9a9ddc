"""When chores were last done, and which tools are quarantined."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from footprint.store.tables import UtcDateTime

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "chores",
        sa.Column("name", sa.String(length=32), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("is_well", sa.Boolean(), nullable=False),
        sa.Column("said", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_chores")),
    )
    op.create_table(
        "tool_checks",
        sa.Column("machine", sa.String(length=255), nullable=False),
        sa.Column("module", sa.String(length=32), nullable=False),
        sa.Column("checked_at", UtcDateTime(), nullable=False),
        sa.Column("outcome", sa.String(length=16), nullable=False),
        sa.Column("version", sa.String(length=64), nullable=True),
        sa.Column("said", sa.Text(), nullable=False),
        sa.Column("quarantined_at", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("machine", "module", name=op.f("pk_tool_checks")),
    )


def downgrade() -> None:
    op.drop_table("tool_checks")
    op.drop_table("chores")
