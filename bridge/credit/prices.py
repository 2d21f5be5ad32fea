"""Which price an interval has: that of its tariff, its local month and the version in force at its begin.

Intervals of the same tariff, month and version are one bucket: what a bucket costs depends on its energy
alone, and an interval costs what it adds to it. So the order in which intervals come changes what each of
them costs, but never what all of them cost, and nothing is rounded twice.

>>> prices.bucket(start, span=900_000).price.cost(1_000_000)  # doctest: +SKIP
35000
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import NamedTuple

from bridge.credit.credit_file import CreditFile, Price
from bridge.store.tables import DAY_MS, at_ms, moment
from bridge.store.tariff_energy import Timeline
from bridge.store.tariff_file import Tariff
from bridge.store.tariffs import Tariffs
from broker.calendar import Period

_TARIFFS: tuple[Tariff, ...] = ("T1", "T2", "T3", "T4", "T5", "T6", "T7", "T8")


class Bucket(NamedTuple):
    """What is priced together: the energy of a tariff from ``begin`` to ``end`` (ms)."""

    begin: int
    end: int
    tariff: int
    """1 to 8."""
    month: int
    """ms, begin of the local month."""
    final: int
    """ms: then the statement of the month is final."""
    price: Price


@dataclass(frozen=True)
class _Stretch:
    """Of a month with one version of the prices."""

    begin: int
    end: int
    month: int
    final: int
    day: datetime
    """Any local time in it."""


class Prices:
    """Of a file of credit, with the calendar of tariffs (None: all is T1)."""

    def __init__(self, credit: CreditFile, tariffs: Tariffs | None = None) -> None:
        self.credit = credit
        self._tariffs = tariffs
        self._timelines: dict[int, Timeline] = {}
        self._stretches: list[_Stretch] = []
        self._buckets: dict[tuple[int, int], Bucket] = {}

    @property
    def begin(self) -> datetime:
        """Nothing has a price before: the first version of the prices, or of the tariffs, begins."""
        return max(self.credit.begin, self._tariffs.begin) if self._tariffs else self.credit.begin

    def bucket(self, start: int, *, span: int) -> Bucket:
        """Of the interval from ``start`` (ms), ``span`` ms long.

        ConfigurationError if no price holds then, or the tariff changes in the interval.
        """
        return self.of(start, tariff=self._tariff(start, span))

    def of(self, start: int, *, tariff: int) -> Bucket:
        """The same of an interval whose tariff is known."""
        stretch = self._stretch(start)
        if (found := self._buckets.get((stretch.begin, tariff))) is None:
            version, _ = self.credit.version_on(stretch.day.date())
            price = self.credit.price(version, _TARIFFS[tariff - 1])
            found = Bucket(stretch.begin, stretch.end, tariff, stretch.month, stretch.final, price)
            self._buckets[stretch.begin, tariff] = found
        return found

    def value_at(self, start: int, *, now: int) -> int:
        """To what time (ms) something of ``start`` belongs that is booked at ``now``.

        That is ``now`` when the statement of its month is final.
        """
        return start if now < self._stretch(start).final else now

    def _tariff(self, start: int, span: int) -> int:
        if self._tariffs is None:
            return 1
        day, begin = start - start % DAY_MS, at_ms(self._tariffs.begin)
        if start < begin:
            self._tariffs.tariff_at(moment(start))  # which says that there is none
        if (timeline := self._timelines.get(day)) is None:  # the first one may begin within a UTC day
            period = Period("", moment(max(day, begin)), moment(day + DAY_MS))
            timeline = self._timelines[day] = Timeline(self._tariffs, [period])
        return int(timeline.of(start, span)[1:])

    def _stretch(self, at: int) -> _Stretch:
        for stretch in reversed(self._stretches):
            if stretch.begin <= at < stretch.end:
                return stretch
        calendar = self.credit.calendar
        local = calendar.local(moment(at))
        first = local.date().replace(day=1)
        following = (first + timedelta(days=31)).replace(day=1)
        version, until = self.credit.version_on(local.date())
        days = max(first, version.first), min(following, until)
        begin, end, month, after = (
            at_ms(calendar.utc(datetime.combine(day, time()))) for day in (*days, first, following)
        )
        final = after + self.credit.file.statement_days * DAY_MS
        stretch = _Stretch(begin, end, month, final, local)
        self._stretches.append(stretch)
        return stretch
