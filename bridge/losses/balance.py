"""What a feeder or transformer was supplied with, what its houses used, and what is lost between. Pure.

An interval is balanced if its own meter and all houses in service are measured or interpolated there: losses
are of these alone, so that a silent house is no loss. Energy is what was imported less what was exported.

>>> FIELDS[:5]
('intervals', 'balanced', 'energy_supplied', 'energy_used', 'loss')
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from operator import itemgetter
from statistics import fmean, linear_regression
from typing import Any, NamedTuple

from bridge.losses.aligned import Series
from bridge.store.intervals import Mark
from bridge.store.profile_table import MARKS
from bridge.store.tables import HOUR_MS

FIELDS = (
    "intervals", "balanced", "energy_supplied", "energy_used", "loss", "loss_percent",
    "loss_technical", "loss_other", "coverage", *MARKS,
)  # fmt: skip
"""Energy in Wh; ``coverage`` is the share (%) of the houses' intervals that are measured or interpolated,
``measured`` and so on are the numbers of these."""
ENOUGH = 480
"""Measured intervals that a fit needs: five days of quarters of an hour."""


@dataclass(frozen=True)
class Flows:
    """Of a node, by interval of ``span`` ms from ``start`` (ms) on; energy in thousandths of a Wh."""

    start: int
    span: int
    supplied: list[int | None]
    """What the own meter says; None: not known."""
    used: list[int]
    """Of the houses of which it is known."""
    marks: list[list[int]]
    """By `Mark`: how many houses have it."""
    balanced: list[bool]
    exact: list[bool]
    """All is measured."""

    def at(self, place: int) -> int:
        """Begin (ms) of an interval."""
        return self.start + place * self.span

    def lost(self, place: int) -> int:
        """Of a balanced interval."""
        return (self.supplied[place] or 0) - self.used[place]

    def watts(self, place: int) -> float:
        """Mean power of the own meter."""
        return (self.supplied[place] or 0) * HOUR_MS / self.span / 1000


class Technical(NamedTuple):
    """Losses of lines: ``factor`` times the square of the supplied power."""

    factor: float
    """W lost per W²."""
    constant: float
    """W that are lost whatever the power is."""
    intervals: int
    """That it was fitted to."""


def flows(own: Sequence[Series], houses: Sequence[Series]) -> Flows:
    """All series are on the same grid; there is at least one."""
    grid = (*own, *houses)[0]
    supplied, worst = _supplied(own, grid.count)
    used, marks = [0] * grid.count, [[0] * grid.count for _ in Mark]
    for house in houses:
        flow = house.flow
        for place in house.places:
            mark = flow.marks[place]
            marks[mark][place] += 1
            used[place] += flow.values[place] or 0
    measured, interpolated, estimated, missing = marks
    balanced, exact = list[bool](), list[bool]()
    for place, value in enumerate(supplied):
        good = value is not None and not estimated[place] and not missing[place]
        good = good and worst[place] <= Mark.INTERPOLATED and measured[place] + interpolated[place] > 0
        balanced.append(good)
        exact.append(good and not interpolated[place] and worst[place] == Mark.MEASURED)
    return Flows(grid.start, grid.span, supplied, used, marks, balanced, exact)


def _supplied(own: Sequence[Series], count: int) -> tuple[list[int | None], list[int]]:
    """Of the meters in service together, and the worst of their marks."""
    supplied: list[int | None] = [None] * count
    worst = [int(Mark.MISSING)] * count
    for place, several in enumerate(_in_service(own, count)):
        if several and all(value is not None for value, _ in several):
            supplied[place] = sum(value or 0 for value, _ in several)
            worst[place] = max(map(itemgetter(1), several))
    return supplied, worst


def _in_service(own: Sequence[Series], count: int) -> list[list[tuple[int | None, int]]]:
    found: list[list[tuple[int | None, int]]] = [[] for _ in range(count)]
    for one in own:
        flow = one.flow
        for place in one.places:
            found[place].append((flow.values[place], flow.marks[place]))
    return found


def technical(of: Flows) -> Technical | None:
    """Least squares of loss = constant + factor · P² over the measured intervals.

    None if these are too few, the power is always the same, or losses do not rise with it. What is stolen
    mostly when the load is high counts as technical here.
    """
    places = [place for place, is_exact in enumerate(of.exact) if is_exact]
    squares = [of.watts(place) ** 2 for place in places]
    if len(places) < ENOUGH or min(squares) == max(squares):
        return None
    losses = [of.lost(place) * HOUR_MS / of.span / 1000 for place in places]
    factor, constant = linear_regression(squares, losses)
    if constant < 0:
        factor = sum(x * y for x, y in zip(squares, losses, strict=True)) / sum(x * x for x in squares)
        constant = 0.0
    return Technical(factor, constant, len(places)) if factor > 0 else None


def row(of: Flows, fit: Technical | None, start: int, end: int) -> tuple[Any, ...]:
    """`FIELDS` of the intervals that begin in this time (ms)."""
    first = max(0, -(-(start - of.start) // of.span))
    places = range(first, max(first, min(len(of.used), -(-(end - of.start) // of.span))))
    some = slice(places.start, places.stop)
    good = [place for place in places if of.balanced[place]]
    marks = [sum(counts[some]) for counts in of.marks]
    known = marks[Mark.MEASURED] + marks[Mark.INTERPOLATED]
    coverage = round(100 * known / sum(marks), 2) if sum(marks) else None
    energy = _energy(of, fit, good) if good else (None,) * 6
    return (len(places), len(good), *energy, coverage, *marks)


def _energy(of: Flows, fit: Technical | None, good: Sequence[int]) -> tuple[Any, ...]:
    supplied = sum(of.supplied[place] or 0 for place in good)
    lost = sum(map(of.lost, good))
    percent = round(100 * lost / supplied, 2) if supplied > 0 else None
    lines = other = None
    if fit is not None:
        lines = round(fit.factor * fmean(of.watts(place) ** 2 for place in good) * _hours(of, good), 3)
        other = round(lost / 1000 - lines, 3)
    return supplied / 1000, (supplied - lost) / 1000, lost / 1000, percent, lines, other


def _hours(of: Flows, places: Sequence[int]) -> float:
    return len(places) * of.span / HOUR_MS
