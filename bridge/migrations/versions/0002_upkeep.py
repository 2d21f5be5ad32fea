"""Roll-ups, packed readings, and what upkeep has to do; every hour of the first release is due."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_HOUR_MS = 3_600_000
_QUANTITIES = ("voltage", "current", "power", "power_factor", "frequency", "energy")

_ONCE = """
CREATE TRIGGER reading_once BEFORE INSERT ON reading
WHEN (SELECT first_seq FROM reading_pack
      WHERE meter = NEW.meter AND epoch = NEW.epoch AND seq >= NEW.seq ORDER BY seq LIMIT 1) <= NEW.seq
BEGIN SELECT RAISE(IGNORE); END
"""


def upgrade() -> None:
    """Create the tables, and mark what was stored before."""
    _create_reading_pack()
    _create_rollup()
    _create_due()
    if op.get_bind().dialect.name == "sqlite":
        op.execute(_ONCE)
    else:  # it is compressed already
        op.execute("ALTER TABLE reading_pack ALTER COLUMN data SET STORAGE EXTERNAL")
    op.execute(
        "INSERT INTO due (work, start, meter)"
        f" SELECT DISTINCT 'hour', ts - ts % {_HOUR_MS}, meter FROM reading"
    )


# fmt: off
def _create_reading_pack() -> None:
    op.create_table(
        "reading_pack",
        sa.Column("meter", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("first_seq", sa.BigInteger(), nullable=False),
        sa.Column("first_ts", sa.BigInteger(), nullable=False),
        sa.Column("last_ts", sa.BigInteger(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("meter", "epoch", "seq", name="pk_reading_pack"),
    )
    op.create_index("ix_reading_pack_meter_last_ts", "reading_pack", ["meter", "last_ts"])


def _create_rollup() -> None:
    op.create_table(
        "rollup",
        sa.Column("span", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("meter", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("start", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("readings", sa.Integer(), nullable=False),
        sa.Column("energy_used", sa.Float(), nullable=True),
        *(column for name in _QUANTITIES for column in (
            sa.Column(f"{name}_count", sa.Integer(), nullable=False),
            sa.Column(f"{name}_min", sa.Float(), nullable=True),
            sa.Column(f"{name}_max", sa.Float(), nullable=True),
            sa.Column(f"{name}_mean", sa.Float(), nullable=True))),
        sa.PrimaryKeyConstraint("span", "meter", "start", name="pk_rollup"),
    )


def _create_due() -> None:
    op.create_table(
        "due",
        sa.Column("work", sa.String(8), nullable=False),
        sa.Column("start", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("meter", sa.Integer(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("work", "start", "meter", name="pk_due"),
    )
# fmt: on
