"""A meter counts how often it has joined or left its IED: confRev of the group data sets is their sum."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_COUNT = "UPDATE meter SET changes = CASE WHEN retired_at IS NULL THEN 1 ELSE 2 END WHERE born_at IS NOT NULL"


def upgrade() -> None:
    """A meter of before has joined once, and left once if it is withdrawn."""
    with op.batch_alter_table("meter") as meter:
        meter.add_column(sa.Column("changes", sa.Integer(), nullable=False, server_default="0"))
    op.execute(_COUNT)
    with op.batch_alter_table("meter") as meter:
        meter.alter_column(
            "changes", existing_type=sa.Integer(), server_default=None, existing_nullable=False
        )
