"""The registry shows which meters are kept out, and why."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """One column more; nobody was kept out before."""
    with op.batch_alter_table("meter") as meter:
        meter.add_column(sa.Column("blocked", sa.String(255), nullable=False, server_default=""))
    with op.batch_alter_table("meter") as meter:
        meter.alter_column(
            "blocked", existing_type=sa.String(255), server_default=None, existing_nullable=False
        )
