"""A week's quality of supply, indicative after EN 50160, from the hours of `bridge.store.supply_hour`. Pure.

EN 50160: 95 % of a week's 10-minute means are within 10 % of the nominal voltage, all within +10 and -15 %;
99.5 % of the frequency's means within 1 %; unbalance up to 2 % in 95 % of the time. What is not covered by
readings says nothing: below `COVERED` percent no week is good, while a bad one is bad.

>>> judgement(within=99.0, extremes=100.0, covered=99.0), judgement(within=94.0, extremes=100.0, covered=50.0)
('met', 'not met')
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from math import ceil
from typing import Any

from bridge.store.supply_hour import NONE, SAG, STEP_MS, SWELL, UNBALANCES, Hour, Nominal

COVERED = 95.0
"""Percent of the 10-minute means that a week needs to be good."""
MET, NOT_MET, NOT_KNOWN = "met", "not met", "not known"
_PHASES = ("l1", "l2", "l3")
FIELDS = (
    *("voltage_judgement", "within_10", *(f"within_10_{phase}" for phase in _PHASES), "within_extremes"),
    *("voltage_lowest", "voltage_highest", "frequency_judgement", "frequency_within_1"),
    *("frequency_lowest", "frequency_highest", "unbalance_judgement", "unbalance_95", "unbalance_by"),
    *("sags", "sag_longest", "sag_lowest", "swells", "swell_longest", "swell_highest", "interruptions"),
    *("coverage", "readings", "nominal_voltage"),
)
"""Shares, coverage and unbalance in percent; voltages in V and frequencies in Hz, lowest and highest mean;
``sag_longest`` in s, ``sag_lowest`` in percent of the nominal voltage."""

HourAt = tuple[int, Hour]
"""When it begins (ms), and what is known of it."""


@dataclass
class _Week:
    """What is counted."""

    start: int
    end: int
    means: dict[str, list[float]] = field(default_factory=dict)
    """Quantity → percent of the nominal value; of an unbalance percent."""
    volts: list[float] = field(default_factory=list)
    steps: set[int] = field(default_factory=set)
    frequency: list[Sequence[int]] = field(default_factory=list)
    events: list[tuple[int, float, int]] = field(default_factory=list)
    """Kind, s, and extreme of those that are over."""
    readings: int = 0
    nominal: float | None = None


def week(hours: Iterable[HourAt], *, start: int, end: int, near: int) -> tuple[Any, ...]:
    """The `FIELDS` of start <= t < end (ms); ``hours``, by time, may reach over it.

    A 10-minute mean belongs to the period in which it begins, as a sag, and an hour's frequency.
    """
    found = _Week(start, end)
    several = list(hours)
    for at, hour in several:
        _add(found, at, hour)
    found.events = [
        (kind, (last - first) / 1000, extreme)
        for kind, first, last, extreme in events(several, near=near)
        if start <= first < end
    ]
    return tuple(_fields(found))


def events(hours: Sequence[HourAt], *, near: int) -> Iterator[tuple[int, int, int, int]]:
    """Kind, begin and end (ms) and extreme of each sag and swell: one may go on over hours.

    Begin and end are of the first and last reading in it: one that a single reading saw has no length.
    """
    for kind in (SAG, SWELL):
        current: tuple[int, int, int] | None = None
        goes_on, last_end = False, 0
        for at, hour in hours:
            for event in (one for one in hour.events if one.kind == kind):
                begin, end = at + event.begin * 1000, at + event.end * 1000
                is_first = bool(hour.runs) and event.begin == hour.runs[0].begin
                if current and goes_on and is_first and begin - last_end <= near + 1000:
                    current = (current[0], end, (min if kind == SAG else max)(current[2], event.extreme))
                else:
                    if current:
                        yield (kind, *current)
                    current = (begin, end, event.extreme)
                goes_on = False
            last = hour.runs[-1].end if hour.runs else -1
            own = [one for one in hour.events if one.kind == kind]
            goes_on, last_end = bool(own) and own[-1].end == last, at + last * 1000
        if current:
            yield (kind, *current)


def judgement(*, within: float, extremes: float, covered: float, least: float = 95.0) -> str:
    """Of percents."""
    if within < least or extremes < 100:
        return NOT_MET
    return MET if covered >= COVERED else NOT_KNOWN


def _add(found: _Week, at: int, hour: Hour) -> None:
    nominal = Nominal(*hour.nominal)
    for name, values in hour.means.items():
        un = nominal.of_quantity(name)
        for place, value in enumerate(values):
            begin = at + place * STEP_MS
            if value is None or not found.start <= begin < found.end:
                continue
            if name in UNBALANCES:
                found.means.setdefault(name, []).append(value / 100)
                continue
            found.means.setdefault(name, []).append(10 * value / un)
            found.volts.append(value / 10)
            found.steps.add(begin)
    if found.start <= at < found.end:
        found.readings += hour.readings
        found.nominal = nominal.voltage
        if hour.frequency is not None:
            found.frequency.append(hour.frequency)


def _fields(found: _Week) -> Iterator[Any]:
    covered = 100 * len(found.steps) * STEP_MS / (found.end - found.start)
    voltages = {name: values for name, values in found.means.items() if name not in UNBALANCES}
    shares = {name: _share(values, 90, 110) for name, values in voltages.items()}
    extremes = min((_share(values, 85, 110) for values in voltages.values()), default=None)
    within = min(shares.values(), default=None)
    yield (
        NOT_KNOWN
        if within is None or extremes is None
        else judgement(within=within, extremes=extremes, covered=covered)
    )
    yield _round(within)
    yield from (_round(shares.get(f"voltage_{phase}")) for phase in _PHASES)
    yield _round(extremes)
    yield min(found.volts, default=None)
    yield max(found.volts, default=None)
    yield from _of_frequency(found.frequency, covered)
    yield from _of_unbalance(found.means, covered)
    yield from _of_events(found.events)
    yield _round(covered)
    yield found.readings
    yield found.nominal


def _share(values: Sequence[float], low: float, high: float) -> float:
    inside = sum(low - 1e-9 <= value <= high + 1e-9 for value in values)
    return 100 * inside / len(values)


def _of_frequency(several: Sequence[Sequence[int]], covered: float) -> Iterator[Any]:
    if not several:
        yield from (NOT_KNOWN, None, None, None)
        return
    count, near, wide = (sum(hour[place] for hour in several) for place in range(3))
    within = 100 * near / count
    yield judgement(within=within, extremes=100 * wide / count, covered=covered, least=99.5)
    yield _round(within)
    yield min(hour[3] for hour in several) / 1000
    yield max(hour[4] for hour in several) / 1000


def _of_unbalance(means: dict[str, list[float]], covered: float) -> Iterator[Any]:
    name = next((name for name in UNBALANCES if name in means), None)
    if name is None:
        yield from (NOT_KNOWN, None, None)
        return
    values = sorted(means[name])
    most = values[ceil(0.95 * len(values)) - 1]
    yield (MET if covered >= COVERED else NOT_KNOWN) if most <= 2 else NOT_MET
    yield most
    yield UNBALANCES[name]


def _of_events(several: Sequence[tuple[int, float, int]]) -> Iterator[Any]:
    for kind, pick in ((SAG, min), (SWELL, max)):
        own = [(seconds, extreme / 10) for one, seconds, extreme in several if one == kind]
        yield len(own)
        yield max((seconds for seconds, _ in own), default=None)
        yield pick((extreme for _, extreme in own), default=None)
    yield sum(kind == SAG and extreme < 1000 * NONE for kind, _, extreme in several)


def _round(value: float | None) -> float | None:
    return None if value is None else round(value, 2)
