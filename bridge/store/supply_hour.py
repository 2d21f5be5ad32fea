"""What an hour of readings says of the quality of supply, indicative after EN 50160. Pure.

Our meters are not class A of IEC 61000-4-30, so all of it is indicative: a voltage is the mean of the
readings in 10 minutes, a frequency that of 10 s, a sag or swell is seen when a reading falls into it. An hour
follows from its own readings alone, so late ones correct it by being summed up again, in any order.

>>> negative_sequence(400.0, 400.0, 400.0)
0.0
>>> round(negative_sequence(390.0, 400.0, 410.0), 2)
2.89
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from math import sqrt
from operator import sub
from typing import Any, NamedTuple, Self

from bridge.store.pack_format import Columns
from bridge.store.tables import HOUR_MS
from scl_builder.model.deadbands import NOMINALS, Bands

STEP_MS = 600_000
STEPS = HOUR_MS // STEP_MS
FREQUENCY_MS = 10_000
"""ms of a mean of the frequency."""
LOW, HIGH, NONE = 0.9, 1.1, 0.05
"""Of the nominal voltage: below is a sag, above a swell; below in all phases there is no supply."""
TO_NEUTRAL = ("voltage_l1", "voltage_l2", "voltage_l3")
LINES = ("voltage_l12", "voltage_l23", "voltage_l31")
UNBALANCES = {"unbalance": "negative sequence", "deviation": "largest deviation from the mean"}
"""Field → what it is: of the voltages between lines, or only of those to neutral."""
SAG, SWELL = 0, 1
"""Kinds of events; also which of the lowest and highest voltage they are about."""


class Nominal(NamedTuple):
    """What the readings are compared with, in V to neutral and Hz."""

    voltage: float = 230.0
    frequency: float = 50.0

    @classmethod
    def of(cls, bands: Bands) -> Self:
        """From METER61850_MMS_NOMINAL, or else as in the SCD."""
        told = dict(bands.nominal)
        values = (told.get(row.kind, row.nominal) for row in (NOMINALS["V"], NOMINALS["Hz"]))
        return cls(*values)

    def of_quantity(self, name: str) -> float:
        """V; between lines it is √3 times that to neutral."""
        return self.voltage * sqrt(3) if name in LINES else self.voltage


class Event(NamedTuple):
    """A sag or swell: from its first to its last reading, in s of the hour."""

    kind: int
    begin: int
    end: int
    extreme: int
    """The lowest or highest voltage of a phase, in thousandths of the nominal one."""


class Run(NamedTuple):
    """Readings that follow each other without a silence, in s of the hour; and the names of both ends."""

    begin: int
    end: int
    epoch: int
    seq: int
    last_epoch: int
    last_seq: int
    dark: int = 0
    """1: their voltages say that there is no supply."""


class Hour(NamedTuple):
    """What is stored of an hour."""

    nominal: Sequence[float]
    readings: int
    means: dict[str, list[int | None]]
    """Quantity → the mean of each 10 minutes: tenths of a V; of an unbalance hundredths of a percent."""
    frequency: Sequence[int] | None
    """Means of 10 s: how many, how many within 1 %, within -6 and +4 %, lowest and highest in mHz."""
    events: list[Event]
    runs: list[Run]


def hour_of(columns: Columns, start: int, *, near: int, nominal: Nominal) -> Hour:
    """Of the readings of the hour from ``start`` (ms), by time; at least one.

    Readings that are more than ``near`` ms apart have a silence between them.
    """
    times = columns["ts"]
    names = judged(columns)
    edges = [bisect_left(times, start + place * STEP_MS) for place in range(STEPS + 1)]
    means = {name: [_mean(columns[name][a:b]) for a, b in pairwise(edges)] for name in names}
    lines = names if names == LINES else [name for name in LINES if _tells(columns, name)]
    if len(lines) == len(LINES):
        means["unbalance"] = _unbalance(columns, lines, edges, negative_sequence)
    elif names == TO_NEUTRAL:
        means["deviation"] = _unbalance(columns, names, edges, deviation)
    levels = list(_levels(columns, names, nominal))
    rounded = {
        name: [None if mean is None else round(mean * (10 if name in names else 100)) for mean in values]
        for name, values in means.items()
    }
    return Hour(
        nominal,
        len(times),
        rounded,
        _frequency(columns, nominal.frequency),
        list(_events(times, levels, start, near)),
        list(_runs(columns, levels, start, near)),
    )


def judged(columns: Columns) -> tuple[str, ...]:
    """The voltages that are judged: of the phases, of the only one, or else those between lines."""
    phases = tuple(name for name in TO_NEUTRAL if _tells(columns, name))
    if not phases and _tells(columns, "voltage"):
        return ("voltage",)
    return phases or tuple(name for name in LINES if _tells(columns, name))


def negative_sequence(first: float, second: float, third: float) -> float:
    """Percent of the positive sequence, of three voltages between lines (IEC 61000-4-30, 5.7)."""
    largest = max(first, second, third)
    if not largest:
        return 0.0
    squares = [(value / largest) ** 2 for value in (first, second, third)]  # of 1e-100 V they would be 0
    total = sum(squares)
    beta = sum(square * square for square in squares) / total**2
    root = sqrt(max(0.0, 3 - 6 * beta))
    return 100 * sqrt(max(0.0, 1 - root) / (1 + root))


def deviation(*values: float) -> float:
    """Percent of the mean by which the one that is furthest from it is away."""
    mean = sum(values) / len(values)
    return 100 * max(abs(value - mean) for value in values) / mean if mean else 0.0


def _tells(columns: Columns, name: str) -> bool:
    return any(value is not None for value in columns.get(name, ()))


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _unbalance(columns: Columns, names: Iterable[str], edges: Sequence[int], of: Any) -> list[float | None]:
    """Of the means of each 10 minutes."""
    means = [[_mean(columns[name][a:b]) for name in names] for a, b in pairwise(edges)]
    return [None if None in several else of(*several) for several in means]


def _levels(columns: Columns, names: Sequence[str], nominal: Nominal) -> Iterator[tuple[float, float]]:
    """Lowest and highest voltage of each reading, as shares of the nominal one; 1 where it says nothing."""
    un = nominal.of_quantity(names[0]) if names else 1.0
    told = [value for name in names for value in columns[name] if value is not None]
    if not names or (min(told) >= LOW * un and max(told) <= HIGH * un):  # mostly: no look at each reading
        yield from [(1.0, 1.0)] * len(columns["ts"])
        return
    for several in zip(*(columns[name] for name in names), strict=True):
        known = [value for value in several if value is not None] or [un]
        yield min(known) / un, max(known) / un


def _frequency(columns: Columns, nominal: float) -> tuple[int, ...] | None:
    told = zip(columns["ts"], columns.get("frequency", ()), strict=False)
    tens: dict[int, list[float]] = {}
    for ts, value in told:
        if value:
            tens.setdefault(ts // FREQUENCY_MS, []).append(value)
    if not tens:
        return None
    means = [sum(several) / len(several) for several in tens.values()]
    near = sum(abs(mean - nominal) <= nominal / 100 + 1e-9 for mean in means)
    wide = sum(0.94 * nominal - 1e-9 <= mean <= 1.04 * nominal + 1e-9 for mean in means)
    return len(means), near, wide, round(1000 * min(means)), round(1000 * max(means))


def _events(
    times: Sequence[int], levels: Sequence[tuple[float, float]], start: int, near: int
) -> Iterator[Event]:
    """Sags, then swells; a silence ends one."""
    for kind in (SAG, SWELL):
        values = [level[kind] for level in levels]
        outs = [value < LOW if kind == SAG else value > HIGH for value in values]
        if not any(outs):
            continue
        several: list[tuple[int, float]] = []
        for ts, value, out in zip(times, values, outs, strict=True):
            if several and (not out or ts - several[-1][0] > near):
                yield _event(kind, several, start)
                several = []
            if out:
                several.append((ts, value))
        if several:
            yield _event(kind, several, start)


def _event(kind: int, several: Sequence[tuple[int, float]], start: int) -> Event:
    extreme = (min if kind == SAG else max)(level for _, level in several)
    begin, end = ((ts - start) // 1000 for ts in (several[0][0], several[-1][0]))
    return Event(kind, begin, end, round(1000 * extreme))


def _runs(columns: Columns, levels: Sequence[tuple[float, float]], start: int, near: int) -> Iterator[Run]:
    times, epochs, seqs = columns["ts"], columns["epoch"], columns["seq"]
    dark = [high < NONE for _, high in levels]
    longest = max(map(sub, times[1:], times), default=0)
    cuts = [] if longest <= near and not any(dark) else [
        place
        for place in range(1, len(times))
        if times[place] - times[place - 1] > near or dark[place] != dark[place - 1]
    ]  # fmt: skip
    for first, after in pairwise([0, *cuts, len(times)]):
        last = after - 1
        begin, end = ((times[place] - start) // 1000 for place in (first, last))
        yield Run(begin, end, epochs[first], seqs[first], epochs[last], seqs[last], int(dark[first]))
