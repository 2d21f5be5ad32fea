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

from bridge.store.demand import FIELDS as DEMAND
from bridge.store.demand import Demand
from bridge.store.period_sums import HEAD, PeriodSum, sums
from bridge.store.profile_steps import REGISTERS
from bridge.store.profile_table import MARKS
from bridge.store.queries import Store
from bridge.store.register_table import At, at_times
from bridge.store.tables import Meter, at_ms
from bridge.store.tariff_energy import EXPORT, IMPORT, ByTariff, Timeline, fields_of
from bridge.store.tariffs import Tariffs
from broker.calendar import Period


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
    """As `bridge.store.demand.FIELDS`."""
    intervals: dict[str, int]
    """How many there are of each mark."""
    money: tuple[MoneyLine, ...] = ()


Money = Callable[[Meter, Period], Sequence[MoneyLine]]


class _Sum(PeriodSum):
    """Demand and tariffs in one go: the load profile is read once."""

    def __init__(self, timeline: Timeline | None, tariffs: Tariffs | None) -> None:
        super().__init__()
        self._demand = Demand()
        self._tariffs = (
            ByTariff(timeline, (IMPORT, EXPORT), tariffs.tariffs) if timeline and tariffs else None
        )

    def add(self, at: int, span: int, values: Sequence[int | None], mark: int) -> None:
        self._demand.add(at, span, values[:1], mark)
        if self._tariffs is not None:
            self._tariffs.add(at, span, values, mark)

    def values(self) -> tuple[Any, ...]:
        return (*self._demand.values(), *(self._tariffs.values() if self._tariffs else ()))


def statements(
    store: Store,
    meters: Iterable[Meter],
    period: Period,
    *,
    tariffs: Tariffs | None = None,
    money: Money | None = None,
) -> Iterator[Statement]:
    """One for each meter; a retired meter of which nothing is known in the period is left out.

    ConfigurationError if there is no tariff yet, or one begins inside of an interval.
    """
    timeline = Timeline(tariffs, [period]) if tariffs else None
    fields = (*DEMAND, *(fields_of((IMPORT, EXPORT), tariffs.tariffs) if tariffs else ()))
    for meter, (begin, end) in at_times(store, meters, [at_ms(period.start), at_ms(period.end)]):
        table = sums(
            store.profiles, [meter], [period], new=lambda: _Sum(timeline, tariffs), fields=fields,
            registers=(IMPORT, EXPORT),
        )  # fmt: skip
        for row in table.rows:
            told = dict(zip(table.fields[len(HEAD) :], row[len(HEAD) :], strict=True))
            yield Statement(
                meter,
                period,
                tuple(_registers(begin, end)),
                tuple(_tariffs(tariffs, told)) if tariffs else (),
                {name: told[name] for name in DEMAND},
                {name: told[name] for name in MARKS},
                tuple(money(meter, period)) if money else (),
            )


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


def _tariffs(tariffs: Tariffs, told: dict[str, Any]) -> Iterator[TariffLine]:
    for tariff in tariffs.tariffs:
        imported, exported = (told[name] for name in fields_of((IMPORT, EXPORT), [tariff]))
        yield TariffLine(tariff, tariffs.newest_name(tariff), imported, exported)
