"""The database knows how logical devices are named: one that has meters already keeps its names."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

_OLD = "SELECT COUNT(*) FROM meter WHERE ied IS NOT NULL"


def upgrade() -> None:
    """A table of settings with the first one."""
    setting = op.create_table(
        "setting",
        sa.Column("name", sa.String(32), primary_key=True),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("changes", sa.Integer(), nullable=False),
    )
    named = op.get_bind().execute(sa.text(_OLD)).scalar_one()
    names = "meter_id" if named else "number"
    op.bulk_insert(setting, [{"name": "ld_names", "value": names, "changes": 0}])
