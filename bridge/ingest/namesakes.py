"""Two readings with one name: what is stored under (meter, epoch, seq) is compared with what came.

A meter sends a reading again until it is confirmed, so the same content under the same name is nothing new.
Other content is another reading: of a memory card that was restored from a backup, or that was copied into a
second meter. Every value is compared exactly, in rows and packs alike; one that a version before this did not
know, and which it kept among the other numbers, is the same one in a column of its own.

>>> from bridge.ingest.rows import NOTHING, row_of
>>> before = NOTHING._replace(epoch=1, seq=1, ts=1000, voltage=230.0, clock_synchronized=True)
>>> same(row_of(7, before), before), same(row_of(7, before._replace(voltage=240.0)), before)
(True, False)
>>> same(row_of(7, before), before._replace(voltage=None, other='{"voltage":230.0}'))
True
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain, groupby
from typing import Any

import orjson
from sqlalchemy import Connection, select
from sqlmodel import col

from bridge.ingest.rows import Row, reading_of
from bridge.store.pack_format import StoredReading, decode
from bridge.store.tables import Pack

Name = tuple[int, int, int]
"""Key of the meter, epoch, seq."""

_AT_ONCE = 500
_NAMES = ", ".join(("meter", *StoredReading._fields))
_PACK = (col(Pack.epoch), col(Pack.first_seq), col(Pack.seq), col(Pack.data))
_NOTED = StoredReading._fields.index("other")
"""What comes from here on was not noted by the first versions."""


def conflicts(connection: Connection, rows: Sequence[Row]) -> list[Row]:
    """Those of ``rows`` under whose name another reading is stored; all of them were inserted or ignored."""
    stored = dict(_rows(connection, rows))
    packed = sorted({row[:3] for row in rows} - stored.keys())
    stored |= dict(_packed(connection, packed))
    return [row for row in rows if row[:3] in stored and not same(row, stored[row[:3]])]


def same(row: Row, stored: StoredReading) -> bool:
    """Whether ``row`` is the reading that is stored."""
    told = reading_of(row)
    if told == stored or (stored.clock_synchronized is None and told[:_NOTED] == stored[:_NOTED]):
        return True
    return stored.other is not None and _numbers(told) == _numbers(stored)


def _numbers(reading: StoredReading) -> dict[str, Any]:
    """All of a reading by name, wherever it is kept."""
    fields = reading._asdict()
    other = orjson.loads(fields.pop("other") or "{}")
    return {**other, **{name: value for name, value in fields.items() if value is not None}}


def _rows(connection: Connection, rows: Sequence[Row]) -> Iterator[tuple[Name, StoredReading]]:
    mark = "(?,?,?)" if connection.dialect.name == "sqlite" else "(%s,%s,%s)"
    for start in range(0, len(rows), _AT_ONCE):
        some = rows[start : start + _AT_ONCE]
        marks = ",".join([mark] * len(some))
        found = connection.exec_driver_sql(
            f"SELECT {_NAMES} FROM reading WHERE (meter, epoch, seq) IN (VALUES {marks})",
            tuple(chain.from_iterable(row[:3] for row in some)),
        )
        yield from ((tuple(row[:3]), StoredReading._make(row[1:])) for row in found)


def _packed(connection: Connection, names: Sequence[Name]) -> Iterator[tuple[Name, StoredReading]]:
    """What the packs hold of these names, which are in order."""
    for (meter, epoch), group in groupby(names, key=lambda name: name[:2]):
        wanted = {name[2] for name in group}
        while wanted:
            first = min(wanted)
            pack = connection.execute(
                select(*_PACK)
                .where(col(Pack.meter) == meter, col(Pack.epoch) == epoch, col(Pack.seq) >= first)
                .order_by(col(Pack.seq))
                .limit(1)
            ).first()
            if pack is None:
                break
            for reading in decode(*pack):
                if reading.seq in wanted:
                    yield (meter, epoch, reading.seq), reading
            wanted = {seq for seq in wanted if seq > pack.seq}
