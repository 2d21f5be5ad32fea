"""Credit: accounts of meters, the ledger, the intervals that were booked, and what was done for it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


# fmt: off
def upgrade() -> None:
    """All are empty: no meter has an account until a person opens one."""
    _accounts()
    _ledger()
    _actions()


def _accounts() -> None:
    op.create_table(
        "credit_account",
        sa.Column("meter", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("opened_at", sa.BigInteger(), nullable=False),
        sa.Column("closed_at", sa.BigInteger(), nullable=True),
        sa.Column("prepaid", sa.Boolean(), nullable=False),
        sa.Column("lifeline", sa.Boolean(), nullable=False),
        sa.Column("balance", sa.BigInteger(), nullable=False),
        sa.Column("charged_until", sa.BigInteger(), nullable=False),
        sa.Column("booked_until", sa.BigInteger(), nullable=True),
        sa.Column("exhausted_since", sa.BigInteger(), nullable=True),
        sa.Column("warned_at", sa.BigInteger(), nullable=True),
        sa.Column("cut_at", sa.BigInteger(), nullable=True),
        sa.Column("restored_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("meter", name=op.f("pk_credit_account")),
    )


def _ledger() -> None:
    op.create_table(
        "credit_entry",
        sa.Column("key", sa.Integer(), nullable=False),
        sa.Column("transaction_key", sa.String(128), nullable=False),
        sa.Column("account", sa.String(16), nullable=False),
        sa.Column("meter", sa.Integer(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("energy", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("value_at", sa.BigInteger(), nullable=False),
        sa.Column("reference", sa.String(64), nullable=False),
        sa.Column("reason", sa.String(255), nullable=False),
        sa.Column("who", sa.String(255), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_credit_entry")),
        sa.UniqueConstraint(
            "transaction_key", "account", name=op.f("uq_credit_entry_transaction_key_account")
        ),
    )
    op.create_index(op.f("ix_credit_entry_meter_value_at"), "credit_entry", ["meter", "value_at"])
    op.create_table(
        "credit_interval",
        sa.Column("meter", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("start", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("tariff", sa.Integer(), nullable=False),
        sa.Column("energy", sa.BigInteger(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("meter", "start", name=op.f("pk_credit_interval")),
        sqlite_with_rowid=False,
    )
    waiting = sa.text("status = 0")
    op.create_index(
        "ix_credit_interval_waiting", "credit_interval", ["meter", "start"],
        sqlite_where=waiting, postgresql_where=waiting,
    )


def _actions() -> None:
    op.create_table(
        "credit_action",
        sa.Column("key", sa.Integer(), nullable=False),
        sa.Column("meter", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(8), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("command_id", sa.String(64), nullable=False),
        sa.Column("for_since", sa.BigInteger(), nullable=False),
        sa.Column("operations", sa.Integer(), nullable=True),
        sa.Column("outcome", sa.String(64), nullable=False),
        sa.Column("reason", sa.String(255), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_credit_action")),
        sa.UniqueConstraint("command_id", name=op.f("uq_credit_action_command_id")),
    )
    op.create_index(op.f("ix_credit_action_meter_at"), "credit_action", ["meter", "at"])
# fmt: on
