"""Old readings in packs: up to 1,000 of one meter in one row, about a tenth of their size as rows.

A row for each reading costs PostgreSQL 28 bytes before the first value, and its unique key 36 more:
no choice of column types comes to less than about 95. So readings of days gone by are packed: a pack
holds consecutive readings without a hole, so that (meter, epoch, seq) is in a pack exactly when
``first_seq <= seq <= last``, and the key of the contract holds over rows and packs together.

The data is deflated JSON (RFC 1950, RFC 8259), a list for each column that is not empty; every value
comes back as the same number. A list of whole numbers is kept as differences, under ``name+``; where
all values are the same, that value stands in place of the list.

>>> rows = [(1, 7, 1000, 230.5, None, None, None, None, 98414.0, False),
...         (1, 8, 2000, 230.7, None, None, None, None, 98415.0, False)]
>>> zlib.decompress(encode(rows))
b'{"ts+":[1000,1000],"voltage":[230.5,230.7],"energy+":[98414,1],"alarm":false}'
>>> list(decode(1, 7, 8, encode(rows))) == [StoredReading._make(row) for row in rows]
True
"""

from __future__ import annotations

import heapq
import zlib
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, chain, pairwise, repeat
from operator import attrgetter
from typing import Any, NamedTuple

import orjson
from sqlalchemy import ColumnElement, Connection, and_, select
from sqlmodel import col

from bridge.tables import Pack, Reading

MAX_READINGS = 1000
"""In one pack: what has to be unpacked to read one of them."""

_ROWS_AT_A_TIME = 1000
_PACKS_AT_A_TIME = 10
_EXACT = 2**53


class StoredReading(NamedTuple):
    """One reading as it is in the database: ``ts`` in ms since 1970 UTC, V, A, W, Hz, Wh; None is absent."""

    epoch: int
    seq: int
    ts: int
    voltage: float | None
    current: float | None
    power: float | None
    power_factor: float | None
    frequency: float | None
    energy: float | None
    alarm: bool | None


_VALUES = StoredReading._fields[2:]
_COLUMNS = [getattr(Reading, name) for name in StoredReading._fields]
_PACK_COLUMNS = (col(Pack.epoch), col(Pack.first_seq), col(Pack.seq), col(Pack.data))


def encode(rows: Sequence[tuple[Any, ...]]) -> bytes:
    """The data of a pack of these readings, in the order of seq and without a hole."""
    columns: dict[str, Any] = {}
    for name, values in zip(_VALUES, zip(*(row[2:] for row in rows), strict=True), strict=True):
        key, packed = _encoded(name, values)
        if packed is not None:
            columns[key] = packed
    return zlib.compress(orjson.dumps(columns), 6)


def _encoded(name: str, values: tuple[Any, ...]) -> tuple[str, Any]:
    if name != "ts" and values.count(values[0]) == len(values) and _plain_zero(values):
        return name, values[0]
    if all(type(value) is int or _whole(value) for value in values):
        whole = [int(value) for value in values]
        return f"{name}+", [whole[0], *(later - earlier for earlier, later in pairwise(whole))]
    return name, list(values)


def _whole(value: object) -> bool:
    """True for a float that is the same after a way through int; −0.0 is not."""
    return (
        type(value) is float
        and value.is_integer()
        and abs(value) < _EXACT
        and (value != 0 or str(value) == "0.0")
    )


def _plain_zero(values: tuple[Any, ...]) -> bool:
    """False for zeros of which some are −0.0: they are equal, and yet not the same."""
    return values[0] != 0 or len(set(map(str, values))) == 1


def decode(epoch: int, first_seq: int, last_seq: int, data: bytes) -> Iterator[StoredReading]:
    """The readings of a pack, by seq."""
    count = last_seq - first_seq + 1
    packed = orjson.loads(zlib.decompress(data))
    columns = [_decoded(packed, name, count) for name in _VALUES]
    rows = zip(repeat(epoch, count), range(first_seq, last_seq + 1), *columns, strict=True)
    return map(StoredReading._make, rows)


def _decoded(packed: dict[str, Any], name: str, count: int) -> Iterable[Any]:
    if (differences := packed.get(f"{name}+")) is not None:
        whole = accumulate(differences)
        return whole if name == "ts" else map(float, whole)
    values = packed.get(name)
    return values if isinstance(values, list) else repeat(values, count)


def between(
    connection: Connection,
    meter: int,
    *,
    start: int | None,
    end: int | None = None,
    rows_at_a_time: int | None = _ROWS_AT_A_TIME,
) -> Iterator[StoredReading]:
    """Readings of ``meter`` with start <= ts < end (ms), by ts, epoch and seq, in bounded memory.

    The connection must see one state of the database throughout (see `bridge.database.snapshot`).
    """
    rows = select(*_COLUMNS).where(col(Reading.meter) == meter, _within(start, end, first=Reading.ts))
    rows = rows.order_by(col(Reading.ts), col(Reading.epoch), col(Reading.seq))
    options = {"yield_per": rows_at_a_time} if rows_at_a_time else {}
    stored = connection.execute(rows, execution_options=options)
    packed = (row for row in _unpacked(connection, meter, start=start, end=end) if _is_in(row, start, end))
    return heapq.merge(map(StoredReading._make, stored), packed, key=_by_time)


def _unpacked(
    connection: Connection, meter: int, *, start: int | None, end: int | None
) -> Iterator[StoredReading]:
    """The readings of all packs that reach into the time, by time; they overlap where a clock was set."""
    packs = select(col(Pack.first_ts), col(Pack.last_ts), *_PACK_COLUMNS).where(
        col(Pack.meter) == meter, _within(start, end, first=Pack.first_ts, last=Pack.last_ts)
    )
    packs = packs.order_by(col(Pack.first_ts))
    found = connection.execute(packs, execution_options={"yield_per": _PACKS_AT_A_TIME})
    waiting: list[tuple[tuple[int, int, int], StoredReading]] = []
    for pack, following in pairwise(chain(found, (None,))):
        assert pack is not None
        while waiting and waiting[0][0][0] < pack.first_ts:
            yield heapq.heappop(waiting)[1]
        readings = decode(*pack[-4:])
        if waiting or (following is not None and following.first_ts <= pack.last_ts):
            for reading in readings:
                heapq.heappush(waiting, (_by_time(reading), reading))
        else:
            yield from sorted(readings, key=_by_time)
    while waiting:
        yield heapq.heappop(waiting)[1]


def _by_time(reading: StoredReading) -> tuple[int, int, int]:
    return reading.ts, reading.epoch, reading.seq


def _is_in(reading: StoredReading, start: int | None, end: int | None) -> bool:
    return (start is None or reading.ts >= start) and (end is None or reading.ts < end)


def _within(start: int | None, end: int | None, *, first: Any, last: Any = None) -> ColumnElement[bool]:
    conditions: list[ColumnElement[bool]] = []
    if start is not None:
        conditions.append(col(first if last is None else last) >= start)
    if end is not None:
        conditions.append(col(first) < end)
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
    """The readings with energy from seq ``first`` to ``last`` of an epoch, by seq."""
    rows = select(*_COLUMNS).where(
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
    return sorted((reading for reading in found if reading.energy is not None), key=attrgetter("seq"))


def neighbour(
    connection: Connection, meter: int, epoch: int, *, before: int | None = None, after: int | None = None
) -> StoredReading | None:
    """The nearest reading with energy ``before`` or ``after`` a seq in the same epoch."""
    backwards = before is not None
    limit = before if before is not None else after
    assert limit is not None
    same = (col(Reading.meter) == meter, col(Reading.epoch) == epoch, col(Reading.energy).is_not(None))
    seq = col(Reading.seq)
    row = connection.execute(
        select(*_COLUMNS)
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
    """The nearest packed reading with energy, if any; packs without energy are passed over."""
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
            if reading.energy is not None and (reading.seq < limit if backwards else reading.seq > limit)
        ]
        if readings:
            return [readings[-1] if backwards else readings[0]]
        beyond = pack.first_seq if backwards else pack.seq
