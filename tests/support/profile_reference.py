"""A reference: the interval values of one meter by the rules of the load profile, plainly and exactly.

No database, no floating point, no short cuts: from all readings to all intervals. Slow. The rule for steps is
written here once more, and not taken from `bridge.store.energy`.

What the rules leave open is answered like this:

- All intervals of an hour (UTC) exist, if the hour is over, and it has a reading or a step covers some of it.
- A step that falls at one instant (the clock was set back) is of the interval of its reading, as in roll-ups.
- Epochs do not know of each other. Where they overlap in time their steps are added up, and the mark is the
  worst of all.
- A step that falls at one instant adds its value to an interval, and marks it as estimated if it is, but it
  covers nothing: there may be a value where all is missing.
- Of doubtful readings one after the other only the last may still be confirmed: those before it were odd
  values, and cover nothing, whatever becomes of the last.
- Only the register ``energy`` turns over, at 9,999,990 Wh. One that has turned over so that the step is 0 Wh
  is not told from one that was reset.
- Differences are those of the numbers as they are written in decimal. Half a thousandth is rounded to the
  even one.
- A meter has a register, or a quantity, if any of its readings has; and it always has energy_import. Power
  and voltage are of all readings, also of those with 0 V and 0 Hz.

>>> from bridge.store.pack_format import NOTHING
>>> first = NOTHING._replace(epoch=1, seq=1, ts=-60_000, energy=100.0)
>>> then = first._replace(seq=2, ts=1_800_000, energy=131.0)
>>> rows = profile([first, then], interval=10, model="", minutes=15, over=[0])
>>> [(row["energy_import"], row["energy_import_mark"]) for row in rows]
[(15.0, 'interpolated'), (15.0, 'interpolated'), (None, 'missing'), (None, 'missing')]
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from bridge.store.pack_format import StoredReading

HOUR = 3_600_000
"""ms."""
REGISTERS = ("energy_import", "energy_export", "reactive_import", "reactive_export")
SUMMARIES = ("power", "voltage", "voltage_l1", "voltage_l2", "voltage_l3")
MARKS = ("measured", "interpolated", "estimated", "missing")
"""The best first."""
TURNS_AT = 9_999_990
"""Wh: the register of a PZEM-004T goes on from 0."""

Row = dict[str, Any]


@dataclass(frozen=True)
class Covered:
    """A step: the time from one reading to another, and how much was counted in it."""

    begin: int
    end: int
    """ms. Not after ``begin`` if the clock was set back."""
    thousandths: int
    is_estimated: bool

    @property
    def is_instant(self) -> bool:
        """Whether it falls at its end, as a whole."""
        return self.end <= self.begin

    def until(self, boundary: int) -> int:
        """Thousandths of it that lie before ``boundary``."""
        if self.is_instant:
            return self.thousandths if self.end < boundary else 0
        if boundary <= self.begin:
            return 0
        if boundary >= self.end:
            return self.thousandths
        return self.thousandths * (boundary - self.begin) // (self.end - self.begin)

    def touches(self, begin: int, end: int) -> bool:
        """Whether some of it is of this time."""
        if self.is_instant:
            return begin <= self.end < end
        return self.overlaps(begin, end)

    def overlaps(self, begin: int, end: int) -> bool:
        """Whether it is of this time for longer than an instant."""
        return not self.is_instant and self.begin < end and self.end > begin

    def mark(self, near: int) -> str:
        """Of it alone."""
        if self.is_estimated:
            return "estimated"
        return "measured" if self.end - self.begin <= near else "interpolated"


def profile(
    readings: Iterable[StoredReading],
    *,
    interval: float,
    model: str,
    minutes: int,
    over: Collection[int],
) -> list[Row]:
    """All intervals of a meter, by time, as fields and values; without the version.

    ``interval`` (s) and ``model`` are the meter's, ``minutes`` those of an interval; ``over`` are the hours
    (ms of their beginnings) that are over.
    """
    known = list(readings)
    steps = {name: covered(known, name, rating_of(model)) for name in registers(known)}
    near = int(max(Fraction(60), 3 * Fraction(str(interval))) * 1000)
    rows = []
    for hour in sorted(over):
        if any(hour <= reading.ts < hour + HOUR for reading in known) or any(
            step.touches(hour, hour + HOUR) for found in steps.values() for step in found
        ):
            for begin in range(hour, hour + HOUR, minutes * 60_000):
                rows.append(_row(known, steps, begin, begin + minutes * 60_000, near))
    return rows


def hours_until(now: int, readings: Iterable[StoredReading]) -> list[int]:
    """The hours that are over at ``now`` (ms), from the earliest of the readings to the latest."""
    times = [reading.ts for reading in readings]
    last = min(max(times), now - HOUR - 300_000) // HOUR
    return [hour * HOUR for hour in range(min(times) // HOUR, last + 1)]


def registers(readings: Collection[StoredReading]) -> list[str]:
    """Names of the registers that a meter has."""
    found = [name for name in REGISTERS[1:] if any(getattr(one, name) is not None for one in readings)]
    return ["energy_import", *found]


def _row(
    readings: list[StoredReading], steps: dict[str, list[Covered]], begin: int, end: int, near: int
) -> Row:
    """One interval."""
    row: Row = {"start": begin, "end": end}
    for register, found in steps.items():
        touching = [step for step in found if step.touches(begin, end)]
        counted = sum(step.until(end) - step.until(begin) for step in touching)
        row[register] = float(Fraction(counted, 1000)) if touching else None
        row[f"{register}_mark"] = _mark(touching, begin, end, near)
    inside = [reading for reading in readings if begin <= reading.ts < end]
    for name in SUMMARIES:
        if any(getattr(reading, name) is not None for reading in readings):
            row.update(_summary(name, [getattr(reading, name) for reading in inside]))
    return row


def _mark(steps: list[Covered], begin: int, end: int, near: int) -> str:
    """The worst of ``steps``, which are of this time; or missing if some time is of no step."""
    overlapping = [step for step in steps if step.overlaps(begin, end)]
    reached = begin
    for step in sorted(overlapping, key=lambda step: step.begin):
        if step.begin > reached:
            return "missing"
        reached = max(reached, step.end)
    if reached < end:
        return "missing"
    return max((step.mark(near) for step in steps), key=MARKS.index)


def _summary(name: str, values: list[float | None]) -> Row:
    """Mean, lowest and highest of the values that there are."""
    given = [value for value in values if value is not None]
    mean = sum(map(_exact, given), Fraction(0)) / len(given) if given else None
    return {
        f"{name}_mean": None if mean is None else float(round(mean, 3)),
        f"{name}_min": min(given, default=None),
        f"{name}_max": max(given, default=None),
    }


def covered(readings: Iterable[StoredReading], register: str, rating: int) -> list[Covered]:
    """All steps of a register, of all epochs."""
    counts = list(readings)
    found: list[Covered] = []
    for epoch in sorted({reading.epoch for reading in counts}):
        own = [reading for reading in counts if reading.epoch == epoch and _counts(reading, register)]
        found.extend(_of_epoch(sorted(own, key=lambda reading: reading.seq), register, rating))
    return found


def rating_of(model: str) -> int:
    """W that such a device measures at most: 100 A, of one phase, or of three."""
    return 23_000 if "pzem-004t" in model.lower() else 69_000


def _of_epoch(readings: list[StoredReading], register: str, rating: int) -> Iterator[Covered]:
    """The steps of one epoch.

    ``good`` is where the counter is known to stand. ``waiting`` are the doubtful readings since then; only
    the last of them may still be confirmed.
    """
    if not readings:
        return
    good, waiting = readings[0], list[StoredReading]()
    for reading in readings[1:]:
        if _can_follow(good, reading, register, rating):
            # so those that waited were odd values, and cover nothing
            yield _step(good, reading, _rise(good, reading, register))
        elif waiting and _can_follow(waiting[-1], reading, register, rating):
            confirmed = waiting[-1]
            yield _confirmed(good, confirmed, register, rating)
            yield _step(confirmed, reading, _rise(confirmed, reading, register))
        else:
            waiting.append(reading)
            continue
        good, waiting = reading, []
    if waiting:  # nothing has decided on the last of them
        yield _step(good, waiting[-1], None)


def _confirmed(good: StoredReading, doubtful: StoredReading, register: str, rating: int) -> Covered:
    """What becomes of a doubtful reading when the counter goes on from it."""
    turned = _rise(good, doubtful, register) + TURNS_AT
    one_counter = register == "energy_import" and good.energy is not None and doubtful.energy is not None
    fell = _rise(good, doubtful, register) < 0
    if fell and one_counter and 0 < turned <= _most(good, doubtful, rating):
        return _step(good, doubtful, turned)
    return _step(good, doubtful, None)  # it was reset, or rose beyond the rating: nobody knows by how much


def _step(since: StoredReading, reading: StoredReading, counted: Fraction | None) -> Covered:
    """None: it is estimated, as 0."""
    thousandths = round((counted or Fraction(0)) * 1000)
    return Covered(since.ts, reading.ts, thousandths, is_estimated=counted is None)


def _can_follow(earlier: StoredReading, later: StoredReading, register: str, rating: int) -> bool:
    """Whether the counter can have gone from one to the other."""
    return 0 <= _rise(earlier, later, register) <= _most(earlier, later, rating)


def _most(earlier: StoredReading, later: StoredReading, rating: int) -> Fraction:
    """What can be counted between two readings: the rating or the power that both report, and a quarter, in
    the time between them and 10 s, whichever way the clock was set; and one more Wh."""
    power = max(Fraction(rating), min(_exact(earlier.power or 0.0), _exact(later.power or 0.0)))
    return 1 + power * Fraction(5, 4) * (abs(later.ts - earlier.ts) + 10_000) / HOUR


def _rise(earlier: StoredReading, later: StoredReading, register: str) -> Fraction:
    return _exact(_value(later, register)) - _exact(_value(earlier, register))


def _counts(reading: StoredReading, register: str) -> bool:
    """Whether a reading tells what the register says; with 0 V and 0 Hz it is no measurement."""
    return _value(reading, register) is not None and not (reading.voltage == 0 and reading.frequency == 0)


def _value(reading: StoredReading, register: str) -> Any:
    if register == "energy_import" and reading.energy is not None:
        return reading.energy
    return getattr(reading, register)


def _exact(value: float) -> Fraction:
    """The number as it is written: 0.1 is a tenth."""
    return Fraction(str(value))
