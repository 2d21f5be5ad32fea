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
from typing import Any

from bridge.store.export import Table
from bridge.store.period_sums import PeriodSum, sums
from bridge.store.profile_table import MARKS, Profiles
from bridge.store.tables import HOUR_MS, Meter
from broker.calendar import Period

FIELDS = ("energy_import", "demand_max", "demand_at", "demand_mark")
"""Energy in Wh, demand in W; ``demand_at`` is the begin of its interval."""


class _Demand(PeriodSum):
    def __init__(self) -> None:
        super().__init__()
        self._value = 0  # thousandths of a Wh
        self._largest = -1  # of an interval, in thousandths of a W
        self._at, self._mark = 0, 0  # of the same interval

    def add(self, at: int, span: int, values: Sequence[int | None], mark: int) -> None:
        (value,) = values
        if value is None:
            return
        self._value += value
        if (mean := value * HOUR_MS // span) > self._largest:
            self._largest, self._at, self._mark = mean, at, mark

    def values(self) -> tuple[Any, ...]:
        if self._largest < 0:  # nothing is known: no register counts backwards
            return (None,) * len(FIELDS)
        return (self._value / 1000, self._largest / 1000, self._at, MARKS[self._mark])


def demand(profiles: Profiles, meters: Iterable[Meter], periods: Sequence[Period]) -> Table:
    """A row for each meter and period; ``periods`` follow each other.

    A retired meter without intervals is left out.
    """
    return sums(profiles, meters, periods, new=_Demand, fields=FIELDS)
