"""Meters with all that can go wrong with their readings, for tests of load profiles: hypothesis strategies.

Readings, gaps of minutes and of hours, resets, registers that turn over, odd and missing values, frames
without mains, clocks that are set back, outboxes that begin anew; and the batches in which they come.

>>> houses().example().expected  # doctest: +SKIP
[{'start': 1795392000000, 'end': 1795392900000, 'energy_import': None, 'energy_import_mark': 'missing'}, ...]
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from hypothesis import strategies as st

from bridge.store.pack_format import NOTHING, StoredReading
from bridge.store.tables import DAY_MS, HOUR_MS
from tests.support import profile_reference as reference
from tests.support.stores import DAY0

PZEM = "PZEM-004T v3"
LONG_AFTER = DAY0 + 400 * DAY_MS
"""ms: all is over, and upkeep comes once more."""


@dataclass(frozen=True)
class Batch:
    """Readings that come in one commit at ``now`` (ms)."""

    readings: tuple[StoredReading, ...]
    now: int
    upkeep_at: int | None
    """ms: when upkeep comes after them, if it comes before the next batch."""
    packs_after: timedelta


@dataclass(frozen=True)
class House:
    """A meter, its readings in the order of their making, and how they come."""

    model: str
    interval: float
    minutes: int
    readings: tuple[StoredReading, ...]
    batches: tuple[Batch, ...]

    @property
    def expected(self) -> list[reference.Row]:
        """What the reference says when all is over."""
        over = reference.hours_until(LONG_AFTER, self.readings)
        return reference.profile(
            self.readings, interval=self.interval, model=self.model, minutes=self.minutes, over=over
        )


SECOND, MINUTE = 1_000, 60_000
"""ms."""
PAUSES = [
    *(10 * SECOND, MINUTE, MINUTE + 1, 3 * MINUTE, 5 * MINUTE, 14 * MINUTE + 987, 15 * MINUTE),
    *(40 * MINUTE, HOUR_MS, HOUR_MS + 7, 3 * HOUR_MS, 31 * HOUR_MS, 0, -3 * MINUTE, -25 * MINUTE),
]
OUTAGES = [40 * MINUTE, 2 * HOUR_MS + 7, 3 * HOUR_MS, 7 * HOUR_MS + 123, -25 * MINUTE]
"""ms from one reading to the next; less than 0 if the clock was set back."""
RISE, RESET, LEAP, ODD, ABSENT = "rise", "reset", "leap", "odd", "absent"
RISES = [(RISE, wh) for wh in (0, 1_000, 7_001, 500, 20_000, 20_000, 333_333)]
OTHER_ACTS = [
    *((RESET, 0), (RESET, 3_000), (LEAP, 500_000_000), (LEAP, 5_000_000), (ABSENT, 0)),
    *((ODD, 0), (ODD, 2**32 * 1000 - 1000), (ODD, 98_413_000), (ODD, 9_999_989_000)),
]
ACTS = st.one_of(st.sampled_from(RISES), st.sampled_from([*RISES, *OTHER_ACTS]))
"""What a register does, and thousandths of a Wh."""
REGIMES = [
    (PAUSES, st.sampled_from([1, 1, 1, 1, 1, 1, 20]), 2 * MINUTE),
    (OUTAGES, st.just(1), 0),
    (OUTAGES, st.just(1), 0),
    ([HOUR_MS + MINUTE], st.sampled_from([1, 28]), HOUR_MS + MINUTE),
]
"""Pauses, how many readings follow each other like that, and ms between these. So many of every other minute
are packed."""
BEGINS = st.sampled_from([98_414_000, 9_999_985_000, 9_999_970_000, 0])
DEAD = {"voltage": 0.0, "frequency": 0.0}
OTHERS = st.sampled_from(
    [
        *({"voltage": 230.1, "frequency": 50.0, "power": 500.3}, {"power": -21.4, "voltage": 229.9}, {}),
        *({"power": 250_000.0, "frequency": 0.0}, {"voltage_l1": 231.5, "voltage_l2": 0.0}, DEAD),
    ]
)
METERS = st.sampled_from(
    [
        *(("energy",), ("energy",), ("energy_import", "energy_export")),
        *(("energy", "energy_export"), ("energy_import", "reactive_import", "reactive_export")),
    ]
)
"""The registers of a meter."""


@st.composite
def epochs(draw: st.DrawFn, names: tuple[str, ...], epoch: int) -> list[StoredReading]:
    """What one outbox sends."""
    ts = DAY0 + draw(st.integers(0, 40)) * 5 * MINUTE + draw(st.sampled_from([0, 1, 4_321]))
    counters = {name: draw(BEGINS) for name in names}
    found, seq = [], 0
    pauses, times, every = draw(st.sampled_from(REGIMES))
    done = st.tuples(*(ACTS for _ in names))
    acts = st.tuples(st.sampled_from(pauses), OTHERS, done, st.sampled_from([1, 1, 1, 2]), times)
    number = draw(st.integers(1, 12))
    for pause, others, did, numbers, count in draw(st.lists(acts, min_size=number, max_size=number)):
        for time in range(count):
            ts += every if time else pause
            seq += 1 if time else numbers
            acted = ((RISE, 2_001),) * len(names) if time else did
            values = {name: _counted(counters, name, *act) for name, act in zip(names, acted, strict=True)}
            found.append(NOTHING._replace(epoch=epoch, seq=seq, ts=ts, **others, **values))
    return found


def _counted(counters: dict[str, int], name: str, act: str, amount: int) -> float | None:
    """What the register says; ``counters`` are where it stands then."""
    if act in {RISE, LEAP}:
        counters[name] += amount
        if name == "energy":  # of a PZEM-004T
            counters[name] %= reference.TURNS_AT * 1000
    elif act == RESET:
        counters[name] = amount
    elif act == ABSENT:
        return None
    return (amount if act == ODD else counters[name]) / 1000


ORDERS = ("by time", "some late", "mixed", "in parts")
"""How readings come: as they are made, some of them long after, or in any order, two at most at a time."""


@st.composite
def orders(draw: st.DrawFn, readings: list[StoredReading], order: str) -> list[StoredReading]:
    """All readings, and some of them again."""
    again = draw(st.lists(st.sampled_from(readings), max_size=4))
    if order in {"mixed", "in parts"}:
        return draw(st.permutations([*readings, *again]))
    by_time = sorted(readings, key=lambda reading: reading.ts)
    if order == "by time":
        return [*by_time, *again]
    first, last = sorted(draw(st.tuples(*(st.integers(0, len(readings)) for _ in range(2)))))
    return [*by_time[:first], *by_time[last:], *by_time[first:last], *again]


@st.composite
def houses(draw: st.DrawFn) -> House:
    """A meter with one or two outboxes, its readings in any order, some of them more than once."""
    names = draw(METERS)
    readings = [
        reading for epoch in range(1, draw(st.integers(1, 2)) + 1) for reading in draw(epochs(names, epoch))
    ]
    order = draw(st.sampled_from(ORDERS))
    left, batches = draw(orders(readings, order)), list[Batch]()
    now = DAY0 + draw(st.sampled_from([-1, 3, 30, 5000])) * HOUR_MS
    while left:
        some = tuple(left[: draw(st.integers(1, len(left) if order == "in parts" else 2))])
        left = left[len(some) :]
        now = max(now, *(reading.ts for reading in some)) if order == "by time" else now
        packs_after = timedelta(hours=draw(st.sampled_from([0, 1000])))
        until = now + draw(st.sampled_from([0, MINUTE, 2 * HOUR_MS, 2 * HOUR_MS, 3 * DAY_MS]))
        batches.append(Batch(some, now, draw(st.sampled_from([until, until, None])), packs_after))
        now = until
    interval = draw(st.sampled_from([0.0, 10.0, 60.0, 300.0]))
    minutes = draw(st.sampled_from([15, 15, 5, 30, 60]))
    return House(draw(st.sampled_from([PZEM, ""])), interval, minutes, tuple(readings), tuple(batches))
