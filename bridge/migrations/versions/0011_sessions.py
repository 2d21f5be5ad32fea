"""The registry keeps what decides whether a message is older: sessions, and when access was decided."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_TEXTS = {"session_before": 64, "standing": 8, "relay_session": 64}
_TIMES = ("session_at", "access_at")


def upgrade() -> None:
    """Five columns more; a meter with a session has told a status of it."""
    with op.batch_alter_table("meter") as meter:
        for name, length in _TEXTS.items():
            meter.add_column(sa.Column(name, sa.String(length), nullable=False, server_default=""))
        for name in _TIMES:
            meter.add_column(sa.Column(name, sa.BigInteger(), nullable=True))
    op.execute("UPDATE meter SET session_at = born_at, relay_session = session WHERE session <> ''")
    op.execute("UPDATE meter SET standing = 'ended' WHERE session <> ''")
    op.execute("UPDATE meter SET standing = 'open' WHERE online")
    with op.batch_alter_table("meter") as meter:
        for name, length in _TEXTS.items():
            meter.alter_column(
                name, existing_type=sa.String(length), server_default=None, existing_nullable=False
            )
