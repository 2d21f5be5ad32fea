"""What upkeep has to do (`bridge.store.tables.Due`): noted with readings, struck with what was made of them.

>>> next_due(connection, "hour", until=now)  # doctest: +SKIP
(12, 1795392000000)
"""

from __future__ import annotations

from functools import lru_cache

from sqlalchemy import BigInteger, Connection, Executable, and_, bindparam, delete, func, literal, select
from sqlmodel import col

from bridge.store.tables import HOUR_MS, ROLLUP, Due
from bridge.store.upsert import insert_into

AGAIN = "again"
"""Work for hours that somebody wants summed up again: after all others, and some in each round."""

_DUE_KEY = and_(
    col(Due.work) == bindparam("the_work"),
    col(Due.start) == bindparam("at", type_=BigInteger),
    col(Due.meter) == bindparam("of"),
)
_NEXT_DUE = (
    select(col(Due.meter), col(Due.start))
    .where(col(Due.work) == bindparam("the_work"), col(Due.start) > bindparam("after", type_=BigInteger))
    .where(col(Due.start) <= bindparam("until", type_=BigInteger))
    .order_by(col(Due.start), col(Due.meter))
    .limit(1)
)
"""These statements are made once: SQLAlchemy takes longer to make them than databases to answer."""
_DONE = delete(Due).where(_DUE_KEY)


def next_due(connection: Connection, work: str, *, until: int, after: int = -1) -> tuple[int, int] | None:
    """The earliest (meter, start) that is due, with after < start <= until."""
    row = connection.execute(_NEXT_DUE, {"the_work": work, "after": after, "until": until}).first()
    return (row.meter, row.start) if row is not None else None


def note_due(connection: Connection, work: str, meter: int, start: int) -> None:
    """Note ``work`` for upkeep."""
    connection.execute(_note(connection.dialect.name), {"work": work, "start": start, "meter": meter})


@lru_cache
def _note(dialect: str) -> Executable:
    noted: Executable = insert_into(dialect, Due).on_conflict_do_nothing()
    return noted


def due_again(connection: Connection, *, start: int, end: int, meter: int | None = None) -> int:
    """Note that the hours of a time (ms) are to be summed up again, also the one it begins in; how many."""
    start -= start % HOUR_MS
    hours = and_(ROLLUP.c.span == HOUR_MS // 1000, ROLLUP.c.start >= start, ROLLUP.c.start < end)
    if meter is not None:
        hours = and_(hours, ROLLUP.c.meter == meter)
    found = select(literal(AGAIN), ROLLUP.c.start, ROLLUP.c.meter).where(hours)
    statement = insert_into(connection.dialect.name, Due).from_select(["work", "start", "meter"], found)
    connection.execute(statement.on_conflict_do_nothing())
    return connection.scalar(select(func.count()).select_from(ROLLUP).where(hours)) or 0


def done(connection: Connection, work: str, meter: int, start: int) -> None:
    """Strike ``work`` from what is due."""
    connection.execute(_DONE, {"the_work": work, "at": start, "of": meter})
