"""Roll-ups have a column for what a meter measures beyond a plain one."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """One column."""
    op.add_column("rollup", sa.Column("more", sa.Text(), nullable=True))
