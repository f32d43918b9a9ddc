"""What assets include and exclude, who authorised it, the scope that a scan ran under, and what it left out."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from footprint.store.tables import UtcDateTime

revision = "0007"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "asset_scope",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("asset_id", sa.Uuid(), nullable=False),
        sa.Column("rule", sa.String(length=16), nullable=False),
        sa.Column("value", sa.String(length=255), nullable=False),
        sa.ForeignKeyConstraint(
            ["asset_id"], ["assets.id"], name=op.f("fk_asset_scope_asset_id_assets"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_asset_scope")),
        sa.UniqueConstraint("asset_id", "rule", "value", name=op.f("uq_asset_scope_asset_id_rule_value")),
    )
    op.create_table(
        "authorizations",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("asset_id", sa.Uuid(), nullable=False),
        sa.Column("covers", sa.String(length=255), nullable=True),
        sa.Column("valid_from", UtcDateTime(), nullable=False),
        sa.Column("valid_until", UtcDateTime(), nullable=False),
        sa.Column("granted_by", sa.String(length=255), nullable=False),
        sa.Column("reference", sa.String(length=255), nullable=False),
        sa.Column("comment", sa.Text(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["asset_id"], ["assets.id"], name=op.f("fk_authorizations_asset_id_assets"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_authorizations")),
    )
    op.create_index("ix_authorizations_asset_id_id", "authorizations", ["asset_id", "id"])
    op.create_table(
        "left_out",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("scan_id", sa.Uuid(), nullable=False),
        sa.Column("subject", sa.String(length=400), nullable=False),
        sa.Column("rule", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["scan_id"], ["scans.id"], name=op.f("fk_left_out_scan_id_scans"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_left_out")),
        sa.UniqueConstraint("scan_id", "subject", name=op.f("uq_left_out_scan_id_subject")),
    )
    with op.batch_alter_table("asset_roots") as roots:
        roots.create_unique_constraint(op.f("uq_asset_roots_value"), ["value"])
    # The defaults are for the scans that are there, and stay: SQLite could only take them away by making the table
    # anew, and to drop the old one would delete all that belongs to its rows.
    op.add_column("scans", sa.Column("scope", sa.JSON(), nullable=False, server_default="{}"))
    op.add_column("scans", sa.Column("not_listed", sa.Integer(), nullable=False, server_default="0"))


def downgrade() -> None:
    op.drop_column("scans", "not_listed")
    op.drop_column("scans", "scope")
    with op.batch_alter_table("asset_roots") as roots:
        roots.drop_constraint(op.f("uq_asset_roots_value"), type_="unique")
    for table in ("left_out", "authorizations", "asset_scope"):
        op.drop_table(table)
