"""What the statement of a meter and month says: registers, energy by tariff, maximum demand, quality.

Energy is that of the load profile: the corrected register at the end less the one at the begin is the sum of
the intervals, and of the tariffs. Money comes from a ledger that knows it, line by line, or is not there.

>>> [one.used for one in next(statements(store, [meter], month)).registers]  # doctest: +SKIP
[231400.0]
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from bridge.store.demand import FIELDS, Demand
from bridge.store.intervals import Mark
from bridge.store.period_sums import EXPORT, IMPORT, slice_of
from bridge.store.profile_format import Day
from bridge.store.profile_steps import REGISTERS
from bridge.store.profile_table import MARKS
from bridge.store.queries import Store
from bridge.store.register_table import At, at_once, at_times
from bridge.store.tables import DAY_MS, Meter, at_ms
from bridge.store.tariff_energy import ByTariff, Timeline, in_wh
from bridge.store.tariffs import Tariffs
from broker.calendar import Period

DEMAND = FIELDS[1:]
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
    timeline = Timeline(tariffs, [period]) if tariffs else None
    starts = range(start - start % DAY_MS, end, DAY_MS)
    for some in at_once(meters):
        days = store.profiles.of_days([meter.key or 0 for meter in some], starts)
        for meter, (first, last) in at_times(store, some, [start, end]):
            mine = list(days.get(meter.key or 0, {}).values())
            if mine or meter.retired_at is None:
                demand = _demand(store, meter, mine, start, end)
                yield Statement(
                    meter,
                    period,
                    tuple(_registers(first, last)),
                    tuple(_by_tariff(mine, start, end, timeline, tariffs)),
                    dict(zip(DEMAND, demand.values()[1:], strict=True)),
                    dict(zip(MARKS, demand.marks, strict=True)),
                    tuple(money(meter, period)) if money else (),
                )


def _by_tariff(
    days: Sequence[Day], start: int, end: int, timeline: Timeline | None, tariffs: Tariffs | None
) -> Iterator[TariffLine]:
    if timeline is None or tariffs is None:
        return
    found = ByTariff(timeline, (IMPORT, EXPORT))
    for day in days:
        found.add(day, slice_of(day, start, end))
    for tariff in tariffs.tariffs:
        imported, exported = found.sums.get(tariff, (None, None))
        yield TariffLine(tariff, tariffs.newest_name(tariff), in_wh(imported), in_wh(exported))


def _demand(store: Store, meter: Meter, days: Sequence[Day], start: int, end: int) -> Demand:
    found = Demand()
    for day in days:
        found.take(day, start, end)
    spans = {day.start: day.span for day in days}
    found.fill(spans, start, end)
    if found.marks[Mark.MISSING]:  # none is before the first hour
        found.fill(spans, max(start, store.profiles.begin(meter) or start), end)
    return found


def _registers(begin: At, end: At) -> Iterator[RegisterLine]:
    """Those that the meter has at the end; imported energy in any case."""
    for name in REGISTERS:
        first, last = begin.total.values[name], end.total.values[name]
        if last is not None or name == IMPORT:
            used = None if last is None else (last - (first or 0)) / 1000
            raw = (one.raw[name] for one in (begin, end))
            yield RegisterLine(
                name, in_wh(first), in_wh(last), used, *(None if one is None else one.counter for one in raw)
            )
