"""What the statement of a meter and month says: registers, energy by tariff, maximum demand, quality.

Energy is that of the load profile: the corrected register at the end less the one at the begin is the sum of
the intervals, and of the tariffs. Money comes from a ledger that knows it, line by line, or is not there.

>>> [one.used for one in next(statements(store, [meter], month)).registers]  # doctest: +SKIP
[231400.0]
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import Any, NamedTuple

from bridge.store.intervals import Mark
from bridge.store.period_sums import begins
from bridge.store.profile_format import Day
from bridge.store.profile_steps import REGISTERS
from bridge.store.profile_table import MARKS
from bridge.store.queries import Store
from bridge.store.register_table import At, at_once, at_times
from bridge.store.tables import DAY_MS, HOUR_MS, Meter, at_ms
from bridge.store.tariff_energy import EXPORT, IMPORT, Timeline
from bridge.store.tariff_file import Tariff
from bridge.store.tariffs import Tariffs
from broker.calendar import Period

DEMAND = ("demand_max", "demand_at", "demand_mark")
"""W; the begin of its interval (ms); how well it is known."""


class RegisterLine(NamedTuple):
    """A register at both ends, in Wh or varh; None where it is not known."""

    register: str
    begin: float | None
    end: float | None
    used: float | None
    begin_raw: float | None
    end_raw: float | None


class TariffLine(NamedTuple):
    """Energy of a tariff in Wh; None: nothing is known of it."""

    tariff: str
    name: str
    imported: float | None
    exported: float | None


class MoneyLine(NamedTuple):
    """As the ledger says it: the amount is a text with its currency."""

    label: str
    amount: str


@dataclass(frozen=True)
class Statement:
    """Of one meter and period."""

    meter: Meter
    period: Period
    registers: tuple[RegisterLine, ...]
    tariffs: tuple[TariffLine, ...]
    demand: dict[str, Any]
    """By `DEMAND`; None if nothing is known."""
    intervals: dict[str, int]
    """How many there are of each mark."""
    money: tuple[MoneyLine, ...] = ()


Money = Callable[[Meter, Period], Sequence[MoneyLine]]


class _Tariffs:
    """Which tariff is in force in the intervals of a day: the same for all meters."""

    def __init__(self, period: Period, tariffs: Tariffs | None) -> None:
        self.all = tariffs.tariffs if tariffs else ()
        self.name = tariffs.newest_name if tariffs else str
        self._timeline = Timeline(tariffs, [period]) if tariffs else None
        self._known: dict[tuple[int, int], list[tuple[Tariff, slice]]] = {}

    def runs(self, day: Day, places: range) -> list[tuple[Tariff, slice]]:
        """The intervals of the period, by runs with the same tariff."""
        if self._timeline is None:
            return []
        key = day.start, day.span
        if key not in self._known:
            told = ((self._timeline.of(day.start + at * day.span, day.span), at) for at in places)
            runs = ((tariff, [at for _, at in some]) for tariff, some in groupby(told, key=itemgetter(0)))
            self._known[key] = [(tariff, slice(some[0], some[-1] + 1)) for tariff, some in runs]
        return self._known[key]


def statements(
    store: Store,
    meters: Iterable[Meter],
    period: Period,
    *,
    tariffs: Tariffs | None = None,
    money: Money | None = None,
) -> Iterator[Statement]:
    """One for each meter; a retired meter without intervals in the period is left out.

    ConfigurationError if there is no tariff yet, or one begins inside of an interval.
    """
    start, end = at_ms(period.start), at_ms(period.end)
    calendar, starts = _Tariffs(period, tariffs), range(start - start % DAY_MS, end, DAY_MS)
    for some in at_once(meters):
        days = store.profiles.of_days([meter.key or 0 for meter in some], starts)
        for meter, (first, last) in at_times(store, some, [start, end]):
            mine = list(days.get(meter.key or 0, {}).values())
            if mine or meter.retired_at is None:
                yield Statement(
                    meter,
                    period,
                    tuple(_registers(first, last)),
                    tuple(_by_tariff(mine, start, end, calendar)),
                    _demand(mine, start, end),
                    _intervals(store, meter, mine, start, end),
                    tuple(money(meter, period)) if money else (),
                )


def _by_tariff(days: Sequence[Day], start: int, end: int, tariffs: _Tariffs) -> Iterator[TariffLine]:
    found: dict[tuple[str, Tariff], list[int]] = {}
    for day in days:
        for tariff, run in tariffs.runs(day, day.places(start, end)):
            for name in (IMPORT, EXPORT):
                if (total := day.total(name, run)) is not None:
                    found.setdefault((name, tariff), []).append(total)
    for tariff in tariffs.all:
        told = (found.get((name, tariff)) for name in (IMPORT, EXPORT))
        imported, exported = (None if values is None else sum(values) / 1000 for values in told)
        yield TariffLine(tariff, tariffs.name(tariff), imported, exported)


def _demand(days: Sequence[Day], start: int, end: int) -> dict[str, Any]:
    """As `bridge.store.demand`: the largest mean power of an interval, the earliest of equal ones."""
    largest, demand = -1, dict[str, Any].fromkeys(DEMAND)
    for day in days:
        some = _some(day, start, end)
        values = day.column(IMPORT)[some]
        known = [value for value in values if value is not None] if None in values else values
        highest = max(known, default=-1)
        if (power := highest * HOUR_MS // day.span) > largest:
            largest, place = power, some.start + values.index(highest)
            mark = day.column(f"{IMPORT}_mark")[place]
            found = (
                power / 1000,
                day.start + place * day.span,
                MARKS[Mark.MISSING if mark is None else mark],
            )
            demand = dict(zip(DEMAND, found, strict=True))
    return demand


def _intervals(store: Store, meter: Meter, days: Sequence[Day], start: int, end: int) -> dict[str, int]:
    """As `bridge.store.period_sums`: one that does not exist is missing, too, but none before the first."""
    counts = [0] * len(Mark)
    for day in days:
        marks = day.column(f"{IMPORT}_mark")[_some(day, start, end)]
        for mark in (Mark.MEASURED, Mark.INTERPOLATED, Mark.ESTIMATED):
            counts[mark] += marks.count(mark)
    spans = {day.start: day.span for day in days}
    if spans and (missing := begins(spans, start, end) - sum(counts)):
        first = max(start, store.profiles.begin(meter) or start)
        counts[Mark.MISSING] = missing - begins(spans, start, first)
    return dict(zip(MARKS, counts, strict=True))


def _some(day: Day, start: int, end: int) -> slice:
    places = day.places(start, end)
    return slice(places.start, places.stop)


def _registers(begin: At, end: At) -> Iterator[RegisterLine]:
    """Those that the meter has at the end; imported energy in any case."""
    for name in REGISTERS:
        first, last = begin.total.values[name], end.total.values[name]
        if last is not None or name == IMPORT:
            used = None if last is None else (last - (first or 0)) / 1000
            raw = (one.raw[name] for one in (begin, end))
            yield RegisterLine(
                name, _wh(first), _wh(last), used, *(None if one is None else one.counter for one in raw)
            )


def _wh(value: int | None) -> float | None:
    return None if value is None else value / 1000
