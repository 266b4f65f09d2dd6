"""Compression: trials that need not be done twice, and which compiled forms are proved equal."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "compress_trials",
        sa.Column("key", sa.String(64), primary_key=True),
        sa.Column("model", sa.String(128), sa.ForeignKey("models.name"), nullable=False),
        sa.Column("body", sa.JSON(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
    )
    op.create_table(
        "compiled_forms",
        sa.Column("version_id", sa.String(64), sa.ForeignKey("versions.id"), primary_key=True),
        sa.Column("runtime", sa.String(128), primary_key=True),
        sa.Column("body", sa.JSON(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
    )


def downgrade() -> None:
    """Drop the tables: trials and comparisons are done again."""
    for name in ("compiled_forms", "compress_trials"):
        op.drop_table(name)
