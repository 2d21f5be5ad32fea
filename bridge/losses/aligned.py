"""Load profiles of several meters on one grid of intervals: a list with a place for each. Pure.

>>> day = Day(0, 30)
>>> _ = day.put(1, {"energy_import": 21_300, "energy_import_mark": 0})
>>> one = series([day], start=0, end=2 * 3_600_000, life=(0, DAY_MS))
>>> one.column("energy_import"), coarser(one, 3_600_000).column("energy_import_mark")
([None, 21300, None, None], [3, 3])
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from bridge.store.intervals import Mark
from bridge.store.profile_format import Day
from bridge.store.tables import DAY_MS

PHASES = {"A": "voltage_l1_mean", "B": "voltage_l2_mean", "C": "voltage_l3_mean"}
"""Phase of the topology file → the voltage of a three-phase meter."""
_REGISTERS = ("energy_import", "energy_export")
_MARKS = tuple(f"{name}_mark" for name in _REGISTERS)
ENERGY = frozenset({*_REGISTERS, *_MARKS})
"""What losses follow from; a month of a quarter of an hour of the other fields is as much again, and more."""
NAMES = frozenset({*ENERGY, "power_mean", "voltage_mean", *PHASES.values()})
"""Fields that are looked at: thousandths of a Wh, tenths of a W and V, marks."""
_SHORTEST = 5 * 60_000
"""ms of an interval."""


class Flow(NamedTuple):
    """Energy of a meter: imported less exported."""

    values: list[int | None]
    """Thousandths of a Wh; None: not known, or only of a part of the interval."""
    marks: list[int]
    """Of `Mark`, the worse one of both registers."""


@dataclass(frozen=True)
class Series:
    """A meter in intervals of ``span`` ms from ``start`` (ms) on."""

    start: int
    span: int
    count: int
    places: range
    """Intervals in which the meter is in service."""
    columns: Mapping[str, Sequence[Any]]

    def column(self, name: str) -> Sequence[Any]:
        """A field; None where it is not known."""
        return self.columns.get(name) or [None] * self.count

    @cached_property
    def flow(self) -> Flow:
        """Its energy; export without a register for it is none."""
        values, marks = list[int | None](), list[int]()
        columns = (self.column(name) for name in (*_REGISTERS, *_MARKS))
        for imported, exported, mark, other in zip(*columns, strict=True):
            worse = int(Mark.MISSING) if mark is None or imported is None else max(mark, other or 0)
            marks.append(worse)
            values.append(None if worse == Mark.MISSING else imported - (exported or 0))
        return Flow(values, marks)


def series(
    days: Sequence[Day], *, start: int, end: int, life: tuple[int, int], names: frozenset[str] = NAMES
) -> Series:
    """The intervals from ``start`` to ``end`` (ms, full hours); the meter is in service in ``life`` (ms).

    ``names`` are the fields that are taken. Of days with unequal intervals the longest hold.
    """
    span = max((day.span for day in days), default=_SHORTEST)
    count = (end - start) // span
    known = names.intersection(name for day in days for name in day.names)
    columns: dict[str, list[Any]] = {name: [None] * count for name in known}
    for day in days:
        first = (day.start - start) // span
        some = slice(max(0, first), min(count, first + DAY_MS // span))
        for name in known.intersection(day.names):
            values = _joined(name, day.column(name), span // day.span)
            columns[name][some] = values[some.start - first : some.stop - first]
    begin, until = (max(0, min(count, -(-(at - start) // span))) for at in life)
    return Series(start, span, count, range(begin, until), columns)


def coarser(one: Series, span: int) -> Series:
    """The same with intervals of ``span`` ms, a multiple of what they are."""
    factor = span // one.span
    if factor == 1:
        return one
    columns = {name: _joined(name, values, factor) for name, values in one.columns.items()}
    places = range(-(-one.places.start // factor), one.places.stop // factor)
    return Series(one.start, span, one.count // factor, places, columns)


def aligned(several: Sequence[Series]) -> list[Series]:
    """All with the longest of their intervals."""
    span = max((one.span for one in several), default=_SHORTEST)
    return [coarser(one, span) for one in several]


def _joined(name: str, values: Sequence[Any], factor: int) -> Sequence[Any]:
    """Of ``factor`` intervals each: sum of a register, worst mark, mean of what is a mean."""
    if factor == 1:
        return values
    groups = [values[place : place + factor] for place in range(0, len(values), factor)]
    if name in _MARKS:
        return [max(int(Mark.MISSING) if one is None else one for one in group) for group in groups]
    sums = [None if None in group else sum(group) for group in groups]
    return sums if name in _REGISTERS else [None if one is None else round(one / factor) for one in sums]
