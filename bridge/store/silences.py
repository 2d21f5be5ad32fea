"""When a meter was silent, and whether it took readings in that time, from the runs of its readings. Pure.

Readings are numbered when they are taken. If the first one after a silence has the number that follows the
last one before it, none was taken in between: the meter had no power, or stood still. Numbers that are left
out are readings that were taken and are not here, lost or still in the outbox: there was power. History that
comes later fills the silence, which then is none.

>>> runs = [(0, [Run(0, 600, 1, 1, 1, 61)]), (3_600_000, [Run(0, 3590, 1, 62, 1, 421)])]
>>> silences(7, runs, near=60_000, interval=10.0)
[Silence(meter=7, begin=600000, end=3600000, taken=0.0, dark=False, slack=10000)]
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from bridge.store.supply_hour import Run

LATER_MS = 2 * 3_600_000
"""ms after which an hour that is over is certainly summed up."""


class Silence(NamedTuple):
    """From the last reading before it to the first after it (ms)."""

    meter: int
    """`Meter.key`."""
    begin: int
    end: int | None
    """None: the meter is not back."""
    taken: float | None
    """The part of it in which readings were taken that are not here; None: not known."""
    dark: bool = False
    """Its own readings say that there was no voltage."""
    slack: int = 0
    """ms between its readings: the power may have gone so much later than ``begin``."""


def silences(
    meter: int, hours: Iterable[tuple[int, Iterable[Run]]], *, near: int, interval: float
) -> list[Silence]:
    """All of a meter that are over; ``hours`` by time, with their begins (ms)."""
    found = []
    last: tuple[int, Run] | None = None
    until, dark = 0, False
    for at, runs in hours:
        for run in runs:
            begin = at + run.begin * 1000
            if run.dark:
                dark = True
                continue
            if last is not None and (dark or begin - until > near + 1000):
                taken = 0.0 if dark else _taken(last[1], run, interval, begin - until)
                found.append(Silence(meter, until, begin, taken, dark, round(interval * 1000)))
            last, until, dark = (at, run), at + run.end * 1000, False
    return found


def still(
    meter: int, hours: Iterable[tuple[int, Iterable[Run]]], *, now: int, read_at: int | None, interval: float
) -> Silence | None:
    """The silence of a meter that is not back: ``read_at`` is when a reading came last."""
    ends = [(at + run.end * 1000, run.dark) for at, runs in hours for run in runs if not run.dark]
    if not ends or read_at is None or now - read_at < LATER_MS or read_at - ends[-1][0] > LATER_MS:
        return None  # it sends, or the hour of its last readings is not summed up
    return Silence(meter, ends[-1][0], None, None, False, round(interval * 1000))


def _taken(before: Run, after: Run, interval: float, length: int) -> float | None:
    if before.last_epoch != after.epoch or after.seq <= before.last_seq:
        return None
    missing = after.seq - before.last_seq - 1
    if missing == 0:
        return 0.0
    return min(1.0, missing * interval * 1000 / length) if interval else None
