"""Schedules, what became of each time they came due, and the scans that they asked for."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from footprint.store.tables import UtcDateTime

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "schedules",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("target", sa.String(length=255), nullable=True),
        sa.Column("asset_id", sa.Uuid(), nullable=True),
        sa.Column("policy_name", sa.String(length=64), nullable=False),
        sa.Column("policy", sa.JSON(), nullable=True),
        sa.Column("said", sa.JSON(), nullable=False),
        sa.Column("timing", sa.JSON(), nullable=False),
        sa.Column("timezone", sa.String(length=64), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("overlap", sa.String(length=8), nullable=False),
        sa.Column("comment", sa.Text(), nullable=False),
        sa.Column("notify", sa.JSON(), nullable=True),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("changed_at", UtcDateTime(), nullable=False),
        sa.Column("prefect_id", sa.Uuid(), nullable=True),
        sa.Column("deployment_id", sa.Uuid(), nullable=True),
        sa.Column("gone_at", UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(
            ["asset_id"], ["assets.id"], name=op.f("fk_schedules_asset_id_assets"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_schedules")),
    )
    op.create_table(
        "schedule_runs",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("schedule_id", sa.Uuid(), nullable=False),
        sa.Column("task_id", sa.Uuid(), nullable=True),
        sa.Column("due_at", UtcDateTime(), nullable=True),
        sa.Column("came_at", UtcDateTime(), nullable=False),
        sa.Column("outcome", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["schedule_id"], ["schedules.id"], name=op.f("fk_schedule_runs_schedule_id_schedules"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_schedule_runs")),
        sa.UniqueConstraint("task_id", name=op.f("uq_schedule_runs_task_id")),
    )
    op.create_index("ix_schedule_runs_schedule_id_id", "schedule_runs", ["schedule_id", "id"])
    op.add_column("scans", sa.Column("schedule_id", sa.Uuid(), nullable=True))
    op.add_column("scans", sa.Column("schedule_run", sa.Integer(), nullable=True))
    op.create_index("ix_scans_schedule_id", "scans", ["schedule_id"])


def downgrade() -> None:
    op.drop_index("ix_scans_schedule_id", "scans")
    op.drop_column("scans", "schedule_run")
    op.drop_column("scans", "schedule_id")
    op.drop_table("schedule_runs")
    op.drop_table("schedules")
