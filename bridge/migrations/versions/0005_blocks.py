"""The ledger knows who blocked or released a relay's operations."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


# fmt: off
def upgrade() -> None:
    """One table more; a database of 2026-11-24 has it (`bridge.store.renumbered`)."""
    if sa.inspect(op.get_bind()).has_table("block_change"):
        return
    op.create_table(
        "block_change",
        sa.Column("key", sa.Integer(), nullable=False),
        sa.Column("meter_id", sa.String(36), nullable=False),
        sa.Column("ts", sa.BigInteger(), nullable=False),
        sa.Column("block_open", sa.Boolean(), nullable=False),
        sa.Column("block_close", sa.Boolean(), nullable=False),
        sa.Column("origin_category", sa.String(32), nullable=False),
        sa.Column("origin_identifier", sa.String(64), nullable=False),
        sa.Column("received_at", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.String(255), nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_block_change"),
        sa.UniqueConstraint("meter_id", "ts", "block_open", "block_close", "reason",
                            name="uq_block_change_meter_id_ts_block_open_block_close_reason"),
    )
# fmt: on
