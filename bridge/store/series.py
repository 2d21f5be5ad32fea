"""What is stored of a meter, over rows and packs (`bridge.store.pack_format`): by time, the last ones."""

from __future__ import annotations

import heapq
from bisect import bisect_left
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import chain, groupby, pairwise
from operator import attrgetter, itemgetter
from typing import Any

from sqlalchemy import BindParameter, ColumnElement, Connection, Row, Select, and_, bindparam, select
from sqlmodel import col

from bridge.store.pack_format import (
    NOTHING,
    Columns,
    StoredReading,
    columns_of,
    readings_of,
    unpacked,
)
from bridge.store.present import FIRST, LAST, READING, Names, columns, fields, present
from bridge.store.tables import DAY_MS, Pack, Reading

_ROWS_AT_A_TIME = 1000
_PACKS_AT_A_TIME = 10
_ROWS = READING.c
_PACK_COLUMNS = (col(Pack.epoch), col(Pack.first_seq), col(Pack.seq), col(Pack.data))
_TS = 2
"""Place of the time in a row."""


def between(
    connection: Connection,
    meter: int,
    *,
    start: int | None,
    end: int | None = None,
    rows_at_a_time: int | None = _ROWS_AT_A_TIME,
) -> Iterator[StoredReading]:
    """Readings of ``meter`` with start <= ts < end (ms), by ts, epoch and seq, in bounded memory.

    The connection must see one state of the database throughout (see `bridge.store.database.snapshot`).
    """
    for piece in pieces(connection, meter, start=start, end=end, rows_at_a_time=rows_at_a_time):
        yield from readings_of(piece)


def pieces(
    connection: Connection,
    meter: int,
    *,
    start: int | None,
    end: int | None = None,
    rows_at_a_time: int | None = _ROWS_AT_A_TIME,
) -> Iterator[Columns]:
    """The readings of `between` in pieces of up to 1,000, with the columns that each has.

    A pack that nothing overlaps is a piece as it is; where clocks were set, it goes through a heap.
    """
    names = present(connection, meter, start=start, end=end)
    begin, until = FIRST if start is None else start, LAST if end is None else end
    options = {"yield_per": rows_at_a_time} if rows_at_a_time else {}
    of_time = {"of": meter, "begin": begin, "until": until}
    found_rows = connection.execute(_rows_with(names), of_time, execution_options=options)
    queue = _Queue(names, found_rows.partitions(_ROWS_AT_A_TIME))
    of_time["last"] = min(until, LAST - DAY_MS) + DAY_MS
    found = connection.execute(_PACKS, of_time, execution_options={"yield_per": _PACKS_AT_A_TIME})
    for pack, following in pairwise(chain(found, (None,))):
        assert pack is not None
        yield from queue.until(pack.first_ts)
        packed = unpacked(*pack[-4:])
        before_others = following is None or pack.last_ts < following.first_ts
        if before_others and pack.last_ts < queue.next_ts and packed["ts"] == sorted(packed["ts"]):
            yield cut(packed, start, end)
        else:
            queue.put(reading for reading in readings_of(packed) if _is_in(reading, start, end))
    yield from queue.until(LAST)


@lru_cache
def _rows_with(names: Names) -> Select[Any]:
    """Made once, as the next: SQLAlchemy takes longer to make them than databases to answer."""
    some = (_ROWS.meter == bindparam("of"), _ROWS.ts >= _time("begin"), _ROWS.ts < _time("until"))
    return select(*columns(names)).where(*some).order_by(_ROWS.ts, _ROWS.epoch, _ROWS.seq)


def _time(name: str) -> BindParameter[int]:
    return bindparam(name, type_=_ROWS.ts.type)


_PACKS = (
    select(col(Pack.first_ts), col(Pack.last_ts), *_PACK_COLUMNS)
    .where(col(Pack.meter) == bindparam("of"), col(Pack.last_ts) >= _time("begin"))
    .where(col(Pack.first_ts) < _time("until"), col(Pack.last_ts) < _time("last"))
    .order_by(col(Pack.first_ts))
)
"""A pack is of a day at most: said for the index, which has last_ts."""


def around(
    connection: Connection, meters: Sequence[int], *, start: int, end: int
) -> dict[int, list[Columns]]:
    """The readings of several meters in a short time by meter, in no order, and some beside them."""
    rows = select(READING).where(_ROWS.meter.in_(meters), within(start, end, first=_ROWS.ts))
    packs = select(col(Pack.meter), *_PACK_COLUMNS).where(
        col(Pack.meter).in_(meters), within(start, end, first=Pack.first_ts, last=Pack.last_ts)
    )
    found: dict[int, list[Columns]] = {}
    for meter, some in groupby(connection.execute(rows.order_by(_ROWS.meter)), key=attrgetter("meter")):
        columns = zip(*some, strict=True)
        found[meter] = [dict(zip(READING.c.keys(), columns, strict=True))]
    for meter, epoch, first_seq, seq, data in connection.execute(packs):
        packed = unpacked(epoch, first_seq, seq, data)
        in_order = packed["ts"] == sorted(packed["ts"])
        found.setdefault(meter, []).append(cut(packed, start, end) if in_order else packed)
    return found


class _Queue:
    """Readings by time: rows, which come in that order, and those of packs that overlap."""

    def __init__(self, names: Names, rows: Iterator[Iterable[Row[Any]]]) -> None:
        self._fields = fields(names)
        self._more = rows
        self._rows: deque[Row[Any]] = deque()
        self._waiting: list[tuple[tuple[int, int, int], StoredReading]] = []
        self._fill()

    def _fill(self) -> None:
        """Have the next rows at hand, if there are any."""
        if not self._rows:
            self._rows.extend(next(self._more, ()))

    @property
    def next_ts(self) -> int:
        """Of the earliest."""
        row = self._rows[0][_TS] if self._rows else LAST
        return min(row, self._waiting[0][0][0]) if self._waiting else row

    def put(self, readings: Iterable[StoredReading]) -> None:
        """Of a pack."""
        for reading in readings:
            heapq.heappush(self._waiting, (_by_time(reading), reading))

    def until(self, ts: int) -> Iterator[Columns]:
        """Take what is before ``ts``, some at a time."""
        while self.next_ts < ts:
            yield self._mixed(ts) if self._waiting else self._alone(ts)

    def _alone(self, ts: int) -> Columns:
        """Of the rows at hand."""
        rows = self._rows
        count = bisect_left(rows, ts, key=itemgetter(_TS))
        some = zip(*[rows.popleft() for _ in range(count)], strict=True)
        self._fill()
        named = zip(self._fields, some, strict=True)
        return {name: values for name, values in named if values.count(None) < count}

    def _mixed(self, ts: int) -> Columns:
        """Of rows and packs."""
        some = [self._take()]
        while len(some) < _ROWS_AT_A_TIME and self._waiting and self.next_ts < ts:
            some.append(self._take())
        return columns_of(some)

    def _take(self) -> StoredReading:
        """The earliest."""
        waiting, rows = self._waiting, self._rows
        if not rows or (waiting and waiting[0][0] < _by_time(rows[0])):
            return heapq.heappop(waiting)[1]
        row = dict(zip(self._fields, rows.popleft(), strict=True))
        self._fill()
        reading: StoredReading = NOTHING._replace(**row)
        return reading


def cut(piece: Columns, start: int | None, end: int | None) -> Columns:
    """Those with start <= ts < end; the readings are in the order of time."""
    times = piece["ts"]
    first = 0 if start is None else bisect_left(times, start)
    last = len(times) if end is None else bisect_left(times, end)
    if (first, last) == (0, len(times)):
        return piece
    return {name: values[first:last] for name, values in piece.items()}


def _by_time(reading: StoredReading | Row[Any]) -> tuple[int, int, int]:
    return reading.ts, reading.epoch, reading.seq


def _is_in(reading: StoredReading, start: int | None, end: int | None) -> bool:
    return (start is None or reading.ts >= start) and (end is None or reading.ts < end)


def within(start: int | None, end: int | None, *, first: Any, last: Any = None) -> ColumnElement[bool]:
    """Whether a reading, or something of a pack from ``first`` to ``last``, is of start <= ts < end."""
    conditions: list[ColumnElement[bool]] = []
    if start is not None:
        conditions.append(col(first if last is None else last) >= start)
    if end is not None:
        conditions.append(col(first) < end)
        if last is not None:  # a pack is of a day at most: said for the index, which has last_ts
            conditions.append(col(last) < end + DAY_MS)
    return and_(True, *conditions)


def start_of_last(connection: Connection, meter: int, count: int) -> tuple[int, int] | None:
    """Where the last ``count`` readings begin: a ts, and how many of that ts belong to them; None: all do."""
    newest = select(col(Reading.ts)).where(col(Reading.meter) == meter).order_by(col(Reading.ts).desc())
    times = list(connection.scalars(newest.limit(count)))
    heapq.heapify(times)
    packs = select(col(Pack.last_ts), *_PACK_COLUMNS).where(col(Pack.meter) == meter)
    packs = packs.order_by(col(Pack.last_ts).desc())
    with connection.execute(packs, execution_options={"yield_per": _PACKS_AT_A_TIME}) as found:
        for pack in found:
            if len(times) >= count and pack.last_ts < times[0]:
                break
            for ts in unpacked(*pack[-4:])["ts"]:
                if len(times) < count:
                    heapq.heappush(times, ts)
                elif ts > times[0]:
                    heapq.heapreplace(times, ts)
    return (times[0], times.count(times[0])) if len(times) >= count else None


def last(connection: Connection, meter: int, *, start: int | None, count: int) -> Iterator[StoredReading]:
    """The last ``count`` readings from ``start`` on, oldest first, in bounded memory."""
    begin = start_of_last(connection, meter, count)
    if begin is None or (start is not None and begin[0] < start):
        return between(connection, meter, start=start)
    stream = between(connection, meter, start=begin[0])
    return _without_surplus(stream, *begin)


def _without_surplus(stream: Iterator[StoredReading], start: int, of_start: int) -> Iterator[StoredReading]:
    """``stream`` with only the last ``of_start`` readings of its first ts, ``start``."""
    first: deque[StoredReading] = deque(maxlen=of_start)
    for reading in stream:
        if reading.ts != start:
            yield from first
            yield reading
            break
        first.append(reading)
    else:
        yield from first
    yield from stream
