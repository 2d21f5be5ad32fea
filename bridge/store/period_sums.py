"""Sums over the intervals of load profiles by local periods: what demand and energy by tariff have in common.

An interval belongs to the period in which it begins. Each row ends with the numbers of intervals whose
imported energy is measured, interpolated, estimated and missing.

>>> sums(profiles, [meter], periods, new=Demand, fields=("energy_import",))  # doctest: +SKIP
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
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


class PeriodSum(ABC):
    """Of one meter and period."""

    def __init__(self) -> None:
        self.marks = [0] * len(Mark)
        """Numbers of intervals, by `Mark`."""

    @abstractmethod
    def add(self, at: int, span: int, values: Sequence[int | None], mark: int) -> None:
        """Take the interval from ``at`` (ms) in, which is ``span`` ms long.

        ``values`` are thousandths of the registers that were asked for; ``mark`` is of the first one.
        """

    @abstractmethod
    def values(self) -> tuple[Any, ...]:
        """The fields of the row."""


def sums(
    profiles: Profiles,
    meters: Iterable[Meter],
    periods: Sequence[Period],
    *,
    new: Callable[[], PeriodSum],
    fields: tuple[str, ...],
    registers: Sequence[str] = ("energy_import",),
) -> Table:
    """A row for each meter and period with ``fields``; ``periods`` follow each other.

    A meter has no row of a period before it was heard first, and a retired one without intervals has none.
    """
    rows = (row for meter in meters for row in _of_meter(profiles, meter, periods, new, registers))
    return Table((*HEAD, *fields, *MARKS), rows)


def _of_meter(
    profiles: Profiles,
    meter: Meter,
    periods: Sequence[Period],
    new: Callable[[], PeriodSum],
    registers: Sequence[str],
) -> Iterator[tuple[Any, ...]]:
    begin = profiles.begin(meter)
    if not periods or begin is None:
        return
    starts, end = [at_ms(period.start) for period in periods], at_ms(periods[-1].end)
    found = [new() for _ in periods]
    spans: dict[int, int] = {}
    for day in profiles.each_day(meter, start=starts[0], end=end):
        spans[day.start] = day.span
        for at, mark, values in _intervals(day, starts[0], end, registers):
            one = found[bisect_right(starts, at) - 1]
            one.marks[mark] += 1
            one.add(at, day.span, values, mark)
    if not spans and meter.retired_at is not None:
        return
    head = identity(meter)
    for period, start, until, one in zip(periods, starts, [*starts[1:], end], found, strict=True):
        if until <= begin:
            continue
        if spans:  # an interval that does not exist is missing, too
            one.marks[Mark.MISSING] += begins(spans, max(start, begin), until) - sum(one.marks)
        yield (*head, period.name, start, until, *one.values(), *one.marks)


def _intervals(
    day: Day, start: int, end: int, registers: Sequence[str]
) -> Iterator[tuple[int, int, list[int | None]]]:
    """Begin, mark and values of those that there are."""
    places = day.places(start, end)
    names = ("version", f"{registers[0]}_mark", *registers)
    columns = (day.column(name)[places.start : places.stop] for name in names)
    begins = (day.start + place * day.span for place in places)
    for at, version, mark, *values in zip(begins, *columns, strict=True):
        if version:
            yield at, int(Mark.MISSING) if mark is None else mark, values


def begins(spans: dict[int, int], start: int, end: int) -> int:
    """How many intervals begin in this time (ms); ``spans`` by day, of one without intervals the last one."""
    last = spans[max(spans)]
    count = 0
    for day in range(start - start % DAY_MS, end, DAY_MS):
        span = spans.get(day, last)
        first, until = max(start, day), min(end, day + DAY_MS)
        count += (day - first) // span - (day - until) // span  # both rounded up
    return count
