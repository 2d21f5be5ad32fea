"""Sums over the intervals of load profiles by local periods: what demand, tariffs and bills have in common.

An interval belongs to the period in which it begins. Each row ends with the numbers of intervals whose
imported energy is measured, interpolated, estimated and missing.

>>> sums(profiles, [meter], periods, new=Demand, fields=FIELDS)  # doctest: +SKIP
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from bridge.store.every_meter import METER, identity
from bridge.store.export import Table
from bridge.store.intervals import Mark
from bridge.store.profile_format import Day
from bridge.store.profile_table import MARKS, Profiles
from bridge.store.tables import DAY_MS, Meter, at_ms
from broker.calendar import Period

HEAD = (*METER, "period", "start", "end")
"""The first fields of a row; the last ones are `MARKS`."""


IMPORT, EXPORT = "energy_import", "energy_export"
_KNOWN = (Mark.MEASURED, Mark.INTERPOLATED, Mark.ESTIMATED)


class PeriodSum(ABC):
    """Of one meter and period."""

    def __init__(self) -> None:
        self.marks = [0] * len(Mark)
        """Numbers of intervals, by `Mark`; those that are missing after `fill`."""

    def take(self, day: Day, start: int, end: int) -> None:
        """Take the intervals of a day in that begin in this time (ms)."""
        some = slice_of(day, start, end)
        told = day.column(f"{IMPORT}_mark")[some]
        for mark in _KNOWN:
            self.marks[mark] += told.count(mark)
        self.add(day, some)

    def fill(self, spans: Mapping[int, int], start: int, end: int) -> None:
        """All others of a time (ms) are missing, also those that do not exist; ``spans`` as for `begins`."""
        known = sum(self.marks[mark] for mark in _KNOWN)
        self.marks[Mark.MISSING] = begins(spans, start, end) - known if spans else 0

    @abstractmethod
    def add(self, day: Day, some: slice) -> None:
        """Take these intervals of a day in."""

    @abstractmethod
    def values(self) -> tuple[Any, ...]:
        """The fields of the row."""


def slice_of(day: Day, start: int, end: int) -> slice:
    """The intervals of a day that begin in this time (ms)."""
    places = day.places(start, end)
    return slice(places.start, places.stop)


def sums(
    profiles: Profiles,
    meters: Iterable[Meter],
    periods: Sequence[Period],
    *,
    new: Callable[[], PeriodSum],
    fields: tuple[str, ...],
) -> Table:
    """A row for each meter and period with ``fields``; ``periods`` follow each other.

    A meter has no row of a period before it was heard first, and a retired one without intervals has none.
    """
    rows = (row for meter in meters for row in _of_meter(profiles, meter, periods, new))
    return Table((*HEAD, *fields, *MARKS), rows)


def _of_meter(
    profiles: Profiles, meter: Meter, periods: Sequence[Period], new: Callable[[], PeriodSum]
) -> Iterator[tuple[Any, ...]]:
    begin = profiles.begin(meter)
    if not periods or begin is None:
        return
    starts, end = [at_ms(period.start) for period in periods], at_ms(periods[-1].end)
    ends = [*starts[1:], end]
    found = [new() for _ in periods]
    spans: dict[int, int] = {}
    for day in profiles.each_day(meter, start=starts[0], end=end):
        spans[day.start] = day.span
        first, last = bisect_right(ends, day.start), bisect_left(starts, day.start + DAY_MS)
        for place in range(first, last):
            found[place].take(day, starts[place], ends[place])
    if not spans and meter.retired_at is not None:
        return
    head = identity(meter)
    for period, start, until, one in zip(periods, starts, ends, found, strict=True):
        if until > begin:
            one.fill(spans, max(start, begin), until)
            yield (*head, period.name, start, until, *one.values(), *one.marks)


def begins(spans: Mapping[int, int], start: int, end: int) -> int:
    """How many intervals begin in this time (ms); ``spans`` by day, of one without intervals the last one."""
    last = spans[max(spans)]
    count = 0
    for day in range(start - start % DAY_MS, end, DAY_MS):
        span = spans.get(day, last)
        first, until = max(start, day), min(end, day + DAY_MS)
        count += (day - first) // span - (day - until) // span  # both rounded up
    return count
