"""Energy of each tariff in local days and months, from the load profiles.

An interval belongs to the tariff in force at its begin. An interval in which the tariff changes is an error:
what it has belongs to neither of the two.

>>> tariff_energy(profiles, [meter], periods, tariffs).fields[6:8]  # doctest: +SKIP
('energy_t1', 'energy_t2')
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta
from functools import partial
from itertools import groupby, product
from typing import Any

from bridge.store.export import Table
from bridge.store.period_sums import EXPORT, IMPORT, PeriodSum, sums
from bridge.store.profile_format import Day
from bridge.store.profile_table import Profiles
from bridge.store.tables import Meter, at_ms, moment
from bridge.store.tariff_file import Tariff
from bridge.store.tariffs import Change, Tariffs
from broker.calendar import Period
from broker.contract.errors import ConfigurationError

_LONGEST = timedelta(hours=1)
"""Of an interval: the last one may end after its period."""
_SHORT = {IMPORT: "energy", EXPORT: "export"}


class Timeline:
    """The tariffs of a time, for many intervals in it."""

    def __init__(self, tariffs: Tariffs, periods: Sequence[Period]) -> None:
        self._tariffs = tariffs
        self.tariffs = tariffs.tariffs
        changes: list[Change] = []
        if periods:
            end = periods[-1].end + _LONGEST
            changes += [*tariffs.changes(periods[0].start, end), Change(end, tariffs.tariff_at(end))]
        self._begins = [at_ms(change.at) for change in changes]
        self._names = [change.tariff for change in changes]
        self._begin = self._end = 0
        self._tariff: Tariff = "T1"
        self._runs: dict[tuple[int, ...], list[tuple[Tariff | None, slice]]] = {}

    def of(self, at: int, span: int) -> Tariff:
        """In force at the begin of an interval (ms); ConfigurationError if the tariff changes in it."""
        if not self._begin <= at < self._end:
            place = bisect_right(self._begins, at)
            self._begin, self._end = self._begins[place - 1], self._begins[place]
            self._tariff = self._names[place - 1]
        if at + span > self._end:
            raise self._refusal(bisect_right(self._begins, at), span)
        return self._tariff

    def runs(self, day: Day, some: slice) -> Iterator[tuple[Tariff, slice]]:
        """Intervals of a day, by runs with the same tariff; ConfigurationError as `of`, if they exist."""
        key = day.start, day.span, some.start, some.stop
        if key not in self._runs:  # the same for all meters
            places = groupby(range(some.start, some.stop), key=partial(self._in_force, day.start, day.span))
            runs = ((tariff, list(run)) for tariff, run in places)
            self._runs[key] = [(tariff, slice(run[0], run[-1] + 1)) for tariff, run in runs]
        for tariff, run in self._runs[key]:
            if tariff is not None:
                yield tariff, run
            elif there := [place for place in range(run.start, run.stop) if day.version(place)]:
                self.of(day.start + there[0] * day.span, day.span)

    def _in_force(self, start: int, span: int, place: int) -> Tariff | None:
        """None: the tariff changes in the interval."""
        try:
            return self.of(start + place * span, span)
        except ConfigurationError:
            return None

    def _refusal(self, place: int, span: int) -> ConfigurationError:
        local = self._tariffs.calendar.local(moment(self._begins[place]))
        when = f"{local:%H:%M} on {local:%Y-%m-%d}"
        return ConfigurationError(
            f"{self._tariffs.source}: {self._names[place]} begins at {when}, inside of an interval of the "
            f"load profile ({span // 60_000} minutes): use a boundary of intervals"
        )


class ByTariff(PeriodSum):
    """Energy of each tariff: thousandths by register, None without any known interval."""

    def __init__(self, timeline: Timeline, registers: Sequence[str]) -> None:
        super().__init__()
        self._timeline, self._registers = timeline, registers
        self.sums: dict[Tariff, list[int | None]] = {}
        """Of the tariffs that had intervals."""

    def add(self, day: Day, some: slice) -> None:
        for tariff, run in self._timeline.runs(day, some):
            totals = [day.total(name, run) for name in self._registers]
            if any(total is not None for total in totals) or any(day.column("version")[run]):
                sums = self.sums.get(tariff) or [None] * len(totals)
                self.sums[tariff] = [_plus(*pair) for pair in zip(sums, totals, strict=True)]

    def values(self) -> tuple[Any, ...]:
        nothing = [None] * len(self._registers)
        told = (self.sums.get(tariff, nothing) for tariff in self._timeline.tariffs)
        return tuple(in_wh(value) for values in zip(*told, strict=True) for value in values)


def _plus(one: int | None, other: int | None) -> int | None:
    return one if other is None else (one or 0) + other


def in_wh(thousandths: int | None) -> float | None:
    """None stays."""
    return None if thousandths is None else thousandths / 1000


def tariff_energy(
    profiles: Profiles,
    meters: Iterable[Meter],
    periods: Sequence[Period],
    tariffs: Tariffs,
    *,
    export: bool = True,
) -> Table:
    """A row for each meter and period, in Wh: ``energy_t1``, …, with ``export`` also ``export_t1``, ….

    The fields are of the tariffs that the file names; a value is None without any known interval.
    ConfigurationError if a tariff changes in an interval, or if there is no tariff yet.
    """
    registers = (IMPORT, EXPORT) if export else (IMPORT,)
    fields = tuple(fields_of(registers, tariffs.tariffs))
    timeline = Timeline(tariffs, periods)
    return sums(
        profiles,
        meters,
        periods,
        new=lambda: ByTariff(timeline, registers),
        fields=fields,
    )


def fields_of(registers: Iterable[str], tariffs: Iterable[Tariff]) -> list[str]:
    """As ``energy_t1``."""
    return [f"{_SHORT[register]}_{tariff.lower()}" for register, tariff in product(registers, tariffs)]


def any_exports(profiles: Profiles, meters: Iterable[Meter], periods: Sequence[Period]) -> bool:
    """Whether a meter counts what it exports: by its birth, or its first or last intervals of this time."""
    meters = list(meters)
    if any(EXPORT in meter.quantities.split(",") for meter in meters):
        return True
    if not periods:
        return False
    start, end = at_ms(periods[0].start), at_ms(periods[-1].end)
    return any(EXPORT in day.names for meter in meters for day in profiles.ends(meter, start=start, end=end))
