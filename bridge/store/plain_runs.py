"""Readings over which a counter plainly goes on: of five minutes of them the first and the last say it all.

All steps between them count, are whole Wh and measured, and lie in one interval of any length: so one step
from the first to the last is the same as all of them. Energy and load profiles of a meter that reads every
ten seconds are made from a fifteenth of its readings. What is not plain is judged reading by reading.

>>> columns = {"epoch": [1] * 91, "seq": range(1, 92), "ts": range(0, 910_000, 10_000)}
>>> columns["energy"] = [100.0 + n // 9 for n in range(91)]
>>> [(one.seq, one.counter, type(one) is EndOfRun) for one in thinned(columns, "", 23_000.0)[:5]]
[(1, 100.0, False), (2, 100.0, False), (30, 103.0, True), (31, 103.0, False), (60, 106.0, True)]
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from operator import sub

from bridge.store.energy import agree, most_at_once
from bridge.store.intervals import SHORT_MS
from bridge.store.pack_format import Columns, Counted, EndOfRun, counted_of

_SLOT_MS = 300_000
"""The shortest interval, of which all others are multiples."""
_FEWEST = 32
"""Readings that are worth it."""


def thinned(columns: Columns, register: str, rating: float) -> list[Counted] | None:
    """The readings of ``columns``, by ts, without those that say nothing more; None if they are not plain.

    ``register`` is as in `bridge.store.pack_format.counted_of`.
    """
    counter = _counter(columns, register)
    if counter is None or not _is_plain(columns, counter, most_at_once(rating)):
        return None
    times = columns["ts"]
    places = list(_chosen(times))
    names = columns.keys() & {*Counted._fields, register}
    some: Columns = {name: [columns[name][place] for place, _ in places] for name in names}
    readings = list(counted_of(some, register))
    for number, (_, is_end) in enumerate(places):
        if is_end:
            if not agree(readings[number - 1], readings[number], rating):
                return None
            readings[number] = EndOfRun._make(readings[number])
    return readings


def _counter(columns: Columns, register: str) -> Sequence[float] | None:
    """Of all readings; None where it may be of one quantity and then of another, or absent."""
    names = [register] if register else ["energy", "energy_import"]
    for name in names:
        values = columns.get(name, [None])
        if None not in values:
            return values
        if values.count(None) < len(values):
            break
    return None


def _is_plain(columns: Columns, counter: Sequence[float], most: float) -> bool:
    """One epoch without a hole, by seq and time, whole Wh that rise by no more than ``most``."""
    count, seqs, times = len(counter), columns["seq"], columns["ts"]
    return bool(
        count >= _FEWEST
        and columns["epoch"].count(columns["epoch"][0]) == count
        and seqs[-1] - seqs[0] == count - 1
        and _are_between(seqs, 1, 1)
        and _are_between(times, 0, SHORT_MS)
        and _are_between(counter, 0, most)
        and {*map(type, counter)} == {float}
        and all(map(float.is_integer, counter))
        and not (0 in columns.get("voltage", ()) and 0 in columns.get("frequency", ()))
    )


def _are_between(values: Sequence[float], lowest: float, highest: float) -> bool:
    """Whether no step is less or more."""
    steps: list[float] = list(map(sub, values[1:], values))
    return lowest <= min(steps) and max(steps) <= highest


def _chosen(times: Sequence[int]) -> Iterator[tuple[int, bool]]:
    """Places, and whether a run ends there. The first two stay as they are: the rule begins with them."""
    yield 0, False
    place, count = 1, len(times)
    while place < count:
        end = bisect_left(times, times[place] - times[place] % _SLOT_MS + _SLOT_MS, place)
        yield place, False
        if end - 1 > place:
            yield end - 1, True
        place = end
