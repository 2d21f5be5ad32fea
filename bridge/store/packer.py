"""Packs the readings of hours and days gone by: rows into `bridge.store.pack_format`, up to 1,000 in each.

The hours that make a pack of 300 readings or more (`bridge.store.rollup.fitting`: one at a reading every ten
seconds, eight for one every minute) are packed when they are over for ``pack_after`` and summed up. So a
town's rows are those of the last hour, and a meter's day, whose rows would lie all over the table, is read
from a few places. Readings that cannot be packed with neighbours stay as rows, and so does the newest of
a meter, which `Store.meters` shows. A late reading makes its hours due again: it gets a pack of its own,
or stays as a row.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import groupby
from operator import itemgetter
from typing import Any

from sqlalchemy import BigInteger, Connection, Row, Select, bindparam, delete, insert, select, tuple_
from sqlmodel import col

from bridge.store.due import done, next_due
from bridge.store.pack_format import MAX_READINGS, packed
from bridge.store.present import Names, columns, fields, present
from bridge.store.rollup import PACKED_HOURS
from bridge.store.tables import HOUR_MS, Due, Pack, Reading

MIN_READINGS = 16
"""Fewer are not worth a pack."""

_TIME = (col(Reading.ts), col(Reading.epoch), col(Reading.seq))


class Packer:
    """Packs what is due of one kind of work, and over ``until`` (ms), up to 1,000 readings in each step."""

    def __init__(self, work: str, *, until: int) -> None:
        self._work = work
        self._span = PACKED_HOURS[work] * HOUR_MS
        self._until = until - self._span
        self._chosen: tuple[int, int] | None = None
        self._position = (0, 0, 0)
        self._passed = -1
        self.packed = 0

    def step(self, connection: Connection) -> bool:
        """Pack some of a meter's hours; False when nothing is due."""
        if self._chosen is None and not self._begin(connection):
            return False
        assert self._chosen is not None
        meter, start = self._chosen
        names, rows = self._rows(connection, meter, start)
        for run in _runs(rows):
            if len(run) >= MIN_READINGS:
                _move(connection, meter, names, run)
                self.packed += len(run)
        if len(rows) < MAX_READINGS:
            done(connection, self._work, meter, start)
            self._chosen = None
        else:
            newest = rows[-1]
            self._position = (newest.ts, newest.epoch, newest.seq)
        return True

    def _begin(self, connection: Connection) -> bool:
        """Choose the next one; what has an hour that is due to be summed up waits for it."""
        while (due := next_due(connection, self._work, until=self._until, after=self._passed)) is not None:
            meter, start = due
            if not hours_due(connection, meter, start, start + self._span):
                self._chosen, self._position = due, (start, 0, 0)
                return True
            self._passed = start
        return False

    def _rows(self, connection: Connection, meter: int, start: int) -> tuple[Names, Sequence[Row[Any]]]:
        """Some rows, and the quantities of which they have the values."""
        end = start + self._span
        names = present(connection, meter, start=self._position[0], end=end)
        last = connection.execute(_NEWEST, {"of": meter}).first() or self._position
        some = {
            "of": meter,
            "until": end,
            **dict(zip(_AFTER, self._position, strict=True)),
            **dict(zip(_BEFORE, last, strict=True)),
        }
        return names, connection.execute(_rows_with(names), some).all()


_AFTER, _BEFORE = ("after_ts", "after_epoch", "after_seq"), ("before_ts", "before_epoch", "before_seq")
_NEWEST = (
    select(*_TIME)
    .where(col(Reading.meter) == bindparam("of"))
    .order_by(*(column.desc() for column in _TIME))
    .limit(1)
)


@lru_cache
def _rows_with(names: Names) -> Select[Any]:
    """Made once, as the others: SQLAlchemy takes longer to make them than databases to answer."""
    after = [bindparam(name, type_=BigInteger) for name in _AFTER]
    before = [bindparam(name, type_=BigInteger) for name in _BEFORE]
    return (
        select(*columns(names))
        .where(
            col(Reading.meter) == bindparam("of"),
            col(Reading.ts) >= after[0],  # said alone, for the index on meter and ts
            col(Reading.ts) < bindparam("until", type_=BigInteger),
            tuple_(*_TIME) > tuple_(*after),
            tuple_(*_TIME) < tuple_(*before),
        )
        .order_by(*_TIME)
        .limit(MAX_READINGS)
    )


def hours_due(connection: Connection, meter: int, start: int, end: int) -> bool:
    """True when an hour of this time is not summed up yet."""
    some = {"of": meter, "begin": start, "end": end}
    return connection.execute(_HOURS_DUE, some).first() is not None


_HOURS_DUE = (
    select(col(Due.start))
    .where(col(Due.work) == "hour", col(Due.meter) == bindparam("of"))
    .where(col(Due.start) >= bindparam("begin", type_=BigInteger))
    .where(col(Due.start) < bindparam("end", type_=BigInteger))
    .limit(1)
)


def _runs(rows: Sequence[Row[Any]]) -> Iterator[list[Row[Any]]]:
    """``rows`` by epoch and seq, in pieces without a hole."""
    ordered = sorted(rows, key=itemgetter(0, 1))
    if rows and ordered[0][0] == ordered[-1][0] and ordered[-1][1] - ordered[0][1] == len(rows) - 1:  # type: ignore[misc]
        yield ordered  # most often all of them are one
        return
    for _, run in groupby(enumerate(ordered), key=lambda place: (place[1].epoch, place[1].seq - place[0])):
        yield [row for _, row in run]


def _move(connection: Connection, meter: int, names: Names, run: Sequence[Row[Any]]) -> None:
    """From rows into a pack."""
    epoch, first, last = run[0].epoch, run[0].seq, run[-1].seq
    pack: dict[str, Any] = {
        "meter": meter,
        "epoch": epoch,
        "seq": last,
        "first_seq": first,
        "first_ts": min(map(itemgetter(2), run)),
        "last_ts": max(map(itemgetter(2), run)),
        "data": packed(dict(zip(fields(names), zip(*run, strict=True), strict=True))),
    }
    connection.execute(_INSERT, pack)
    connection.execute(_DELETE, {"of": meter, "in_epoch": epoch, "first": first, "last": last})


_INSERT = insert(Pack)
_DELETE = (
    delete(Reading)
    .where(col(Reading.meter) == bindparam("of"))
    .where(col(Reading.epoch) == bindparam("in_epoch", type_=BigInteger))
    .where(col(Reading.seq) >= bindparam("first", type_=BigInteger))
    .where(col(Reading.seq) <= bindparam("last", type_=BigInteger))
)
