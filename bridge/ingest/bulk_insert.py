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
from itertools import chain

import psycopg
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from bridge.ingest import namesakes
from bridge.ingest.parse import Row
from bridge.store.pack_format import StoredReading
from bridge.store.tables import Due

_COLUMNS = ("meter", *StoredReading._fields)
_NAMES = ", ".join(_COLUMNS)
_MARKS = f"({','.join('?' * len(_COLUMNS))})"
_LARGEST = 512
"""Rows of one SQLite statement: 6,656 of the 32,766 parameters that it takes."""

# fmt: off
_POSTGRES_TYPES = ("int4", "int8", "int8", "int8", *("float8",) * 6, "bool", "text", "bool")
# fmt: on

_STAGING = f"""
CREATE TEMP TABLE IF NOT EXISTS staging ON COMMIT DELETE ROWS AS SELECT {_NAMES} FROM reading WITH NO DATA
"""
_NOT_PACKED = f"""
INSERT INTO reading ({_NAMES}) SELECT {_NAMES} FROM staging AS new
WHERE (SELECT first_seq FROM reading_pack AS pack
       WHERE pack.meter = new.meter AND pack.epoch = new.epoch AND pack.seq >= new.seq
       ORDER BY pack.seq LIMIT 1) <= new.seq IS NOT TRUE
ON CONFLICT DO NOTHING
"""


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


def _powers(count: int) -> list[int]:
    """``count`` as powers of two: ten statement texts, prepared once, serve batches of every size."""
    parts, power = [_LARGEST] * (count // _LARGEST), _LARGEST // 2
    while power:
        parts += [power] if count & power else []
        power //= 2
    return parts


def _sqlite(connection: Connection, rows: Sequence[Row]) -> Inserted:
    start = new = 0
    known: list[Row] = []
    for size in _powers(len(rows)):
        some = rows[start : start + size]
        result = connection.exec_driver_sql(
            f"INSERT OR IGNORE INTO reading ({_NAMES}) VALUES {','.join([_MARKS] * size)}",
            tuple(chain.from_iterable(some)),
        )
        new += result.rowcount
        if result.rowcount < size:
            known += some
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
    with driver.cursor() as cursor:
        cursor.execute(_STAGING)
        with cursor.copy(f"COPY staging ({_NAMES}) FROM STDIN (FORMAT BINARY)") as copy:
            copy.set_types(_POSTGRES_TYPES)
            for row in rows:
                copy.write_row(row)
        cursor.execute(_NOT_PACKED)
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
