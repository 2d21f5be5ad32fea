"""Interval values of each meter and day, and what was corrected of them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


# fmt: off
def upgrade() -> None:
    """Both are empty: hours that are summed up from now on get their interval values."""
    op.create_table(
        "load_profile",
        sa.Column("meter", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("start", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("minutes", sa.Integer(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("meter", "start", name=op.f("pk_load_profile")),
    )
    op.create_table(
        "profile_correction",
        sa.Column("key", sa.Integer(), nullable=False),
        sa.Column("meter", sa.Integer(), nullable=False),
        sa.Column("start", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("ts", sa.BigInteger(), nullable=False),
        sa.Column("why", sa.String(64), nullable=False),
        sa.Column("before", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_profile_correction")),
    )
    op.create_index(op.f("ix_profile_correction_meter_start"), "profile_correction", ["meter", "start"])
# fmt: on
