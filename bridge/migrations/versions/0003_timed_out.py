"""The ledger knows commands that timed out, and answers that came late."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Room for ``timed out``, and a column for the late answer."""
    with op.batch_alter_table("command") as command:
        command.alter_column(
            "outcome", existing_type=sa.String(8), type_=sa.String(16), existing_nullable=False
        )
        command.add_column(sa.Column("late_outcome", sa.String(16), nullable=False, server_default=""))
    with op.batch_alter_table("command") as command:
        command.alter_column(
            "late_outcome", existing_type=sa.String(16), server_default=None, existing_nullable=False
        )
