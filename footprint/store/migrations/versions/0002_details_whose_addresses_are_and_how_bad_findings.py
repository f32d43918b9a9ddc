"""Details beside the inventory, whose an address is, how bad a finding is and what was decided of it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from footprint.store.tables import UtcDateTime

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "details",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("asset_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("subject", sa.String(length=400), nullable=False),
        sa.Column("facts", sa.JSON(), nullable=False),
        sa.Column("first_seen", UtcDateTime(), nullable=False),
        sa.Column("last_seen", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["asset_id"], ["assets.id"], name=op.f("fk_details_asset_id_assets"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_details")),
        sa.UniqueConstraint("asset_id", "kind", "key", name=op.f("uq_details_asset_id_kind_key")),
    )
    op.create_index("ix_details_asset_id_kind_subject", "details", ["asset_id", "kind", "subject"])
    with op.batch_alter_table("hosts") as hosts:
        hosts.add_column(sa.Column("os", sa.Text(), nullable=True))
        hosts.add_column(sa.Column("asn", sa.BigInteger(), nullable=True))
        hosts.add_column(sa.Column("prefix", sa.String(length=64), nullable=True))
        hosts.add_column(sa.Column("holder", sa.Text(), nullable=True))
        hosts.add_column(sa.Column("country", sa.String(length=8), nullable=True))
    with op.batch_alter_table("findings") as findings:
        findings.alter_column("subject", type_=sa.String(400), existing_nullable=False)
        findings.add_column(sa.Column("cvss", sa.String(length=255), nullable=True))
        findings.add_column(sa.Column("score", sa.Float(), nullable=True))
        findings.add_column(sa.Column("module", sa.String(length=32), nullable=True))
        findings.add_column(sa.Column("fingerprint", sa.String(length=32), nullable=False, server_default=""))
        findings.add_column(sa.Column("status", sa.String(length=16), nullable=False, server_default="open"))
    # The defaults were for the rows that were there; the code gives each its own.
    with op.batch_alter_table("findings") as findings:
        findings.alter_column("fingerprint", server_default=None)
        findings.alter_column("status", server_default=None)
    with op.batch_alter_table("coverage") as coverage:
        coverage.alter_column("subject", type_=sa.String(400), existing_nullable=False)


def downgrade() -> None:
    with op.batch_alter_table("coverage") as coverage:
        coverage.alter_column("subject", type_=sa.String(255), existing_nullable=False)
    with op.batch_alter_table("findings") as findings:
        for column in ("status", "fingerprint", "module", "score", "cvss"):
            findings.drop_column(column)
        findings.alter_column("subject", type_=sa.String(255), existing_nullable=False)
    with op.batch_alter_table("hosts") as hosts:
        for column in ("country", "holder", "prefix", "asn", "os"):
            hosts.drop_column(column)
    op.drop_index("ix_details_asset_id_kind_subject", "details")
    op.drop_table("details")
