"""Which quantities the rows of a meter have: only their columns are read.

Each meter has few of the columns, and reading all of them of every row would take four times as long. What
is there is asked of the rows, not of the birth: a value that no birth named is read like any other.

>>> fields(("power",))
('epoch', 'seq', 'ts', 'power', 'alarm', 'other', 'clock_synchronized')
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from sqlalchemy import (
    Boolean,
    ColumnElement,
    Connection,
    Table,
    bindparam,
    false,
    func,
    literal,
    literal_column,
    select,
)

from bridge.store.tables import Reading
from broker.contract.quantities import HOUSEHOLD, QUANTITIES

Names = tuple[str, ...]
"""Of quantities, in the order of the table."""

READING: Table = Reading.__table__  # type: ignore[attr-defined]
FIRST, LAST = -(2**63), 2**63 - 1
"""Before and after every ``ts``."""

_HEAD, _TAIL = ("epoch", "seq", "ts"), ("alarm", "other", "clock_synchronized")
_c = READING.c


@lru_cache
def has_more_than(names: Names) -> ColumnElement[bool]:
    """Whether a row has a quantity beside ``names``; as text, which SQLAlchemy need not look through."""
    others = " OR ".join(f"{READING.name}.{name} IS NOT NULL" for name in QUANTITIES if name not in names)
    return literal_column(f"({others})", Boolean()) if others else false()


_SOME = (
    _c.meter == bindparam("meter"),
    _c.ts >= bindparam("start", type_=_c.ts.type),
    _c.ts < bindparam("end", type_=_c.ts.type),
)
_HAS_MORE = select(literal(1)).where(*_SOME, has_more_than(HOUSEHOLD)).limit(1)
"""Made once: SQLAlchemy takes longer to make it than most databases to answer."""
_COUNTS = select(*(func.count(_c[name]) for name in QUANTITIES)).where(*_SOME)


def present(connection: Connection, meter: int, *, start: int | None, end: int | None = None) -> Names:
    """All quantities of the rows with start <= ts < end (ms), and perhaps more.

    What a plain meter measures is always among them: it is cheaper to read than to ask for.
    """
    some = _range(meter, start, end)
    if connection.execute(_HAS_MORE, some).first() is None:
        return HOUSEHOLD
    found = {*HOUSEHOLD, *exactly(connection, meter, start=start, end=end)}
    return tuple(name for name in QUANTITIES if name in found)


def exactly(connection: Connection, meter: int, *, start: int | None, end: int | None = None) -> Names:
    """The quantities of the rows with start <= ts < end (ms)."""
    counts = connection.execute(_COUNTS, _range(meter, start, end)).one()
    return tuple(name for name, count in zip(QUANTITIES, counts, strict=True) if count)


def _range(meter: int, start: int | None, end: int | None) -> dict[str, int]:
    return {"meter": meter, "start": FIRST if start is None else start, "end": LAST if end is None else end}


def fields(names: Names) -> tuple[str, ...]:
    """The fields of a row with these quantities: the first three are its name and its time."""
    return (*_HEAD, *names, *_TAIL)


def columns(names: Names) -> list[Any]:
    """Of `fields`; of the table itself, which SQLAlchemy compares quicker than those of the class."""
    return [_c[name] for name in fields(names)]
