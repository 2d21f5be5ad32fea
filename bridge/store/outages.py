"""Outages of feeders from the silences of their meters, and SAIDI, SAIFI and CAIDI after IEEE 1366. Pure.

One meter that is silent alone is its communications, or that house. Several of one feeder that went silent at
the same time, and of which none took readings meanwhile, had no power. What is not sure is listed apart, and
counts nowhere. An outage belongs to the period in which it begins.

>>> several = [Silence(meter, 0, 3_600_000, 0.0, slack=10_000) for meter in (1, 2)]
>>> (outage,) = outages({"Mill/LV/T1_F1": [1, 2, 3, 4]}, several, wills={})
>>> outage.sure, outage.meters, outage.reason
('high', (1, 2), '2 of 4 meters were silent at the same time, and none of these took readings meanwhile')
>>> index("all", [1, 2, 3, 4], [outage]).row()
('all', 4, 1, 0, 30.0, 0.5, 60.0, 0)
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bridge.store.silences import Silence

TOGETHER_MS = 60_000
"""ms beyond the reading interval within which meters go silent at the same time."""
LEAST = 2
"""Meters that make an outage of a feeder."""
POWERED = 0.5
"""The part of a silence in which readings were taken from which on there was power."""
MOMENTARY_MINUTES = 5.0
HIGH, MEDIUM, DOUBTFUL = "high", "medium", "doubtful"
"""How sure an outage is; a doubtful one counts nowhere."""
INDICES = ("feeder", "customers", "outages", "momentary", "saidi", "saifi", "caidi", "doubtful")
"""``saidi`` and ``caidi`` in minutes; ``outages`` and ``doubtful`` are numbers of outages."""


@dataclass(frozen=True)
class Outage:
    """An outage of a feeder, or what may be one."""

    feeder: str
    begin: int
    """ms, as ``end``: when the first meter went silent, and the last one came back (None: not yet)."""
    end: int | None
    sure: str
    reason: str
    silences: tuple[Silence, ...]
    """Of those that had no power; of a doubtful one, of all."""

    @property
    def meters(self) -> tuple[int, ...]:
        """Keys."""
        return tuple(one.meter for one in self.silences)

    def sustained(self, momentary: float) -> list[Silence]:
        """Those of more than so many minutes."""
        return [one for one in self.silences if one.end and one.end - one.begin > momentary * 60_000]


@dataclass(frozen=True)
class Index:
    """Reliability of a feeder, or of all, in a period."""

    feeder: str
    customers: int
    outages: int
    momentary: int
    """Outages that were over for all within the minutes of a momentary one, which count nowhere else."""
    interruptions: int
    """Of customers."""
    minutes: float
    doubtful: int

    def row(self) -> tuple[Any, ...]:
        """The `INDICES`; None without customers, or without an interruption."""
        saidi = round(self.minutes / self.customers, 3) if self.customers else None
        saifi = round(self.interruptions / self.customers, 4) if self.customers else None
        caidi = round(self.minutes / self.interruptions, 3) if self.interruptions else None
        counts = (self.feeder, self.customers, self.outages, self.momentary)
        return (*counts, saidi, saifi, caidi, self.doubtful)


def outages(
    feeders: Mapping[str, Collection[int]],
    silences: Iterable[Silence],
    *,
    wills: Mapping[int, Sequence[int]],
    least: int = LEAST,
) -> list[Outage]:
    """By time; ``wills``: when the connection of each meter was lost (ms), as its last will or alarm says."""
    by_meter: dict[int, list[Silence]] = {}
    for one in silences:
        by_meter.setdefault(one.meter, []).append(one)
    found: list[Outage] = []
    for feeder, meters in feeders.items():
        own = [one for meter in meters for one in by_meter.get(meter, ())]
        for several in _together(sorted(own, key=lambda one: (one.begin, one.meter))):
            found += _judged(feeder, len(meters), several, wills, least)
    return sorted(found, key=lambda one: (one.begin, one.feeder))


def _together(several: Iterable[Silence]) -> Iterator[list[Silence]]:
    """Those that went silent at the same time, which may be later than each ``begin`` by its ``slack``."""
    current: list[Silence] = []
    latest = 0
    for one in several:
        if current and one.begin > latest:
            yield current
            current = []
        reach = one.begin + one.slack + TOGETHER_MS
        latest = min(latest, reach) if current else reach
        current.append(one)
    if current:
        yield current


def _judged(
    feeder: str, count: int, several: Sequence[Silence], wills: Mapping[int, Sequence[int]], least: int
) -> Iterator[Outage]:
    out = [one for one in several if one.end is not None and (one.dark or one.taken == 0)]
    powered = [one for one in several if one.taken is not None and one.taken >= POWERED]
    others = [one for one in several if one not in out and one not in powered]
    dark = sum(one.dark for one in out)
    if dark or len(out) >= least:
        sure = HIGH if dark or 2 * len(out) >= count else MEDIUM
        yield _outage(feeder, sure, _reason(count, out, others, powered, wills), out)
    else:
        others = [*out, *others]
    if others:
        yield _outage(feeder, DOUBTFUL, _doubt(count, others, powered, wills), others)


def _outage(feeder: str, sure: str, reason: str, several: Sequence[Silence]) -> Outage:
    ends = [one.end for one in several if one.end is not None]
    end = max(ends) if len(ends) == len(several) else None
    return Outage(feeder, min(one.begin for one in several), end, sure, reason, tuple(several))


def _reason(
    count: int,
    out: Sequence[Silence],
    others: Sequence[Silence],
    powered: Sequence[Silence],
    wills: Mapping[int, Sequence[int]],
) -> str:
    dark = sum(one.dark for one in out)
    told = [f"{dark} of {count} meters measured no voltage"] if dark else []
    if len(out) > dark:
        told.append(
            f"{len(out) - dark} of {count} meters were silent at the same time, and none of these took"
            " readings meanwhile"
        )
    told += _more(out, powered, wills)
    told += [f"{len(others)} more may have had none"] if others else []
    return "; ".join(told)


def _doubt(
    count: int, several: Sequence[Silence], powered: Sequence[Silence], wills: Mapping[int, Sequence[int]]
) -> str:
    number = len(several)
    if all(one.end is None for one in several):
        why = "not back: its history may yet show that it had power"
    elif all(one.taken == 0 for one in several):
        why = "alone without readings: that house, or its meter stood still"
    elif number == 1:
        why = "alone: communications, or that house"
    else:
        why = "it is not known whether they took readings meanwhile"
    told = f"{number} of {count} meters, {why}"
    return "; ".join([told, *_more(several, powered, wills)])


def _more(
    several: Sequence[Silence], powered: Sequence[Silence], wills: Mapping[int, Sequence[int]]
) -> list[str]:
    lost = sum(
        any(one.begin <= at and (one.end is None or at <= one.end) for at in wills.get(one.meter, ()))
        for one in several
    )
    told = [f"the connection of {lost} was lost then"] if lost else []
    if powered:
        told.append(f"{len(powered)} others were silent and took readings, so these had power")
    return told


def index(
    feeder: str,
    customers: Collection[int],
    several: Iterable[Outage],
    *,
    momentary: float = MOMENTARY_MINUTES,
) -> Index:
    """Of outages of one feeder, or of all; those of up to ``momentary`` minutes are left out."""
    counted = short = doubtful = interruptions = length = 0
    for outage in several:
        if outage.sure == DOUBTFUL:
            doubtful += 1
            continue
        long = outage.sustained(momentary)
        counted, short = counted + bool(long), short + (not long)
        interruptions += len(long)
        length += sum((one.end or one.begin) - one.begin for one in long)
    return Index(feeder, len(customers), counted, short, interruptions, length / 60_000, doubtful)
