"""`bridge.store.plain_runs`: few readings say the same as all of them, whatever comes before them."""

from __future__ import annotations

import random
from typing import Any

import pytest

from bridge.store.energy import PZEM_RATING, Step, judged
from bridge.store.intervals import bounded, covers, cut, near_ms
from bridge.store.pack_format import Columns, Counted, counted_of
from bridge.store.plain_runs import thinned
from bridge.store.tables import HOUR_MS

HOURS = 3


def columns(seed: int, **others: Any) -> Columns:
    """Readings every ten seconds or so, some of them lost in time but not in seq, 0 to 70 Wh a step."""
    chance = random.Random(seed)
    times, counter = [chance.randrange(10_000)], [float(chance.randrange(5000))]
    while times[-1] < HOURS * HOUR_MS:
        times.append(times[-1] + chance.choice([0, 9_500, 10_000, 10_400, 10_000, 60_000]))
        counter.append(counter[-1] + chance.choice([0, 0, 0, 1, 2, 70]))
    own: Columns = {"epoch": [1] * len(times), "seq": range(10, 10 + len(times)), "ts": times}
    return {**own, "energy": counter, "voltage": [230.0] * len(times), **others}


def before(first: Counted, seed: int) -> list[Counted]:
    """What was read before: nothing, good readings, or one that the first ones have to decide on."""
    good = first._replace(seq=8, ts=first.ts - 50_000, energy=max(0.0, first.counter or 0.0))
    return [[], [good], [good, first._replace(seq=9, ts=first.ts - 5_000, energy=9e9)],
            [good._replace(energy=9e9)], [good, good._replace(seq=9, energy=1e8)]][seed % 5]  # fmt: skip


def told(steps: list[Step]) -> dict[str, Any]:
    """All that is made of steps: interval values of each length, sums of hours, steps over hours."""
    several = list(bounded(covers(steps, near=near_ms(10.0))))
    hours = range(0, HOURS * HOUR_MS, HOUR_MS)
    return {
        **{
            f"{minutes}": cut(
                [cover for _, cover in several], start=0, end=HOURS * HOUR_MS, span=minutes * 60_000
            )
            for minutes in (5, 15, 30, 60)
        },
        "hours": [sum(s.wh or 0.0 for s in steps if at <= s.reading.ts < at + HOUR_MS) for at in hours],
        "doubtful": [(s.since.seq, s.reading.seq) for s in steps if s.wh is None],
        "over": [
            (step.since.seq, step.reading.seq, cover)
            for step, cover in several
            if any(cover.begin < at <= cover.end for at in hours)
        ],
    }


@pytest.mark.parametrize("seed", range(30))
def test_the_thinned_readings_say_what_all_do(seed: int) -> None:
    all_of_them = columns(seed)
    few, whole = thinned(all_of_them, "", PZEM_RATING), list(counted_of(all_of_them))
    assert few is not None
    assert len(few) < len(whole) / 4
    earlier = before(whole[0], seed)
    assert told(judged([*earlier, *few], PZEM_RATING)) == told(judged([*earlier, *whole], PZEM_RATING))


@pytest.mark.parametrize(
    "others",
    [
        {"energy": [100.0] * 400 + [0.0] * 400},
        {"energy": [float(n) for n in range(400)] + [None] * 400},
        {"energy": [n / 10 for n in range(800)]},
        {"energy": [100.0] * 400 + [1000.0] * 400},
        {"epoch": [1] * 400 + [2] * 400},
        {"seq": [*range(400), *range(500, 900)]},
        {"ts": [*range(0, 4_000_000, 10_000), *range(4_100_000, 8_100_000, 10_000)]},
        {"voltage": [0.0] * 800, "frequency": [50.0] * 799 + [0.0]},
        {"energy": [None] * 800},
    ],
)
def test_what_is_not_plain_is_judged_reading_by_reading(others: dict[str, Any]) -> None:
    plain: Columns = {"epoch": [1] * 800, "seq": range(800), "ts": range(0, 8_000_000, 10_000)}
    plain |= {"energy": [float(n) for n in range(800)]}
    assert thinned(plain, "", PZEM_RATING) is not None
    assert thinned({**plain, **others}, "", PZEM_RATING) is None
    assert thinned({**plain, "energy_export": [5.0] * 800}, "energy_export", PZEM_RATING) is not None
    assert thinned(plain, "energy_export", PZEM_RATING) is None
