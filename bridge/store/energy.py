"""The one rule for energy used: which differences of a meter's counter count. Pure; all totals use it.

Roll-ups (`bridge.store.rollup`), the running day (`bridge.store.today`), and with them the command line,
HTTP, exports and the page's charts. The readings of one epoch are looked at by seq:

- A **rise** counts if the meter can have used as much in the time: at its rating, with a margin.
- Everything else is **doubtful**: a fall, or a rise beyond that. It is left out. The next reading decides:
  - It goes on from the last good reading: the doubtful one was an odd value; the difference over it counts.
  - It goes on from the doubtful one: the counter really stands there. After a fall it was reset or replaced,
    which counts as zero, or has rolled over, which counts. A rise beyond the rating never counts.
  - It goes on from neither: it is the doubtful one now.
- A reading with 0 V and 0 Hz is no measurement.

The counter is what a reading has of `Counted.counter`. A two-way meter counts what it feeds in apart.

>>> def wh(*counter):
...     return [Counted(1, seq, seq * 10_000, None, None, None, at, None) for seq, at in enumerate(counter)]
>>> [step.wh for step in judged(wh(98414, 98420, 0, 98421), PZEM_RATING)]
[6, None, 1]
>>> [step.wh for step in judged(wh(98414, 98420, 3, 9, 15), PZEM_RATING)]
[6, 0.0, 6, 6]
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import NamedTuple

from bridge.store.pack_format import Counted

PZEM_RATING = 23_000.0
"""W: the PZEM-004T-100A's measuring range (its data sheet, 0 to 23 kW)."""
OTHER_RATING = 3 * PZEM_RATING
"""W: three phases of 100 A, for devices that we do not know. One that reports more power may use more."""
REGISTER_END = 9_999_990.0
"""Wh: here the PZEM-004T's counter begins again at 0."""

_MARGIN = 1.25
"""What devices measure beyond their rating."""
_SLACK_MS = 10_000
"""ms by which the times of two readings may be nearer to each other than the readings were."""
_RESOLUTION = 1.0
"""Wh of a counter's step."""
_HOUR_MS = 3_600_000


class Step(NamedTuple):
    """A reading and how much was used since the good one before it."""

    reading: Counted
    wh: float | None
    """None: doubtful, and left out."""
    since: Counted
    """The good one."""


def rating_of(model: str) -> float:
    """W that a device of this model can use at most.

    >>> rating_of("simulated PZEM-004T"), rating_of("")
    (23000.0, 69000.0)
    """
    return PZEM_RATING if "PZEM-004T" in model.upper() else OTHER_RATING


def is_counted(reading: Counted) -> bool:
    """Whether a reading tells what the counter says."""
    return reading.counter is not None and not (reading.voltage == 0 and reading.frequency == 0)


def agree(earlier: Counted, later: Counted, rating: float) -> bool:
    """Whether the counter can have gone from one reading to the other."""
    return 0 <= _counter(later) - _counter(earlier) <= _most(earlier, later, rating)


def judged(readings: Iterable[Counted], rating: float) -> list[Step]:
    """A step for each counted reading but the first, which has none before it; ``readings`` by seq.

    After two neighbours that agree the rule has forgotten what was before them: where it starts is the same.
    """
    found: list[Step] = []
    good: Counted | None = None
    doubtful: Counted | None = None
    for reading in filter(is_counted, readings):
        if good is None:
            good = reading
        elif agree(good, reading, rating):
            found.append(Step(reading, _counter(reading) - _counter(good), good))
            good, doubtful = reading, None
        elif doubtful is not None and agree(doubtful, reading, rating):
            found[-1] = Step(doubtful, _confirmed(good, doubtful, rating), good)
            found.append(Step(reading, _counter(reading) - _counter(doubtful), doubtful))
            good, doubtful = reading, None
        else:
            found.append(Step(reading, None, good))
            doubtful = reading
    return found


def is_settled(readings: Iterable[Counted], rating: float) -> bool:
    """Whether two neighbours agree, so that nothing beyond them changes what the rule says."""
    return any(agree(*pair, rating) for pair in pairwise(readings))


def _confirmed(good: Counted, doubtful: Counted, rating: float) -> float | None:
    """Wh of a doubtful step when the next reading has confirmed it; None: it cannot be known."""
    if _counter(doubtful) > _counter(good):
        return None
    if good.energy is None or doubtful.energy is None:
        return 0.0  # the PZEM-004T has one counter; those of two-way meters do not end there
    over = _counter(doubtful) + REGISTER_END - _counter(good)
    return over if 0 <= over <= _most(good, doubtful, rating) else 0.0


def _most(earlier: Counted, later: Counted, rating: float) -> float:
    """Wh that can be used from one reading to the other.

    Where a clock was set the time between them is what it was set by, or more.
    """
    power = max(rating, min(earlier.power or 0.0, later.power or 0.0))
    return _RESOLUTION + _MARGIN * power * (abs(later.ts - earlier.ts) + _SLACK_MS) / _HOUR_MS


def most_at_once(rating: float) -> float:
    """Wh by which the counter can go on from one reading to the next, at whatever time."""
    return _RESOLUTION + _MARGIN * rating * _SLACK_MS / _HOUR_MS


def _counter(reading: Counted) -> float:
    return reading.counter or 0.0
