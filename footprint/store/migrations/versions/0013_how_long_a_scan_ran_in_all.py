"""For how long a scan ran in all of its attempts."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("scans", sa.Column("spent_seconds", sa.Float(), nullable=True))


def downgrade() -> None:
    op.drop_column("scans", "spent_seconds")
