"""What is stored of a meter, over rows and packs (`bridge.store.pack_format`): by time, the last ones,
neighbours."""

from __future__ import annotations

import heapq
from bisect import bisect_left
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import chain, pairwise
from operator import attrgetter
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, func, select
from sqlmodel import col

from bridge.store.pack_format import Columns, StoredReading, decode, readings_of, unpacked
from bridge.store.tables import DAY_MS, Pack, Reading

_ROWS_AT_A_TIME = 1000
_PACKS_AT_A_TIME = 10
COLUMNS = [getattr(Reading, name) for name in StoredReading._fields]
_COUNTED = func.coalesce(col(Reading.energy), col(Reading.energy_import))  # type: ignore[attr-defined]
"""`StoredReading.counter`."""
_PACK_COLUMNS = (col(Pack.epoch), col(Pack.first_seq), col(Pack.seq), col(Pack.data))
_TS = StoredReading._fields.index("ts")
_FOREVER = 2**63


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
    for columns in pieces(connection, meter, start=start, end=end, rows_at_a_time=rows_at_a_time):
        yield from readings_of(columns)


def pieces(
    connection: Connection,
    meter: int,
    *,
    start: int | None,
    end: int | None = None,
    rows_at_a_time: int | None = _ROWS_AT_A_TIME,
) -> Iterator[Columns]:
    """The readings of `between` in pieces of up to 1,000, a list for each field of `StoredReading`.

    A pack that nothing overlaps is a piece as it is; where clocks were set, it goes through a heap.
    """
    rows = select(*COLUMNS).where(col(Reading.meter) == meter, within(start, end, first=Reading.ts))
    rows = rows.order_by(col(Reading.ts), col(Reading.epoch), col(Reading.seq))
    options = {"yield_per": rows_at_a_time} if rows_at_a_time else {}
    queue = _Queue(map(StoredReading._make, connection.execute(rows, execution_options=options)))
    packs = select(col(Pack.first_ts), col(Pack.last_ts), *_PACK_COLUMNS).where(
        col(Pack.meter) == meter, within(start, end, first=Pack.first_ts, last=Pack.last_ts)
    )
    packs = packs.order_by(col(Pack.first_ts))
    found = connection.execute(packs, execution_options={"yield_per": _PACKS_AT_A_TIME})
    for pack, following in pairwise(chain(found, (None,))):
        assert pack is not None
        yield from queue.until(pack.first_ts)
        columns = unpacked(*pack[-4:])
        before_others = following is None or pack.last_ts < following.first_ts
        if before_others and pack.last_ts < queue.next_ts and columns[_TS] == sorted(columns[_TS]):
            yield _cut(columns, start, end)
        else:
            queue.put(reading for reading in readings_of(columns) if _is_in(reading, start, end))
    yield from queue.until(_FOREVER)


class _Queue:
    """Readings by time: rows, which come in that order, and those of packs that overlap."""

    def __init__(self, rows: Iterator[StoredReading]) -> None:
        self._rows = rows
        self._row = next(rows, None)
        self._waiting: list[tuple[tuple[int, int, int], StoredReading]] = []

    @property
    def next_ts(self) -> int:
        """Of the earliest."""
        row = self._row.ts if self._row is not None else _FOREVER
        return min(row, self._waiting[0][0][0]) if self._waiting else row

    def put(self, readings: Iterable[StoredReading]) -> None:
        """Of a pack."""
        for reading in readings:
            heapq.heappush(self._waiting, (_by_time(reading), reading))

    def until(self, ts: int) -> Iterator[Columns]:
        """Take what is before ``ts``, some at a time."""
        while self.next_ts < ts:
            some = [self._take()]
            while len(some) < _ROWS_AT_A_TIME and self.next_ts < ts:
                some.append(self._take())
            yield [list(column) for column in zip(*some, strict=True)]

    def _take(self) -> StoredReading:
        """The earliest."""
        row = self._row
        if row is None or (self._waiting and self._waiting[0][0] < _by_time(row)):
            return heapq.heappop(self._waiting)[1]
        self._row = next(self._rows, None)
        return row


def _cut(columns: Columns, start: int | None, end: int | None) -> Columns:
    """Those of the time; the columns are in the order of time."""
    times = columns[_TS]
    first = 0 if start is None else bisect_left(times, start)
    last = len(times) if end is None else bisect_left(times, end)
    return columns if (first, last) == (0, len(times)) else [column[first:last] for column in columns]


def _by_time(reading: StoredReading) -> tuple[int, int, int]:
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
            for reading in decode(*pack[-4:]):
                if len(times) < count:
                    heapq.heappush(times, reading.ts)
                elif reading.ts > times[0]:
                    heapq.heapreplace(times, reading.ts)
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


def counted(connection: Connection, meter: int, epoch: int, *, first: int, last: int) -> list[StoredReading]:
    """The readings with a counter from seq ``first`` to ``last`` of an epoch, by seq."""
    rows = select(*COLUMNS).where(
        col(Reading.meter) == meter, col(Reading.epoch) == epoch, col(Reading.seq).between(first, last)
    )
    pieces = select(*_PACK_COLUMNS).where(
        col(Pack.meter) == meter,
        col(Pack.epoch) == epoch,
        col(Pack.seq) >= first,
        col(Pack.first_seq) <= last,
    )
    found = [StoredReading._make(row) for row in connection.execute(rows)]
    for pack in connection.execute(pieces):
        found += (reading for reading in decode(*pack) if first <= reading.seq <= last)
    return sorted((reading for reading in found if reading.counter is not None), key=attrgetter("seq"))


def backwards(connection: Connection, meter: int, epoch: int, *, before: int) -> Iterator[StoredReading]:
    """The readings with a counter before seq ``before`` of an epoch, the nearest first; each is looked up."""
    found = neighbour(connection, meter, epoch, before=before)
    while found is not None:
        yield found
        found = neighbour(connection, meter, epoch, before=found.seq)


def forwards(connection: Connection, meter: int, epoch: int, *, after: int) -> Iterator[StoredReading]:
    """The readings with a counter after seq ``after`` of an epoch, the nearest first; each is looked up."""
    found = neighbour(connection, meter, epoch, after=after)
    while found is not None:
        yield found
        found = neighbour(connection, meter, epoch, after=found.seq)


def neighbour(
    connection: Connection, meter: int, epoch: int, *, before: int | None = None, after: int | None = None
) -> StoredReading | None:
    """The nearest reading with a counter ``before`` or ``after`` a seq in the same epoch."""
    backwards = before is not None
    limit = before if before is not None else after
    assert limit is not None
    same = (col(Reading.meter) == meter, col(Reading.epoch) == epoch, _COUNTED.is_not(None))
    seq = col(Reading.seq)
    row = connection.execute(
        select(*COLUMNS)
        .where(*same, seq < limit if backwards else seq > limit)
        .order_by(seq.desc() if backwards else seq)
        .limit(1)
    ).first()
    found = [StoredReading._make(row)] if row is not None else []
    found += _packed_neighbour(connection, meter, epoch, limit, backwards=backwards)
    choose = max if backwards else min
    return choose(found, key=lambda reading: reading.seq, default=None)


def _packed_neighbour(
    connection: Connection, meter: int, epoch: int, limit: int, *, backwards: bool
) -> list[StoredReading]:
    """The nearest packed reading with a counter, if any; packs without one are passed over."""
    packs = select(*_PACK_COLUMNS).where(col(Pack.meter) == meter, col(Pack.epoch) == epoch).limit(1)
    backward, forward = packs.order_by(col(Pack.seq).desc()), packs.order_by(col(Pack.seq))
    beyond = limit
    while True:
        reach = col(Pack.first_seq) < beyond if backwards else col(Pack.seq) > beyond
        pack = connection.execute((backward if backwards else forward).where(reach)).first()
        if pack is None:
            return []
        readings = [
            reading
            for reading in decode(*pack)
            if reading.counter is not None and (reading.seq < limit if backwards else reading.seq > limit)
        ]
        if readings:
            return [readings[-1] if backwards else readings[0]]
        beyond = pack.first_seq if backwards else pack.seq
