"""A revision of the SCD keeps why it was made, and the newest one what it was made with."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Three columns; the revisions that are there do not know."""
    for name in ("why", "settings", "topology"):
        op.add_column("scl_revision", sa.Column(name, sa.Text(), nullable=True))
