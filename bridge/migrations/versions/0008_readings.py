"""Readings keep other numbers and whether the time was known; dead letters that were confirmed; alarms."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


# fmt: off
def upgrade() -> None:
    """What was stored before has neither; nothing is copied, for there may be a billion readings."""
    op.add_column("reading", sa.Column("other", sa.String(), nullable=True))
    op.add_column("reading", sa.Column("clock_synchronized", sa.Boolean(), nullable=True))
    with op.batch_alter_table("dead_letter") as letter:
        letter.add_column(sa.Column("confirmed", sa.Boolean(), nullable=False, server_default=sa.false()))
    with op.batch_alter_table("dead_letter") as letter:
        letter.alter_column("confirmed", existing_type=sa.Boolean(), server_default=None,
                            existing_nullable=False)
    with op.batch_alter_table("command") as command:  # a newer meter has outcomes of its own
        for name in ("outcome", "late_outcome"):
            command.alter_column(name, type_=sa.String(64), existing_type=sa.String(16),
                                 existing_nullable=False)
    op.create_table(
        "alarm",
        sa.Column("meter", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("detail", sa.String(512), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.Column("last_seen", sa.BigInteger(), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("meter", "kind", name="pk_alarm"),
    )
# fmt: on
