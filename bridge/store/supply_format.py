"""The quality of supply of a meter and UTC day, as it is stored: deflated JSON, kept as long as the roll-ups.

It is written when an hour is summed up, and written again when late readings come. Retention deletes readings
and leaves it, and an hour of which readings were deleted is not computed again (`bridge.store.rollup`).

>>> day = Day(0)
>>> day.hours[3] = Hour((230.0, 50.0), 1, {"voltage": [2301, None, None, None, None, None]}, None, [], [])
>>> Day(0, day.encoded()).hours == day.hours
True
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any

import orjson
from sqlalchemy import BigInteger, Connection, bindparam, select
from sqlmodel import col

from bridge.store import series
from bridge.store.intervals import near_ms
from bridge.store.profile_steps import Summed
from bridge.store.supply_hour import STEPS, Event, Hour, Nominal, Run, hour_of
from bridge.store.tables import DAY_MS, HOUR_MS, Meter, SupplyQuality
from bridge.store.upsert import upsert_into

HOURS = DAY_MS // HOUR_MS


class Day:
    """The hours of the day that begins at ``start`` (ms); None: no reading."""

    def __init__(self, start: int, data: bytes | None = None) -> None:
        self.start = start
        self.hours: list[Hour | None] = list(_decoded(data)) if data else [None] * HOURS

    def encoded(self) -> bytes:
        """What is stored."""
        known = [hour for hour in self.hours if hour is not None]
        told = {
            "hours": [place for place, hour in enumerate(self.hours) if hour is not None],
            "nominal": [tuple(hour.nominal) for hour in known],
            "readings": [hour.readings for hour in known],
            "means": {
                name: list(_steps(chain.from_iterable(hour.means.get(name, _NOTHING) for hour in known), -1))
                for name in dict.fromkeys(name for hour in known for name in hour.means)
            },
            "frequency": [hour.frequency for hour in known],
            "events": [[tuple(event) for event in hour.events] for hour in known],
            "runs": list(_told(hour.runs for hour in known)),
        }
        return zlib.compress(orjson.dumps(told), 9)


_NOTHING = [None] * STEPS


def runs_of(start: int, data: bytes) -> Iterator[tuple[int, list[Run]]]:
    """Begin (ms) of each hour with readings, and its runs: without the rest, which takes longer."""
    told = orjson.loads(zlib.decompress(data))
    begins = (start + hour * HOUR_MS for hour in told["hours"])
    return zip(begins, _runs(told["runs"]), strict=True)


def _decoded(data: bytes) -> Iterator[Hour | None]:
    told: dict[str, Any] = orjson.loads(zlib.decompress(data))
    means = {name: list(_steps(values, 1)) for name, values in told["means"].items()}
    runs = list(_runs(told["runs"]))
    found: dict[int, Hour] = {}
    for place, hour in enumerate(told["hours"]):
        some = slice(place * STEPS, (place + 1) * STEPS)
        own = {
            name: values[some] for name, values in means.items() if any(v is not None for v in values[some])
        }
        frequency = told["frequency"][place]
        found[hour] = Hour(
            tuple(told["nominal"][place]),
            told["readings"][place],
            own,
            None if frequency is None else tuple(frequency),
            [Event(*event) for event in told["events"][place]],
            runs[place],
        )
    return (found.get(hour) for hour in range(HOURS))


def _steps(values: Any, sign: int) -> Iterator[int | None]:
    """Each less the one before it (-1), or as they were (1)."""
    last = 0
    for value in values:
        if value is None:
            yield None
        else:
            yield value + sign * last
            last = value if sign < 0 else value + last


def _told(hours: Iterable[Iterable[Run]]) -> Iterator[list[Sequence[int]]]:
    """Runs with each name of a reading less the one before it: they count up."""
    epoch = seq = 0
    for runs in hours:
        several = list[Sequence[int]]()
        for run in runs:
            first = run.epoch - epoch, run.seq - seq
            last = run.last_epoch - run.epoch, run.last_seq - run.seq
            several.append((run.begin, run.end, *first, *last, run.dark))
            epoch, seq = run.last_epoch, run.last_seq
        yield several


def _runs(told: Iterable[Iterable[Sequence[int]]]) -> Iterator[list[Run]]:
    """The other way round."""
    epoch = seq = 0
    for runs in told:
        several = []
        for begin, end, epochs, seqs, more_epochs, more_seqs, dark in runs:
            first, number = epoch + epochs, seq + seqs
            epoch, seq = first + more_epochs, number + more_seqs
            several.append(Run(begin, end, first, number, epoch, seq, dark))
        yield several


def renew(
    connection: Connection, meter: int, summed: Summed, hours: Sequence[int], *, nominal: Nominal
) -> None:
    """Write what the readings of these hours, all that are known, say; they are of one day."""
    near = near_ms(connection.scalar(_INTERVAL, {"of": meter}) or 0.0)
    start = summed.start - summed.start % DAY_MS
    before = connection.scalar(_DATA, {"of": meter, "day": start})
    day = Day(start, before)
    for hour in hours:
        own = series.cut(summed.columns, hour, hour + HOUR_MS)
        day.hours[(hour - start) // HOUR_MS] = hour_of(own, hour, near=near, nominal=nominal)
    if (data := day.encoded()) != before:
        row = {"meter": meter, "start": start, "data": data}
        connection.execute(upsert_into(connection.dialect.name, SupplyQuality), row)


_INTERVAL = select(col(Meter.interval)).where(col(Meter.key) == bindparam("of"))
_DATA = select(col(SupplyQuality.data)).where(
    col(SupplyQuality.meter) == bindparam("of"),
    col(SupplyQuality.start) == bindparam("day", type_=BigInteger),
)
"""Made once, as the next."""
