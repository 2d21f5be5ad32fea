"""Quality of supply of each meter and day."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


# fmt: off
def upgrade() -> None:
    """Empty: hours that are summed up from now on have it; `store recompute` makes that of older ones."""
    op.create_table(
        "supply_quality",
        sa.Column("meter", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("start", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("meter", "start", name=op.f("pk_supply_quality")),
    )
# fmt: on
