"""An alarm is one row for each occurrence, with who acknowledged it; meters note when a reading came last."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

_IN_FORCE = sa.text("cleared_at IS NULL")


# fmt: off
def upgrade() -> None:
    """What was over by its own time is cleared then; the bridge decides about the others."""
    connection = op.get_bind()
    old = [row._asdict() for row in connection.execute(sa.text("SELECT * FROM alarm ORDER BY since"))]
    now = connection.execute(sa.text("SELECT max(last_seen) FROM meter")).scalar() or 0
    op.drop_table("alarm")
    table = op.create_table(
        "alarm",
        sa.Column("key", sa.Integer(), nullable=False),
        sa.Column("meter", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("subject", sa.String(64), nullable=False),
        sa.Column("detail", sa.String(255), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.Column("last_seen", sa.BigInteger(), nullable=False),
        sa.Column("cleared_at", sa.BigInteger(), nullable=True),
        sa.Column("acknowledged_at", sa.BigInteger(), nullable=True),
        sa.Column("acknowledged_by", sa.String(255), nullable=False),
        sa.Column("notified_at", sa.BigInteger(), nullable=True),
        sa.Column("notified_over_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_alarm")),
    )
    op.create_index("ix_alarm_in_force", "alarm", ["meter", "kind", "subject"], unique=True,
                    sqlite_where=_IN_FORCE, postgresql_where=_IN_FORCE)
    op.create_index(op.f("ix_alarm_cleared_at"), "alarm", ["cleared_at"])
    rows = [_row(alarm, now=now) for alarm in old]
    if rows:
        op.bulk_insert(table, rows)
    op.add_column("meter", sa.Column("read_at", sa.BigInteger(), nullable=True))
    op.create_index(op.f("ix_dead_letter_last_seen"), "dead_letter", ["last_seen"])
# fmt: on


def _row(old: dict[str, object], *, now: int) -> dict[str, object]:
    until = old.pop("until")
    assert isinstance(until, int)
    old["detail"] = str(old["detail"])[:255]
    return {**old, "subject": "", "cleared_at": until if until < now else None, "acknowledged_by": ""}
