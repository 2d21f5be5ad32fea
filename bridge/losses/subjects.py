"""What the rules look at: a house, and the place that it is in with other houses. Pure.

Energy is in thousandths of a Wh, power and voltage in tenths of a W and V, as load profiles store them.

>>> suffix([True, False, False, True, True, True], share=0.9)
3
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, groupby
from statistics import fmean
from typing import NamedTuple

from bridge.losses.aligned import PHASES, Flow, Series
from bridge.losses.balance import Flows
from bridge.store.intervals import Mark
from bridge.store.tables import DAY_MS, HOUR_MS


class Clock(NamedTuple):
    """The local time at the begin of each interval."""

    days: list[int]
    """Numbers of days, which rise."""
    hours: list[int]


class Found(NamedTuple):
    """What a rule says of a house."""

    place: int
    """The interval since which it is so."""
    intervals: int
    """That it rests on."""
    reason: str


@dataclass(frozen=True)
class House:
    """A meter, its phase in the topology file (A, B, C, or empty), and its intervals."""

    phase: str
    series: Series

    @property
    def flow(self) -> Flow:
        """Its energy."""
        return self.series.flow

    def watts(self, places: Sequence[int]) -> float:
        """Mean power of these intervals, of which the energy is known."""
        return fmean(self.flow.values[place] or 0 for place in places) * HOUR_MS / self.series.span / 1000

    @cached_property
    def measured(self) -> list[int]:
        """The intervals in which its energy is measured."""
        marks = self.flow.marks
        return [place for place in self.series.places if marks[place] == Mark.MEASURED]

    @cached_property
    def known(self) -> frozenset[int]:
        """The intervals of which the energy is known."""
        return frozenset(place for place in self.series.places if self.flow.values[place] is not None)

    @cached_property
    def volts(self) -> Sequence[int | None]:
        """Of its first phase, if it has three."""
        single = self.series.columns.get("voltage_mean")
        return single if single is not None else self.series.column(PHASES["A"])


@dataclass(frozen=True)
class Place:
    """Where the houses are: what is the same for all of them."""

    houses: Sequence[House]
    flows: Flows
    clock: Clock
    volts: Sequence[Sequence[int | None]] = ()
    """Of the phases A, B and C of the own meter; empty: not known."""

    @cached_property
    def days(self) -> list[list[int]]:
        """The balanced intervals of each local day of which at least half is balanced."""
        least = DAY_MS // self.flows.span // 2
        good = (place for place, is_good in enumerate(self.flows.balanced) if is_good)
        return [
            some for _, days in groupby(good, self.clock.days.__getitem__) if len(some := [*days]) >= least
        ]

    @cached_property
    def gaps(self) -> list[float]:
        """Mean loss (W) of each of these days."""
        return self.daily(
            [(value or 0) - used for value, used in zip(self.flows.supplied, self.flows.used, strict=True)]
        )

    def daily(self, values: Sequence[int | None]) -> list[float]:
        """Mean power (W) of each of `days`, as if the same times of the day were known of each."""
        by_time: dict[int, list[int]] = {}
        for place in chain.from_iterable(self.days):
            by_time.setdefault(self._time(place), []).append(values[place] or 0)
        usual = {time: fmean(some) for time, some in by_time.items()}
        middle = fmean(usual.values()) if usual else 0.0
        watts = HOUR_MS / self.flows.span / 1000
        return [
            (middle + fmean((values[place] or 0) - usual[self._time(place)] for place in day)) * watts
            for day in self.days
        ]

    def _time(self, place: int) -> int:
        return place % (DAY_MS // self.flows.span)

    def unexplained(self, since: int) -> str:
        """The share of the supply that is lost from interval ``since`` on, in words."""
        good = [place for place in range(since, len(self.flows.used)) if self.flows.balanced[place]]
        supplied = sum(self.flows.supplied[place] or 0 for place in good)
        if supplied <= 0:
            return "What its feeder loses is not known."
        share = 100 * sum(map(self.flows.lost, good)) / supplied
        return f"Its feeder loses {share:.1f} % in the same time."


def suffix(flags: Sequence[bool], *, share: float) -> int | None:
    """The earliest place from which on at least this ``share`` is true, and which is true itself."""
    found, count = None, 0
    for length, place in enumerate(range(len(flags) - 1, -1, -1), start=1):
        count += flags[place]
        if flags[place] and count >= share * length:
            found = place
    return found
