"""Readings into the database in bulk: insert or ignore, and say how many were new, and which are others.

What was not inserted is looked at: the same reading again is nothing, another one with the same name is a
conflict (`bridge.ingest.namesakes`). So a batch in which all is new costs no look.

Measured with 2,000 rows a commit on two cores, while another thread keeps the interpreter busy (as
the network thread does): sqlite3's executemany gives the interpreter up for each row and stores 650
rows/s, statements of up to 512 rows 39,000/s. On PostgreSQL executemany stores 4,000 rows/s (50,000
when alone), binary COPY into a staging table 26,000/s (102,000 when alone).

>>> _powers(700)
[512, 128, 32, 16, 8, 4]
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import chain

import psycopg
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from bridge.ingest import namesakes
from bridge.ingest.rows import NAMES, Row, widened
from bridge.store.pack_format import StoredReading
from bridge.store.tables import Due
from broker.contract.quantities import QUANTITIES

_MOST_PARAMETERS = 32_766
"""That SQLite takes in one statement."""
_LARGEST = 512
"""Rows of one SQLite statement: a power of two."""
_FEW = 32
"""Rows of a batch with the same quantities that are worth statements of their own."""
_MOST_KINDS = 6
"""Sets of quantities with statements of their own in one batch: those of all others are put together. So
hostile meters, each with another set, cost no statement for each reading."""

_ALL = ", ".join(("meter", *StoredReading._fields))
_STAGING = f"""
CREATE TEMP TABLE IF NOT EXISTS staging ON COMMIT DELETE ROWS AS SELECT {_ALL} FROM reading WITH NO DATA
"""
_NOT_PACKED = """
INSERT INTO reading ({names}) SELECT {names} FROM staging AS new
WHERE (SELECT first_seq FROM reading_pack AS pack
       WHERE pack.meter = new.meter AND pack.epoch = new.epoch AND pack.seq >= new.seq
       ORDER BY pack.seq LIMIT 1) <= new.seq IS NOT TRUE
ON CONFLICT DO NOTHING
"""

Names = tuple[str, ...]
"""Of quantities."""


@dataclass(frozen=True)
class Inserted:
    """What came of it."""

    new: int
    conflicts: list[Row] = field(default_factory=list)
    """Another reading is stored under the name (meter, epoch, seq) of each of these."""


def insert_readings(connection: Connection, rows: Sequence[Row]) -> Inserted:
    """Insert ``rows``, whose meters are keys; those that are there already are ignored."""
    if connection.dialect.name == "sqlite":
        return _sqlite(connection, rows)
    new = _postgresql(connection, rows)
    return Inserted(new, namesakes.conflicts(connection, rows) if new < len(rows) else [])


def by_quantities(rows: Sequence[Row]) -> dict[Names, list[Row]]:
    """``rows`` by the quantities that they have: at most `_MOST_KINDS` sets, and one for all others.

    >>> {names: len(some) for names, some in by_quantities([(7, 1, 1, 0, None, None, True, ())] * 3).items()}
    {(): 3}
    """
    found: dict[Names, list[Row]] = {}
    for row in rows:
        if (some := found.get(row[NAMES])) is None:
            some = found[row[NAMES]] = []
        some.append(row)
    if len(found) == 1:
        return found
    large = sorted(
        (names for names in found if len(found[names]) >= _FEW), key=lambda names: -len(found[names])
    )
    kinds = {names: found.pop(names) for names in large[:_MOST_KINDS]}
    for names, some in _together(list(chain.from_iterable(found.values()))).items():
        kinds.setdefault(names, []).extend(some)  # all others together may have what one of the kinds has
    return kinds


def _together(rows: list[Row]) -> dict[Names, list[Row]]:
    """The same rows with all quantities that one of them has."""
    have = {name for row in rows for name in row[NAMES]}
    names = tuple(name for name in QUANTITIES if name in have)
    return {names: [widened(row, names) for row in rows]} if rows else {}


def _powers(count: int, largest: int = _LARGEST) -> list[int]:
    """``count`` as powers of two: ten statement texts, prepared once, serve batches of every size."""
    parts, power = [largest] * (count // largest), largest // 2
    while power:
        parts += [power] if count & power else []
        power //= 2
    return parts


def _columns(names: Names) -> Names:
    """Of the values of a row, but for the last one, which are the names."""
    return ("meter", "epoch", "seq", "ts", *names, "alarm", "other", "clock_synchronized")


@lru_cache(maxsize=64)
def _insert(names: Names, size: int) -> str:
    columns = _columns(names)
    marks = f"({','.join('?' * len(columns))})"
    return f"INSERT OR IGNORE INTO reading ({', '.join(columns)}) VALUES {','.join([marks] * size)}"


def _sqlite(connection: Connection, rows: Sequence[Row]) -> Inserted:
    new = 0
    known: list[Row] = []
    for names, kind in by_quantities(rows).items():
        start = 0
        largest = min(_LARGEST, 1 << (_MOST_PARAMETERS // len(_columns(names))).bit_length() - 1)
        for size in _powers(len(kind), largest):
            some = kind[start : start + size]
            values = tuple(chain.from_iterable([row[:NAMES] for row in some]))
            inserted = connection.exec_driver_sql(_insert(names, size), values).rowcount
            new += inserted
            known += some if inserted < size else []
            start += size
    return Inserted(new, namesakes.conflicts(connection, known) if known else [])


def _postgresql(connection: Connection, rows: Sequence[Row]) -> int:
    driver = connection.connection.driver_connection
    assert isinstance(driver, psycopg.Connection)
    try:
        return _copied(driver, rows)
    except psycopg.Error as error:
        # Past SQLAlchemy, so it must be made its error here: only such a one is tried again
        # (bridge.ingest.ingest).
        raise DBAPIError.instance(
            "COPY staging", None, error, psycopg.Error, dialect=connection.dialect
        ) from error


def _copied(driver: psycopg.Connection[tuple[int, ...]], rows: Sequence[Row]) -> int:
    kinds = by_quantities(rows)
    have = set(chain.from_iterable(kinds))
    with driver.cursor() as cursor:
        cursor.execute(_STAGING)
        for names, some in kinds.items():
            told = f"COPY staging ({', '.join(_columns(names))}) FROM STDIN (FORMAT BINARY)"
            with cursor.copy(told) as copy:
                copy.set_types(
                    ("int4", "int8", "int8", "int8", *("float8" for _ in names), "bool", "text", "bool")
                )
                for row in some:
                    copy.write_row(row[:NAMES])
        columns = _columns(tuple(name for name in QUANTITIES if name in have))
        cursor.execute(_NOT_PACKED.format(names=", ".join(columns)))
        return cursor.rowcount


def insert_due_hours(connection: Connection, hours: Sequence[tuple[int, int]]) -> None:
    """Note that these hours (start in ms, meter) are to be summed up; in order, against deadlocks."""
    if connection.dialect.name == "sqlite":
        start = 0
        for size in _powers(len(hours)):
            values = tuple(chain.from_iterable(hours[start : start + size]))
            marks = ",".join(["('hour',?,?)"] * size)
            connection.exec_driver_sql(
                f"INSERT OR IGNORE INTO {Due.__tablename__} (work, start, meter) VALUES {marks}", values
            )
            start += size
    else:
        connection.exec_driver_sql(
            f"INSERT INTO {Due.__tablename__} (work, start, meter) SELECT 'hour', hour.start, hour.meter"
            " FROM unnest(%s::int8[], %s::int4[]) AS hour (start, meter)"
            " ON CONFLICT DO NOTHING",
            tuple(map(list, zip(*hours, strict=True))),
        )
