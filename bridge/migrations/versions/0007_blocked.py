"""The registry shows which meters are kept out, and why."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """One column more."""
    op.add_column("meter", sa.Column("blocked", sa.String(255), nullable=False, server_default=""))
