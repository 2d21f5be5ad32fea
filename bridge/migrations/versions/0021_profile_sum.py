"""What the intervals of each meter and day come to, for the running totals of its registers."""

from __future__ import annotations

import zlib
from typing import Any

import orjson
import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0019"
branch_labels = None
depends_on = None

REGISTERS = ("energy_import", "energy_export", "reactive_import", "reactive_export")
AT_ONCE = 1000


# fmt: off
def upgrade() -> None:
    """Load profiles that are there have their sums at once."""
    sums = op.create_table(
        "profile_sum",
        sa.Column("meter", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("start", sa.BigInteger(), autoincrement=False, nullable=False),
        *(sa.Column(name, sa.BigInteger()) for name in REGISTERS),
        sa.Column("versions", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("meter", "start", name=op.f("pk_profile_sum")),
    )
    connection = op.get_bind()
    days = connection.execute(sa.text("SELECT meter, start, data FROM load_profile"))
    for some in days.partitions(AT_ONCE):
        rows = [{"meter": row.meter, "start": row.start, **_of(row.data)} for row in some]
        connection.execute(sums.insert(), rows)
# fmt: on


def _of(data: bytes) -> dict[str, Any]:
    told = orjson.loads(zlib.decompress(data))
    found: dict[str, Any] = {}
    for name in REGISTERS:
        values = [value for value in told.get(name, ()) if value is not None]
        found[name] = sum(values) if values else None
    return {**found, "versions": sum(filter(None, told.get("version", ())))}
