"""Energy of local days and months of each meter, from its registers at their boundaries.

The register at a boundary is the last one at or before it, or else the first one after it, at most
`tolerance` away. Energy is the difference of two registers if one counter can have gone from one to the other
(`bridge.store.energy`). If it cannot (the counter fell, the outbox is another one), the hours of the time are
added up, whose rule knows resets. What is not known is absent, and marked:

- ``no-start``, ``no-end``: there is no register at this boundary, and no energy;
- ``reset``: the registers at both ends are not of one count; the energy is that of the hours, if it is known;
- ``doubtful``: these hours leave out doubtful steps of the counter.

>>> energy(store, meters, list(calendar.days(start, end)))  # doctest: +SKIP
Table(fields=('meter_id', 'name', 'address_code', 'period', 'start', 'end', 'energy_used', ...), ...)
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from operator import attrgetter
from typing import Any

from bridge.store import series
from bridge.store.database import snapshot
from bridge.store.energy import agree, is_counted, is_settled, judged, rating_of
from bridge.store.every_meter import METER, identity
from bridge.store.export import Table
from bridge.store.pack_format import Columns, Counted, counted_of, joined
from bridge.store.profile_steps import REGISTERS
from bridge.store.queries import Store
from bridge.store.tables import HOUR_MS, Meter, at_ms
from broker.calendar import Period

NO_START, NO_END, RESET, DOUBTFUL = "no-start", "no-end", "reset", "doubtful"
FIELDS = (
    *METER, "period", "start", "end",
    "energy_used", "register_start", "register_end",
    "energy_export", "export_start", "export_end",
    "marks",
)  # fmt: skip
"""In Wh; ``register_…`` is `Counted.counter`, ``export_…`` is ``energy_export``."""

_NEAR_MS = 900_000
"""ms that a register may be away from its boundary: a quarter of an hour, and three readings at least."""
_INTERVALS = 3
_FEW = 10
"""Readings on each side of a boundary that usually decide."""


@dataclass(frozen=True)
class Registers:
    """Of one meter at one boundary; None: there is none near enough."""

    used: Counted | None
    export: Counted | None


def energy(
    store: Store,
    meters: Iterable[Meter],
    periods: Sequence[Period],
    *,
    through: Callable[[Iterable[Meter]], Iterable[Meter]] = iter,
) -> Table:
    """A row for each meter and period; ``periods`` follow each other.

    A meter has no row of a period before it was heard first. A retired one is left out if it has no register
    at any boundary.
    """
    return Table(FIELDS, (row for meter in through(meters) for row in _of_meter(store, meter, periods)))


def _of_meter(store: Store, meter: Meter, periods: Sequence[Period]) -> list[tuple[Any, ...]]:
    begin = store.profiles.begin(meter)
    periods = [period for period in periods if begin is not None and at_ms(period.end) > begin]
    if not periods:
        return []
    boundaries = [at_ms(period.start) for period in periods] + [at_ms(periods[-1].end)]
    found = [registers(store, meter, at=at) for at in boundaries]
    if meter.retired_at is not None and not any(one.used or one.export for one in found):
        return []
    head, rating = identity(meter), rating_of(meter.model)
    rows = []
    for period, (start, end), (first, last) in zip(
        periods, pairwise(boundaries), pairwise(found), strict=True
    ):
        used, marks = _difference(first.used, last.used, rating)
        if RESET in marks:
            used, more = _of_hours(store, meter, start, end)
            marks += more
        export, _ = _difference(first.export, last.export, rating)
        told = (
            used,
            _value(first.used),
            _value(last.used),
            export,
            _value(first.export),
            _value(last.export),
        )
        rows.append((*head, period.name, start, end, *told, " ".join(marks)))
    return rows


def registers(store: Store, meter: Meter, *, at: int) -> Registers:
    """What the meter's registers of active energy showed ``at`` a time (ms since 1970)."""
    return Registers(*shown(store, meter, at=at, names=("energy_import", "energy_export")).values())


def shown(store: Store, meter: Meter, *, at: int, names: Sequence[str]) -> dict[str, Counted | None]:
    """What these registers showed ``at`` a time (ms since 1970), by name; None: there is none near enough."""
    return shown_of(store, [meter], at=at, names=names)[meter.key or 0]


def shown_of(
    store: Store, meters: Sequence[Meter], *, at: int, names: Sequence[str]
) -> dict[int, dict[str, Counted | None]]:
    """The same of several meters, by `Meter.key`."""
    near = {meter.key or 0: max(_NEAR_MS, int(1000 * _INTERVALS * meter.interval)) for meter in meters}
    longest = max(near.values(), default=0)
    with snapshot(store.profiles.engine) as connection:
        several = series.around(connection, list(near), start=at - longest, end=at + longest + 1)
    found = {}
    for meter in meters:
        key = meter.key or 0
        columns = joined(several.get(key, ()))
        found[key] = {name: _shown(columns, REGISTERS[name], at, near[key], meter) for name in names}
    return found


def _shown(columns: Columns, register: str, at: int, near: int, meter: Meter) -> Counted | None:
    if not columns or (register and register not in columns):
        return None
    rating = rating_of(meter.model)
    told = (one for one in counted_of(columns, register) if abs(one.ts - at) <= near and is_counted(one))
    readings = sorted(told, key=attrgetter("epoch", "seq"))
    return _nearest(_good(_few(readings, at, rating), rating), at)


def _few(readings: list[Counted], at: int, rating: float) -> list[Counted]:
    """Those beside the time, if the rule says the same of them alone: two before it agree."""
    times = [one.ts for one in readings]
    if times != sorted(times) or len({one.epoch for one in readings}) > 1:
        return readings
    place = bisect_right(times, at)
    before = readings[max(0, place - _FEW) : place]
    return [*before, *readings[place : place + _FEW]] if is_settled(before, rating) else readings


def _good(readings: Iterable[Counted], rating: float) -> Iterator[Counted]:
    """Readings whose counter is no odd value, as far as their neighbours tell."""
    ordered = sorted(filter(is_counted, readings), key=attrgetter("epoch", "seq"))
    for _, group in groupby(ordered, key=attrgetter("epoch")):
        first, *others = group
        yield first
        yield from (step.reading for step in judged((first, *others), rating) if step.wh is not None)


def _nearest(readings: Iterable[Counted], at: int) -> Counted | None:
    """The last one at or before ``at``, else the first one after it."""
    before: list[Counted] = []
    after: list[Counted] = []
    for reading in readings:
        (before if reading.ts <= at else after).append(reading)
    time = attrgetter("ts", "epoch", "seq")
    return max(before, key=time) if before else min(after, key=time, default=None)


def _difference(
    first: Counted | None, last: Counted | None, rating: float
) -> tuple[float | None, tuple[str, ...]]:
    """Wh from one register to the other, and its marks."""
    if first is None or last is None:
        missing = ((NO_START, first), (NO_END, last))
        return None, tuple(mark for mark, one in missing if one is None)
    if first.epoch != last.epoch or not agree(first, last, rating):
        return None, (RESET,)
    return round((last.counter or 0.0) - (first.counter or 0.0), 6), ()


def _of_hours(store: Store, meter: Meter, start: int, end: int) -> tuple[float | None, tuple[str, ...]]:
    """The sum of the hours' energy; None in a zone whose days do not begin with an hour of UTC."""
    if start % HOUR_MS or end % HOUR_MS:
        return None, ()
    used = store.energy_used(meter, start=start, end=end)
    return used.wh, ((DOUBTFUL,) if used.doubtful else ())


def _value(reading: Counted | None) -> float | None:
    return None if reading is None else reading.counter
