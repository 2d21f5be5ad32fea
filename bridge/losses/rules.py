"""Rules that find what is worth a look at a house, each in words with its figures. Pure.

No rule knows why a value is as it is: `Rule.otherwise` names what else it can be.

>>> sorted(RULES)
['flat-nights', 'gap-rises', 'no-load', 'phase', 'reversed']
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from operator import mul
from statistics import fmean
from typing import NamedTuple

from bridge.losses.aligned import PHASES
from bridge.losses.subjects import Clock, Found, House, Place, suffix
from bridge.store.intervals import Mark
from bridge.store.tables import DAY_MS, HOUR_MS

IDLE_DAYS = 7
"""Without any energy."""
_LIVE = 800
"""Tenths of a V: there is voltage."""
_NO_POWER = 50
"""Tenths of a W."""


def no_load(house: House, place: Place) -> Found | None:
    """The register stands still for a week and more, and there is voltage."""
    values, power, volts = house.flow.values, house.series.column("power_mean"), house.volts
    idle: list[int] = []
    for at in reversed(house.measured):
        if values[at] or abs(power[at] or 0) > _NO_POWER:
            break
        if (volts[at] or 0) > _LIVE:
            idle.append(at)
    days = len(idle) * house.series.span / DAY_MS
    if days < IDLE_DAYS / 2 or idle[0] - idle[-1] < IDLE_DAYS * DAY_MS / house.series.span:
        return None
    mean = fmean(volts[at] or 0 for at in idle) / 10
    text = f"The register stands still in {days:.1f} days of measured intervals, with {mean:.0f} V there. "
    return Found(idle[-1], len(idle), text + place.unexplained(idle[-1]))


_NIGHT = range(5)
"""Local hours."""
NIGHTS = 10
_FLAT = 1000
"""Thousandths of a Wh: the step of a register."""
_DAY_WATTS = 50.0
_NIGHT_SHARE = 0.25
_PEERS = 0.25
"""Share of the houses that may have flat nights; where more have them they are usual."""


def flat_nights(place: Place) -> Iterator[tuple[int, Found]]:
    """The load of houses that use power by day stays the same all through their nights, unlike others."""
    flat = {
        number: found for number, house in enumerate(place.houses) if (found := _flat(house, place.clock))
    }
    if len(flat) > max(1, _PEERS * len(place.houses)):
        return
    for number, (since, nights, night, day) in flat.items():
        text = (
            f"In {nights} nights (0 to 5 o'clock) its load did not change by more than 1 Wh in an interval: "
            f"{night:.0f} W, and {day:.0f} W by day. It is so at {len(flat)} of {len(place.houses)} houses. "
        )
        per_night = len(_NIGHT) * HOUR_MS // place.flows.span
        yield number, Found(since, nights * per_night, text + place.unexplained(since))


def _flat(house: House, clock: Clock) -> tuple[int, int, float, float] | None:
    """Since when, how many nights, W by night and by day."""
    nights = list(_nights(house, clock))
    values = house.flow.values
    flags = [_reach([values[at] or 0 for at in night]) <= _FLAT for night in nights]
    first = suffix(flags, share=0.9)
    if first is None or sum(flags[first:]) < NIGHTS:
        return None
    since = nights[first][0]
    later = [at for at in house.measured if at >= since]
    by_day = [at for at in later if clock.hours[at] not in _NIGHT]
    night = house.watts([at for some in nights[first:] for at in some])
    day = house.watts(by_day) if by_day else 0.0
    is_odd = day >= _DAY_WATTS and abs(night) <= _NIGHT_SHARE * day
    return (since, sum(flags[first:]), night, day) if is_odd else None


def _reach(values: Sequence[int]) -> int:
    return max(values) - min(values)


def _nights(house: House, clock: Clock) -> Iterator[list[int]]:
    """The measured intervals of each night, if most of them are."""
    least = 0.75 * len(_NIGHT) * HOUR_MS / house.series.span
    some = (at for at in house.measured if clock.hours[at] in _NIGHT)
    for _, night in groupby(some, clock.days.__getitem__):
        if len(found := list(night)) >= least:
            yield found


_BACKWARDS = 48
"""Intervals at night."""
_FALLING = 96


def reversed_ct(house: House, place: Place) -> Found | None:
    """Power flows out also at night, when the sun does not shine, or the register falls all the time."""
    values, power = house.flow.values, house.series.column("power_mean")
    signs = [
        (at, (values[at] or power[at] or 0) < 0)
        for at in house.measured
        if place.clock.hours[at] in _NIGHT and (values[at] or abs(power[at] or 0) > _NO_POWER)
    ]
    first = suffix([is_out for _, is_out in signs], share=0.9)
    if first is not None and (count := sum(is_out for _, is_out in signs[first:])) >= _BACKWARDS:
        total = len(signs) - first
        text = f"In {count} of {total} intervals at night (0 to 5 o'clock) power flows out of the house. "
        return Found(signs[first][0], count, text + place.unexplained(signs[first][0]))
    told = [(at, house.flow.marks[at] == Mark.ESTIMATED) for at in house.series.places
            if house.flow.marks[at] != Mark.MISSING]  # fmt: skip
    first = suffix([falls for _, falls in told], share=0.5)
    if first is not None and (count := sum(falls for _, falls in told[first:])) >= _FALLING:
        text = f"In {count} of {len(told) - first} intervals the register falls, or is reset. "
        return Found(told[first][0], count, text + place.unexplained(told[first][0]))
    return None


_CHANGES = 200
_SURE, _CLEARER = 0.5, 0.15
"""Of a coefficient of correlation: at least, and more than that of the phase in the topology."""


def wrong_phase(house: House, place: Place) -> Found | None:
    """The voltage of the house changes as that of another phase of the feeder does."""
    if house.phase not in PHASES or len(place.volts) != len(PHASES):
        return None
    alike = {}
    for phase, volts in zip(PHASES, place.volts, strict=True):
        pairs = _changes(house.volts, volts)
        if len(pairs) < _CHANGES:
            return None
        alike[phase] = correlation(pairs), len(pairs)
    best = max(alike, key=alike.__getitem__)
    (most, count), (own, _) = alike[best], alike[house.phase]
    if best == house.phase or most < _SURE or most - own < _CLEARER:
        return None
    text = (
        f"Its voltage changes with that of phase {best} (correlation {most:.2f}), not with that of phase "
        f"{house.phase} ({own:.2f}), where the topology file has it."
    )
    first = next(at for at, value in enumerate(house.volts) if value is not None)
    return Found(first, count, text)


def _changes(one: Sequence[int | None], other: Sequence[int | None]) -> list[tuple[int, int]]:
    """From each interval to the next, of both."""
    found = []
    a = b = None
    for x, y in zip(one, other, strict=True):
        if x is not None and y is not None and a is not None and b is not None:
            found.append((x - a, y - b))
        a, b = x, y
    return found


def correlation(pairs: Sequence[tuple[float, float]]) -> float:
    """Coefficient of correlation; 0 if one of both never changes.

    >>> correlation([(1, 2), (2, 4), (3, 6)]), correlation([(1, 1), (1, 2)])
    (1.0, 0.0)
    """
    xs, ys = zip(*pairs, strict=True)
    mean_x, mean_y = fmean(xs), fmean(ys)
    a, b = [x - mean_x for x in xs], [y - mean_y for y in ys]
    squares = sum(map(mul, a, a)) * sum(map(mul, b, b))
    return float(sum(map(mul, a, b)) / squares**0.5) if squares else 0.0


_SIDE = 5
"""Days before and after a change."""
_CLEAR, _CLEAR_GAP, _LEFT = 4.0, 3.5, 2.5
"""Standard errors: of the fall, of the rise, and at most of the sum of both, if the two are one."""
_LEAST_FALL, _LEAST_WATTS = 0.3, 20.0
_SAME = 0.75
"""Part of the fall that may be left of the sum."""


def gap_rises(house: House, place: Place) -> Found | None:
    """From one day on the house uses less, and the feeder loses as much more."""
    some = [n for n, day in enumerate(place.days) if house.known.issuperset(day)]
    if len(some) < 2 * _SIDE:
        return None
    of_house = place.daily(house.flow.values)
    watts, gaps = [of_house[n] for n in some], [place.gaps[n] for n in some]
    cut = min(range(_SIDE, len(some) - _SIDE + 1), key=lambda at: _step(watts, at)[1])
    (step, sure), (rise, clear) = _step(watts, cut), _step(gaps, cut)
    together, left = _step([gap + own for gap, own in zip(gaps, watts, strict=True)], cut)
    before = fmean(watts[:cut])
    is_clear = sure <= -_CLEAR and clear >= _CLEAR_GAP and -step >= max(_LEAST_WATTS, _LEAST_FALL * before)
    if not is_clear or abs(together) > _SAME * -step or abs(left) > _LEFT:
        return None
    text = (
        f"Its mean load fell from {before:.0f} W to {before + step:.0f} W, and the loss of its feeder rose "
        f"by {rise:.0f} W from the same day on; the sum of both changed by {together:+.0f} W."
    )
    return Found(place.days[some[cut]][0], sum(len(place.days[n]) for n in some), text)


def _step(values: Sequence[float], cut: int) -> tuple[float, float]:
    """The mean from ``cut`` on less the mean before it, and the same in standard errors."""
    before, after = values[:cut], values[cut:]
    first, last = fmean(before), fmean(after)
    step, squares = last - first, 0.0
    for some, mean in ((before, first), (after, last)):
        squares += sum((value - mean) ** 2 for value in some) / len(some) ** 2
    error = squares**0.5
    return step, step / max(error, 1e-9)


Finder = Callable[[Place], Iterator[tuple[int, Found]]]
"""What finds houses, by their number in the place."""


class Rule(NamedTuple):
    """A rule, and what else it can be."""

    find: Finder
    otherwise: str


def _each(of_house: Callable[[House, Place], Found | None]) -> Finder:
    def find(place: Place) -> Iterator[tuple[int, Found]]:
        for number, house in enumerate(place.houses):
            if (found := of_house(house, place)) is not None:
                yield number, found

    return find


_OTHER_LOSS = "fewer people or devices, while another loss began on the same day"
_EMPTY = "an empty house, a main switch that is off, nothing connected behind the meter"
_QUIET = "a house where nothing is on at night, a shop, a device with a clock"
_SOURCE = "a battery or generator in the house, a meter that counts the other way"
_SLIP = "a mistake in the topology file, phases of the feeder's meter in another order"
RULES = {
    "gap-rises": Rule(_each(gap_rises), _OTHER_LOSS),
    "no-load": Rule(_each(no_load), _EMPTY),
    "flat-nights": Rule(flat_nights, _QUIET),
    "reversed": Rule(_each(reversed_ct), _SOURCE),
    "phase": Rule(_each(wrong_phase), _SLIP),
}
