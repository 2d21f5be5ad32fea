"""Roll-ups count the doubtful steps that are left out; hours that cannot be are summed up again."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_MOST_WH = 30_000
"""Of an hour: more than a PZEM-004T can measure. After an outage it may be right, and stays."""


def upgrade() -> None:
    """One column more. Hours that an odd value may have falsified become due; they need their readings.

    A database of 2026-11-29 has the column (`bridge.store.renumbered`).
    """
    if "energy_doubtful" not in {
        column["name"] for column in sa.inspect(op.get_bind()).get_columns("rollup")
    }:
        op.add_column("rollup", sa.Column("energy_doubtful", sa.Integer(), nullable=True))
    op.execute(
        "INSERT INTO due (work, start, meter) SELECT 'hour', start, meter FROM rollup"
        f" WHERE span = 3600 AND energy_used > {_MOST_WH} ON CONFLICT DO NOTHING"
    )
