"""What a bill of one meter is made of, from registers and load profiles: `broker.contract.billing`.

>>> bills = Bills(engine, Calendar.named("Europe/Zurich"), by="month")  # doctest: +SKIP
>>> bills.frozen(meter, bills.periods(now)[0]).registers  # doctest: +SKIP
{'energy_import': 4216800.0, 'energy_export': 1013400.0}
"""

from __future__ import annotations

from copy import deepcopy
from datetime import datetime, timedelta
from itertools import islice
from typing import Any, Literal

from sqlalchemy import Engine, func, select
from sqlmodel import col

from bridge.store.demand import Demand, Mean
from bridge.store.pack_format import joined
from bridge.store.period_sums import EXPORT, IMPORT, PeriodSum, sums
from bridge.store.profile_format import Day
from bridge.store.queries import Store
from bridge.store.registers import registers
from bridge.store.tables import DAY_MS, Meter, ProfileCorrection, ProfileSum, at_ms, moment
from bridge.store.tariff_energy import ByTariff, Timeline, in_wh
from bridge.store.tariffs import Tariffs
from broker.calendar import Calendar, Period
from broker.contract.billing import Billing, BillingPeriod, FrozenPeriod, Peak, TariffEnergy
from broker.contract.quantities import QUANTITIES, Kind

REGISTERS = tuple(name for name, row in QUANTITIES.items() if row.kind is Kind.REGISTER)
_FEW = 3
"""Periods whose tariffs are remembered, beside the newest."""
_AROUND = timedelta(days=70)
"""Two months and more."""


class Figures(PeriodSum):
    """Maximum and latest mean power of a period, and its energy by tariff."""

    def __init__(self, timeline: Timeline | None) -> None:
        super().__init__()
        self._timeline = timeline
        self._demand = Demand()
        self._by_tariff = ByTariff(timeline, (IMPORT, EXPORT)) if timeline is not None else None

    def add(self, day: Day, some: slice) -> None:
        self._demand.add(day, some)
        if self._by_tariff is not None:
            self._by_tariff.add(day, some)

    def copied(self) -> Figures:
        """To go on from here."""
        return deepcopy(self, {id(self._timeline): self._timeline})

    def values(self) -> tuple[Any, ...]:
        sums = self._by_tariff.sums if self._by_tariff is not None else {}
        tariffs = {
            tariff: TariffEnergy(energy_import=in_wh(imported), energy_export=in_wh(exported))
            for tariff, (imported, exported) in sorted(sums.items())
        }
        return _peak(self._demand.maximum), _peak(self._demand.latest), tariffs


def _peak(mean: Mean | None) -> Peak | None:
    if mean is None:
        return None
    minutes = mean.span // 60_000
    return Peak(power=mean.power / 1000, start=moment(mean.at), minutes=minutes, mark=mean.mark)


class Bills:
    """Makes the figures of any meter; ``by``: the length of a period."""

    def __init__(
        self,
        engine: Engine,
        calendar: Calendar,
        *,
        by: Literal["month", "day"] = "month",
        tariffs: Tariffs | None = None,
    ) -> None:
        self._engine = engine
        self._store = Store(engine)
        self._calendar = calendar
        self._by = by
        self.tariffs = tariffs
        """None: no energy by tariff."""
        self._timelines: dict[Period, Timeline] = {}

    def periods(self, now: datetime) -> tuple[Period, Period]:
        """The last period that is over, and the running one."""
        cut = self._calendar.months if self._by == "month" else self._calendar.days
        around = list(cut(now - _AROUND, now + _AROUND))
        place = next(place for place, period in enumerate(around) if now < period.end)
        return around[place - 1], around[place]

    def frozen(self, meter: Meter, period: Period) -> FrozenPeriod:
        """Of a period that is over and summed up."""
        maximum, _, tariffs = self.figures(meter, period, self.begun(period)).values()
        values, read_at = self._registers(meter, at_ms(period.end))
        return FrozenPeriod(
            period=period.name, start=period.start, end=period.end, maximum=maximum, tariffs=tariffs,
            version=1 + self._corrections(meter, period), registers=values, read_at=read_at,
        )  # fmt: skip

    def known(self, period: Period) -> dict[int, tuple[int, int]]:
        """Key of each meter → what tells one state of its load profile of a period from another.

        Readings that come late make intervals where there were none, and that is no correction. The versions
        added up grow with both. By the meters the days are found without a look at all that there ever were.
        """
        start, meter = col(ProfileSum.start), col(ProfileSum.meter)
        wanted = (
            select(meter, func.count(), func.sum(col(ProfileSum.versions)))
            .where(meter.in_(select(col(Meter.key))))
            .where(start > at_ms(period.start) - DAY_MS, start < at_ms(period.end))
            .group_by(meter)
        )
        with self._engine.connect() as connection:
            return {key: (days, int(versions)) for key, days, versions in connection.execute(wanted)}

    def billing(self, frozen: FrozenPeriod, running: Period, figures: Figures) -> Billing:
        """The whole message; ``figures`` are those of the ``running`` period."""
        maximum, latest, tariffs = figures.values()
        period = BillingPeriod(
            period=running.name, start=running.start, end=running.end, maximum=maximum, tariffs=tariffs
        )
        return Billing(frozen=frozen, running=period, demand=latest)

    def begun(self, period: Period) -> Figures:
        """Those of a period, before any of its intervals."""
        if self.tariffs is None or self.tariffs.begin > period.start:
            return Figures(None)
        if period not in self._timelines:
            self._timelines = {period: Timeline(self.tariffs, [period])} | dict(
                islice(self._timelines.items(), _FEW)
            )
        return Figures(self._timelines[period])

    def figures(self, meter: Meter, period: Period, begun: Figures) -> Figures:
        """``begun``, and the intervals of a period or of a part of it."""
        table = sums(
            self._store.profiles, [meter], [period],
            new=lambda: begun, fields=("maximum", "latest", "tariffs"),
        )  # fmt: skip
        list(table.rows)
        return begun

    def _registers(self, meter: Meter, at: int) -> tuple[dict[str, float], datetime | None]:
        """All registers of the reading that `bridge.store.registers` takes at a time."""
        found = registers(self._store, meter, at=at)
        reading = found.used or found.export
        if reading is None:
            return {}, None
        columns = joined(self._store.pieces(meter, start=reading.ts, end=reading.ts + 1))
        names = list(zip(columns["epoch"], columns["seq"], strict=True))
        place = names.index((reading.epoch, reading.seq))
        told = {name: columns[name][place] for name in REGISTERS if name in columns}
        return {name: value for name, value in told.items() if value is not None}, moment(reading.ts)

    def _corrections(self, meter: Meter, period: Period) -> int:
        time = col(ProfileCorrection.start)
        wanted = select(func.count()).where(
            col(ProfileCorrection.meter) == meter.key,
            time >= at_ms(period.start),
            time < at_ms(period.end),
        )
        with self._engine.connect() as connection:
            return connection.scalar(wanted) or 0


def corrected(engine: Engine, *, after: int) -> tuple[int, frozenset[int]]:
    """Key of the newest correction, and the keys of the meters that have one newer than ``after``."""
    key = col(ProfileCorrection.key)
    with engine.connect() as connection:
        newest = connection.scalar(select(func.max(key))) or 0
        if newest <= after:
            return newest, frozenset()
        meters = select(col(ProfileCorrection.meter)).distinct().where(key > after)
        return newest, frozenset(connection.scalars(meters))
