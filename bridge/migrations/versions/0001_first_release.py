"""The schema of the first release."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create all tables."""
    _create_meter()
    _create_reading()
    _create_command()
    _create_dead_letter()
    _create_scl_revision()


# fmt: off
def _create_meter() -> None:
    op.create_table(
        "meter",
        sa.Column("key", sa.Integer(), nullable=False),
        sa.Column("meter_id", sa.String(36), nullable=False),
        *(sa.Column(name, sa.String(), nullable=False) for name in (
            "name", "owner", "address", "address_code", "ip", "vendor", "model", "serial", "firmware",
            "quantities")),
        sa.Column("interval", sa.Float(), nullable=False),
        sa.Column("clock_synchronized", sa.Boolean(), nullable=False),
        sa.Column("ied", sa.String(64), nullable=True),
        sa.Column("first_seen", sa.BigInteger(), nullable=False),
        sa.Column("last_seen", sa.BigInteger(), nullable=False),
        sa.Column("born_at", sa.BigInteger(), nullable=True),
        sa.Column("retired_at", sa.BigInteger(), nullable=True),
        sa.Column("online", sa.Boolean(), nullable=False),
        sa.Column("session", sa.String(64), nullable=False),
        sa.Column("outbox", sa.BigInteger(), nullable=False),
        sa.Column("dropped", sa.BigInteger(), nullable=False),
        sa.Column("relay", sa.String(8), nullable=False),
        sa.Column("relay_operations", sa.Integer(), nullable=False),
        sa.Column("relay_local", sa.Boolean(), nullable=False),
        sa.Column("relay_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("key", name="pk_meter"),
        sa.UniqueConstraint("meter_id", name="uq_meter_meter_id"),
    )
    op.create_index("ix_meter_ied", "meter", ["ied"])


def _create_reading() -> None:
    op.create_table(
        "reading",
        sa.Column("meter", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("ts", sa.BigInteger(), nullable=False),
        *(sa.Column(name, sa.Float(), nullable=True) for name in (
            "voltage", "current", "power", "power_factor", "frequency", "energy")),
        sa.Column("alarm", sa.Boolean(), nullable=True),
        sa.PrimaryKeyConstraint("meter", "epoch", "seq", name="pk_reading"),
    )
    op.create_index("ix_reading_meter_ts", "reading", ["meter", "ts"])


def _create_command() -> None:
    op.create_table(
        "command",
        sa.Column("key", sa.Integer(), nullable=False),
        sa.Column("command_id", sa.String(64), nullable=False),
        sa.Column("meter_id", sa.String(36), nullable=False),
        sa.Column("position", sa.String(8), nullable=False),
        sa.Column("issued_at", sa.BigInteger(), nullable=True),
        sa.Column("expires_at", sa.BigInteger(), nullable=True),
        sa.Column("origin_category", sa.String(32), nullable=False),
        sa.Column("origin_identifier", sa.String(64), nullable=False),
        sa.Column("retained", sa.Boolean(), nullable=False),
        sa.Column("repeats", sa.Integer(), nullable=False),
        sa.Column("received_at", sa.BigInteger(), nullable=False),
        sa.Column("outcome", sa.String(8), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("result_ts", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("key", name="pk_command"),
        sa.UniqueConstraint("command_id", name="uq_command_command_id"),
    )
    op.create_index("ix_command_meter_id", "command", ["meter_id"])


def _create_dead_letter() -> None:
    op.create_table(
        "dead_letter",
        sa.Column("key", sa.Integer(), nullable=False),
        sa.Column("topic", sa.String(255), nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("cause", sa.String(255), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("first_seen", sa.BigInteger(), nullable=False),
        sa.Column("last_seen", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_dead_letter"),
        sa.UniqueConstraint("topic", "sha256", "cause", name="uq_dead_letter_topic_sha256_cause"),
    )


def _create_scl_revision() -> None:
    op.create_table(
        "scl_revision",
        sa.Column("revision", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("meters", sa.Integer(), nullable=False),
        sa.Column("ieds", sa.Integer(), nullable=False),
        sa.Column("ts", sa.BigInteger(), nullable=False),
        sa.Column("what", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("revision", name="pk_scl_revision"),
    )
# fmt: on
