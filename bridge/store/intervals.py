"""What of the steps of a register falls into each interval of a load profile. Pure.

A step is spread evenly over the time from one reading to the next, in whole thousandths of a Wh: intervals
that follow each other get all of it, and none of it twice. Its part before a boundary is rounded down.

>>> cover = Cover(begin=0, end=60_000, value=100, mark=Mark.MEASURED)
>>> cut([cover], start=0, end=90_000, span=45_000)
[(75, <Mark.MEASURED: 0>), (25, <Mark.MISSING: 3>)]
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from enum import IntEnum
from itertools import accumulate, groupby
from operator import attrgetter
from typing import Any, NamedTuple

from bridge.store.energy import Step
from bridge.store.pack_format import Columns, EndOfRun
from bridge.store.tables import DAY_MS, HOUR_MS

LONGEST_MS = 31 * DAY_MS
"""ms: what was counted in a longer time is not spread, but stands in the interval in which it ends."""
MEASURED = ("power", "voltage", "voltage_l1", "voltage_l2", "voltage_l3")
"""Of these an interval has mean, minimum and maximum."""
MOST_LONG = 24
"""Steps of more than an hour at the same instant: more are of a broken clock."""
TENTHS = 10
"""Of a W or V: as what they are stored."""
SHORT_MS = 60_000
"""ms between two readings that are always near enough to each other to be measured values."""
SHORT_INTERVALS = 3
"""So many reporting intervals of the meter are near enough as well."""


class Mark(IntEnum):
    """How well a value is known; of several the largest holds."""

    MEASURED = 0
    INTERPOLATED = 1
    """The registers are known at both sides of a time without readings."""
    ESTIMATED = 2
    """The counter was reset or is in doubt: what is known of it is counted."""
    MISSING = 3
    """Of a part of the interval no register is known; the value is that of the other part, if any."""


class Cover(NamedTuple):
    """A step of a register: from ``begin`` to ``end`` (ms) it counted ``value`` thousandths."""

    begin: int
    end: int
    value: int
    mark: Mark

    @property
    def spreads(self) -> bool:
        """Whether it has a length; else it all falls at its end."""
        return self.begin < self.end

    def concerns(self, first: int, end: int) -> bool:
        """Whether any of it is in this time, or it ends at its begin.

        Without a length only its end counts: where a clock was set back its begin is the later one.
        """
        return first <= self.end and (self.begin if self.spreads else self.end) < end


Value = tuple[int | None, Mark]
"""Thousandths of an interval, None if nothing is known."""


def near_ms(interval: float) -> int:
    """ms between two readings of a meter with this reporting ``interval`` (s) that make a measured value.

    >>> near_ms(10.0), near_ms(300.0)
    (60000, 900000)
    """
    return max(SHORT_MS, int(SHORT_INTERVALS * 1000 * interval))


def covers(steps: Iterable[Step], *, near: int) -> Iterator[tuple[Step, Cover]]:
    """Of the steps of one epoch, in their order; odd values, over which the count went on, are none."""
    for _, several in groupby(steps, key=attrgetter("since")):
        *_, step = several  # those before it were odd
        begin, end = step.since.ts, step.reading.ts
        fell = (step.reading.counter or 0.0) < (step.since.counter or 0.0)
        if step.wh is None or (fell and not step.wh):
            mark = Mark.ESTIMATED
        else:
            is_near = end - begin <= near or isinstance(step.reading, EndOfRun)
            mark = Mark.MEASURED if is_near else Mark.INTERPOLATED
        if end - begin > LONGEST_MS:
            begin, mark = end, Mark.ESTIMATED
        yield step, Cover(begin, end, round(1000 * (step.wh or 0.0)), mark)


def bounded(several: Iterable[tuple[Step, Cover]]) -> list[tuple[Step, Cover]]:
    """The same, but of a clock that leaps to and fro no step is spread over more than an hour.

    Else each leap would reach over days, and every hour of these would have to do with all of the leaps.
    """
    found = list(several)
    long = {cover for _, cover in found if cover.end - cover.begin > HOUR_MS}
    if len(long) <= MOST_LONG or _deepest(long) <= MOST_LONG:
        return found
    return [
        (step, cover._replace(begin=cover.end, mark=Mark.ESTIMATED) if cover in long else cover)
        for step, cover in found
    ]


def _deepest(several: Iterable[Cover]) -> int:
    """How many of these are at the same instant at most."""
    edges = sorted(edge for cover in several for edge in ((cover.begin, 1), (cover.end, -1)))
    return max(accumulate(change for _, change in edges), default=0)


def cut(several: Iterable[Cover], *, start: int, end: int, span: int) -> list[Value]:
    """The values of the intervals of ``span`` ms from ``start`` to ``end``."""
    count = (end - start) // span
    values, marks, known = [0] * count, [Mark.MEASURED] * count, [0] * count
    told = [False] * count
    reached = start
    for cover in sorted(several):
        if not cover.spreads:
            if start <= cover.end < end:
                place = (cover.end - start) // span
                values[place] += cover.value
                marks[place] = max(marks[place], cover.mark)
                told[place] = True
            continue
        first, last = max(0, (cover.begin - start) // span), min(count, (cover.end - start - 1) // span + 1)
        for place in range(first, last):
            begin = start + place * span
            values[place] += _before(cover, begin + span) - _before(cover, begin)
            told[place] = True
            marks[place] = max(marks[place], cover.mark)
            known[place] += max(0, min(cover.end, begin + span) - max(cover.begin, begin, reached))
        reached = max(reached, cover.end)
    return [
        (value if there else None, mark if length >= span else Mark.MISSING)
        for value, mark, length, there in zip(values, marks, known, told, strict=True)
    ]


def _before(cover: Cover, at: int) -> int:
    """What of it was counted before ``at``."""
    if at <= cover.begin:
        return 0
    if at >= cover.end:
        return cover.value
    return cover.value * (at - cover.begin) // (cover.end - cover.begin)


def measured(columns: Columns, begin: int, end: int, span: int) -> Iterator[dict[str, Any]]:
    """``readings`` of each interval, and mean, minimum and maximum of what was measured."""
    times = columns.get("ts", ())
    names = [name for name in MEASURED if name in columns]
    for start in range(begin, end, span):
        some = slice(bisect_left(times, start), bisect_left(times, start + span))
        row: dict[str, Any] = {"readings": some.stop - some.start}
        for name in names:
            told = [value for value in columns[name][some] if value is not None]
            if told:
                of = {"mean": sum(told) / len(told), "min": min(told), "max": max(told)}
                row |= {f"{name}_{what}": round(TENTHS * value) for what, value in of.items()}
        yield row


def by_day(covers: Mapping[str, Iterable[Cover]], first: int, end: int) -> dict[int, dict[str, list[Cover]]]:
    """By day and register, so that a day is not cut from the covers of a month."""
    found: dict[int, dict[str, list[Cover]]] = {
        day: {name: [] for name in covers} for day in range(first - first % DAY_MS, end, DAY_MS)
    }
    for name, several in covers.items():
        for cover in several:
            begin = max(first, cover.begin) if cover.spreads else cover.end
            for day in range(begin - begin % DAY_MS, min(end - 1, cover.end) + 1, DAY_MS):
                found[day][name].append(cover)
    return found


def rows_of(
    columns: Columns, covers: Mapping[str, list[Cover]], begin: int, end: int, span: int
) -> list[dict[str, Any]]:
    """The fields of the intervals of this time."""
    rows = list(measured(columns, begin, end, span))
    for name, several in covers.items():
        for row, (value, mark) in zip(rows, cut(several, start=begin, end=end, span=span), strict=True):
            row |= {name: value, f"{name}_mark": mark}
    return rows
