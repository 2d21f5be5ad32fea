"""A meter's logical device has a number of its own, and an IED has spare ones for meters to come."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """A meter of before keeps the number that its logical device has: its key."""
    op.add_column("meter", sa.Column("number", sa.Integer(), nullable=True))
    op.execute("UPDATE meter SET number = key WHERE ied IS NOT NULL")
    op.create_table(
        "spare",
        sa.Column("number", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("ied", sa.String(64), nullable=False),
        sa.Column("quantities", sa.String(), nullable=False),
        sa.Column("has_relay", sa.Boolean(), nullable=False),
        sa.Column("use", sa.String(8), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_spare")),
    )
    op.create_index(op.f("ix_spare_ied"), "spare", ["ied"])
