"""The ledger's newest rows.

>>> statement = newest(Command, None, last=100, start=0, end=None)
"""

from __future__ import annotations

from typing import TypeVar

from sqlmodel import col, select
from sqlmodel.sql.expression import SelectOfScalar

from bridge.store.tables import BlockChange, Command

R = TypeVar("R", Command, BlockChange)


def newest(
    table: type[R], meter_id: str | None, *, last: int, start: int, end: int | None
) -> SelectOfScalar[R]:
    """The ``last`` rows of one meter or of all, the newest first, heard of from ``start`` to ``end`` (ms)."""
    wanted = select(table).where(col(table.received_at) >= start)
    if end is not None:
        wanted = wanted.where(col(table.received_at) < end)
    if meter_id:
        wanted = wanted.where(col(table.meter_id) == meter_id)
    return wanted.order_by(col(table.key).desc()).limit(last)
