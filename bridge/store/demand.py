"""Energy and maximum demand of local days and months, from the load profiles.

Demand is the mean power of an interval, its energy by its length; the maximum of a period is the largest of
its intervals, the earliest of equal ones. An interval belongs to the period in which it begins. The numbers
of ``measured``, ``interpolated``, ``estimated`` and ``missing`` intervals say what the figures are worth: one
that is missing has the energy of the known part, or none.

>>> FIELDS
('energy_import', 'demand_max', 'demand_at', 'demand_mark')
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, Self

from bridge.store.export import Table
from bridge.store.intervals import Mark
from bridge.store.period_sums import IMPORT, PeriodSum, sums
from bridge.store.profile_format import Day
from bridge.store.profile_table import MARKS, Profiles
from bridge.store.tables import HOUR_MS, Meter
from broker.calendar import Period

FIELDS = ("energy_import", "demand_max", "demand_at", "demand_mark")
"""Energy in Wh, demand in W; ``demand_at`` is the begin of its interval."""


class Mean(NamedTuple):
    """The mean power of an interval."""

    power: int
    """Thousandths of a W."""
    at: int
    """Its begin (ms)."""
    span: int
    """ms."""
    mark: str

    @classmethod
    def of(cls, day: Day, place: int) -> Self:
        """Of an interval whose energy is known."""
        mark = day.column(f"{IMPORT}_mark")[place]
        return cls(
            day.column(IMPORT)[place] * HOUR_MS // day.span,
            *(day.start + place * day.span, day.span),
            MARKS[Mark.MISSING if mark is None else mark],
        )


class Demand(PeriodSum):
    """Energy and maximum demand."""

    def __init__(self) -> None:
        super().__init__()
        self._energy = 0  # thousandths of a Wh
        self.maximum: Mean | None = None
        self.latest: Mean | None = None

    def add(self, day: Day, some: slice) -> None:
        values = day.column(IMPORT)[some]
        known = [value for value in values if value is not None] if None in values else values
        if not known:
            return
        self._energy += sum(known)
        highest = max(known)
        if self.maximum is None or highest * HOUR_MS // day.span > self.maximum.power:
            self.maximum = Mean.of(day, some.start + values.index(highest))
        last = next(place for place in reversed(range(len(values))) if values[place] is not None)
        self.latest = Mean.of(day, some.start + last)

    def values(self) -> tuple[Any, ...]:
        if self.maximum is None:  # nothing is known
            return (None,) * len(FIELDS)
        most = self.maximum
        return (self._energy / 1000, most.power / 1000, most.at, most.mark)


def demand(profiles: Profiles, meters: Iterable[Meter], periods: Sequence[Period]) -> Table:
    """A row for each meter and period; ``periods`` follow each other.

    Which meters and periods are left out `sums` says.
    """
    return sums(profiles, meters, periods, new=Demand, fields=FIELDS)
