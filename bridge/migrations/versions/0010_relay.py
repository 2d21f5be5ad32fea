"""Blocks with the times of both directions, meters without a relay, names as long as in the contract."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from alembic.operations import BatchOperations

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """What was kept before stays as it is: every meter had a relay, a change concerned both directions.

    A database of 2026-11-29 has these columns (`bridge.store.renumbered`).
    """
    if "has_relay" in {column["name"] for column in sa.inspect(op.get_bind()).get_columns("meter")}:
        return
    with op.batch_alter_table("block_change") as changes:
        changes.add_column(sa.Column("open_ts", sa.BigInteger(), nullable=True))
        changes.add_column(sa.Column("close_ts", sa.BigInteger(), nullable=True))
        _widen(changes, "origin_identifier", 64, 130)
    with op.batch_alter_table("command") as commands:
        commands.add_column(sa.Column("moves_by", sa.BigInteger(), nullable=True))
        _widen(commands, "origin_identifier", 64, 130)
        _widen(commands, "outcome", 16, 64)
        _widen(commands, "late_outcome", 16, 64)
    with op.batch_alter_table("meter") as meter:
        meter.add_column(sa.Column("has_relay", sa.Boolean(), nullable=False, server_default=sa.true()))
    with op.batch_alter_table("meter") as meter:
        meter.alter_column(
            "has_relay", existing_type=sa.Boolean(), server_default=None, existing_nullable=False
        )


def _widen(table: BatchOperations, name: str, before: int, now: int) -> None:
    table.alter_column(name, existing_type=sa.String(before), type_=sa.String(now), existing_nullable=False)
