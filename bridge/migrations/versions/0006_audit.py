"""The audit: a table that takes new rows at its end and nothing else, whoever asks.

The triggers stop what is done by mistake or through our own programs; who owns the database can drop them,
and is found by the chain of hashes (`bridge.store.audit_verify`).
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_FIRST = "0" * 64
_REFUSED = "audit is append-only"
_UNCONNECTED = "audit takes only the row that follows its last one"

_SQLITE = (
    *(
        f"CREATE TRIGGER audit_no_{what.lower()} BEFORE {what} ON audit"
        f" BEGIN SELECT RAISE(ABORT, '{_REFUSED}'); END"
        for what in ("UPDATE", "DELETE")
    ),
    f"""
    CREATE TRIGGER audit_follows BEFORE INSERT ON audit
    WHEN NEW.no IS NOT (SELECT coalesce(max(no), 0) + 1 FROM audit)
      OR NEW.previous IS NOT coalesce((SELECT hash FROM audit ORDER BY no DESC LIMIT 1), '{_FIRST}')
    BEGIN SELECT RAISE(ABORT, '{_UNCONNECTED}'); END
    """,
)

_POSTGRESQL = (
    f"""
    CREATE FUNCTION audit_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN RAISE EXCEPTION '{_REFUSED}' USING ERRCODE = 'integrity_constraint_violation'; END $$
    """,
    f"""
    CREATE FUNCTION audit_follow() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE last record;
    BEGIN
      SELECT coalesce(max(no), 0) AS no, coalesce(max(hash), '{_FIRST}') AS hash INTO last
      FROM (SELECT no, hash FROM audit ORDER BY no DESC LIMIT 1) AS tail;
      IF NEW.no <> last.no + 1 OR NEW.previous <> last.hash THEN
        RAISE EXCEPTION '{_UNCONNECTED}' USING ERRCODE = 'integrity_constraint_violation';
      END IF;
      RETURN NEW;
    END $$
    """,
    "CREATE TRIGGER audit_no_change BEFORE UPDATE OR DELETE ON audit"
    " FOR EACH ROW EXECUTE FUNCTION audit_refuse()",
    "CREATE TRIGGER audit_no_truncate BEFORE TRUNCATE ON audit EXECUTE FUNCTION audit_refuse()",
    "CREATE TRIGGER audit_follows BEFORE INSERT ON audit FOR EACH ROW EXECUTE FUNCTION audit_follow()",
)


def upgrade() -> None:
    """The table, then what guards it."""
    _create_audit()
    for statement in _SQLITE if op.get_bind().dialect.name == "sqlite" else _POSTGRESQL:
        op.execute(statement)


# fmt: off
def _create_audit() -> None:
    op.create_table(
        "audit",
        sa.Column("no", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("ts", sa.BigInteger(), nullable=False),
        sa.Column("event", sa.String(48), nullable=False),
        sa.Column("who", sa.String(255), nullable=False),
        sa.Column("origin", sa.String(255), nullable=False),
        sa.Column("meter_id", sa.String(36), nullable=False),
        sa.Column("identity", sa.String(255), nullable=False),
        sa.Column("outcome", sa.String(32), nullable=False),
        sa.Column("detail", sa.String(), nullable=False),
        sa.Column("previous", sa.String(64), nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("no", name="pk_audit"),
    )
    op.create_index("ix_audit_ts", "audit", ["ts"])
    op.create_index("ix_audit_meter_id", "audit", ["meter_id"])
# fmt: on
