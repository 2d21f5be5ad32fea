"""A month of houses on feeders, to the Wh, and what their meters tell of it.

Everything follows from the seed. A house uses whole Wh in each interval; its register counts them. What
happens to a house (a reset, a loss of connection, a power cut of its feeder, a wrong clock, a copied card,
theft, a wrong phase in the topology) changes what its meter tells, and theft what it counts. The feeder's own
meter counts all that really went into the houses, and the losses of the cable.

>>> month = Month(seed=1, houses=4, days=2, interval=300)
>>> month.true.shape, int(month.counted[0].sum()) <= int(month.true[0].sum())
((4, 576), True)
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bridge.ingest.rows import Row
from tests.support.stores import DAY0, row

Wh = NDArray[np.int64]

PHASES = 3
CABLE = 2e-8
"""Of the cable's loss in Wh: times the square of the feeder's Wh in an interval."""
STOLEN = 0.6
"""Of what a thief's house uses."""
HOUR_S = 3600


@dataclass(frozen=True)
class Events:
    """What happens to one house; places are intervals."""

    reset: int | None = None
    """The register is 0 before this interval is counted."""
    unheard: range = range(0)
    """Readings of these are delivered after the month."""
    ahead: range = range(0)
    """Readings whose clock is an hour ahead."""
    copied: bool = False
    """A copy of its card sends other readings with the same names."""
    theft: int | None = None
    """From here on its meter counts only a part."""


@dataclass(frozen=True)
class Month:
    """``houses`` are numbered from 1, the feeders' own meters after them."""

    seed: int
    houses: int = 200
    days: int = 30
    interval: int = 300
    """s between readings."""
    per_feeder: int = 50
    """Houses."""
    start: int = DAY0
    """ms since 1970."""
    cuts: dict[int, range] = field(default_factory=dict)
    """Feeder → intervals without power."""

    @property
    def count(self) -> int:
        """Intervals."""
        return self.days * 24 * HOUR_S // self.interval

    @property
    def feeders(self) -> int:
        """With their own meters."""
        return -(-self.houses // self.per_feeder)

    def feeder_of(self, house: int) -> int:
        """Both from 0."""
        return house // self.per_feeder

    def phase_of(self, house: int) -> int:
        """0, 1 or 2: the true one."""
        return house % PHASES

    @cached_property
    def events(self) -> list[Events]:
        """Of each house."""
        chance = np.random.default_rng([self.seed, 1])
        order = [int(house) for house in chance.permutation(self.houses)]
        day = 24 * HOUR_S // self.interval

        def moment() -> int:
            return int(chance.integers(day // 4, self.count - day // 4))

        def some(share: float) -> list[int]:
            return [order.pop() for _ in range(min(len(order), max(1, round(share * self.houses))))]

        told: list[dict[str, Any]] = [{} for _ in range(self.houses)]
        if self.houses >= 2 * self.per_feeder:
            for house in [order.pop() for _ in range(3)]:
                told[house]["theft"] = self.count // 3
        for house in some(0.05):
            told[house]["reset"] = moment()
        for house in some(0.05):
            told[house]["unheard"] = range(begin := moment(), min(self.count, begin + day // 2))
        for house in some(0.02):
            told[house]["ahead"] = range(begin := moment(), begin + day // 8)
        for house in some(0.02):
            told[house]["copied"] = True
        return [Events(**one) for one in told]

    def told_phase_of(self, house: int) -> int:
        """As the topology says."""
        return (self.phase_of(house) + (house == self.wrong_phase)) % PHASES

    def is_disturbed(self, feeder: int, some: slice) -> bool:
        """Whether anything but theft happens to a house of a feeder in these intervals."""
        near = range(some.start - HOUR_S // self.interval, some.stop + 1)
        cut = self.cuts.get(feeder, range(0))
        return bool({*near} & {*cut}) or any(
            one.reset in near or {*near} & {*one.ahead} for one in self.events[self.houses_of(feeder)]
        )

    def untouched(self) -> list[int]:
        """Houses whose readings nothing disturbs."""
        return [
            house
            for house, happened in enumerate(self.events)
            if happened == Events(theft=happened.theft) and self.feeder_of(house) not in self.cuts
        ]

    @cached_property
    def wrong_phase(self) -> int | None:
        """A house of which the topology names another phase; None in a small street."""
        honest = [number for number, one in enumerate(self.events) if one == Events()]
        return honest[0] if self.houses >= self.per_feeder and honest else None

    @cached_property
    def true(self) -> Wh:
        """What each house used in each interval: a base, the evening, and appliances by chance."""
        chance = np.random.default_rng([self.seed, 2])
        hours = np.arange(self.count) * self.interval / HOUR_S
        evening = 1 + 2 * np.exp(-(((hours % 24) - 19) ** 2) / 6) + np.exp(-(((hours % 24) - 7.5) ** 2) / 2)
        size = chance.uniform(60, 250, (self.houses, 1))
        noise = chance.gamma(2.0, 0.5, (self.houses, self.count))
        heavy = (chance.random((self.houses, self.count)) < 0.02) * chance.uniform(500, 2000)
        used = (size * evening * noise + heavy) * self.interval / HOUR_S
        whole: Wh = np.rint(used).astype(np.int64)
        for feeder, cut in self.cuts.items():
            whole[self.houses_of(feeder), cut.start : cut.stop] = 0
        return whole

    def houses_of(self, feeder: int) -> slice:
        """The numbers of its houses, from 0."""
        return slice(feeder * self.per_feeder, min(self.houses, (feeder + 1) * self.per_feeder))

    @cached_property
    def counted(self) -> Wh:
        """What each house's meter counted."""
        counted = self.true.copy()
        for house, happened in enumerate(self.events):
            if happened.theft is not None:
                part = counted[house, happened.theft :]
                part -= np.rint(STOLEN * part).astype(np.int64)
        return counted

    @cached_property
    def into_feeders(self) -> Wh:
        """What each feeder's own meter counted: houses and cable."""
        of_feeders = [self.true[self.houses_of(feeder)].sum(axis=0) for feeder in range(self.feeders)]
        sums: Wh = np.array(of_feeders)
        lost: Wh = np.rint(CABLE * sums.astype(float) ** 2 * HOUR_S / self.interval).astype(np.int64)
        return sums + lost

    @cached_property
    def voltage(self) -> NDArray[np.float64]:
        """Of each feeder and phase at the end of each interval, in V; a house's own line drops some."""
        chance = np.random.default_rng([self.seed, 3])
        steps = chance.normal(0, 0.8, (self.feeders, PHASES, self.count))
        wander = np.zeros_like(steps)
        for place in range(1, self.count):
            wander[..., place] = 0.97 * wander[..., place - 1] + steps[..., place]
        return 230.0 + wander

    def rows(self, house: int) -> list[Row]:
        """Every reading that the house's meter takes, in the order in which it takes them."""
        happened, feeder = self.events[house], self.feeder_of(house)
        register = np.concatenate(([0], np.cumsum(self.counted[house]))) + 1000 * (house + 1)
        if happened.reset is not None:
            register[happened.reset + 1 :] -= register[happened.reset]
        used = np.concatenate(([0], self.counted[house]))
        near = self.voltage[feeder, self.phase_of(house)]
        dark = self.cuts.get(feeder, range(0))
        taken = []
        for place in range(self.count + 1):
            if place and place - 1 in dark:
                continue
            at = self.start + 1000 * self.interval * place
            power = float(used[place]) * HOUR_S / self.interval
            volts = near[max(place - 1, 0)] - 0.0005 * power
            taken.append(
                row(
                    house + 1,
                    place + 1,
                    ts=at + (3_600_000 if place in happened.ahead else 0),
                    voltage=round(float(volts), 1),
                    power=power,
                    energy=float(register[place]),
                )
            )
        return taken

    def copies(self, house: int) -> list[Row]:
        """What a copy of the house's card sends: other readings with names that are taken."""
        return [
            row(house + 1, seq, ts=ts + 7, energy=1.0 + seq) for _, _, seq, ts, *_ in self.rows(house)[::97]
        ]

    def feeder_rows(self, feeder: int) -> list[Row]:
        """Readings of a feeder's own meter."""
        register = np.concatenate(([0], np.cumsum(self.into_feeders[feeder])))
        used = np.concatenate(([0], self.into_feeders[feeder]))
        volts = np.concatenate((self.voltage[feeder][:, :1], self.voltage[feeder]), axis=1)
        dark = self.cuts.get(feeder, range(0))
        return [
            row(
                self.houses + feeder + 1,
                place + 1,
                ts=self.start + 1000 * self.interval * place,
                power=float(used[place]) * HOUR_S / self.interval,
                energy_import=float(register[place]),
                voltage_l1=round(float(volts[0, place]), 1),
                voltage_l2=round(float(volts[1, place]), 1),
                voltage_l3=round(float(volts[2, place]), 1),
            )
            for place in range(self.count + 1)
            if not place or place - 1 not in dark
        ]
