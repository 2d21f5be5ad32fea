"""Load profiles that a person can check, on SQLite and PostgreSQL."""

from __future__ import annotations

from datetime import timedelta
from random import Random
from typing import Any

import pytest

from bridge.store.pack_format import NOTHING, StoredReading
from bridge.store.tables import DAY_MS, HOUR_MS
from tests.support.profile_houses import MINUTE, PZEM, Batch, House
from tests.support.profile_keeping import differences, receive, told
from tests.support.stores import DAY0, keeping

pytest_plugins = ("tests.support.databases",)

Told = tuple[float, dict[str, Any]]
"""Minutes after DAY0, and what a reading says."""
Shown = tuple[float | None, str]
"""Wh of an interval, and its mark."""


def steady(wh: float, *, first: int, last: int) -> list[Told]:
    """A reading at every minute."""
    return [(minute, {"energy": 1000.0 + wh * minute, "power": 60.0 * wh}) for minute in range(first, last)]


EXAMPLES: dict[str, tuple[list[list[Told]], str, list[Shown]]] = {
    "every minute": (
        [steady(2, first=-1, last=61)],
        "energy_import",
        [(30.0, "measured"), (30.0, "measured"), (30.0, "measured"), (30.0, "measured")],
    ),
    "a gap of half an hour": (
        [steady(2, first=-1, last=16) + steady(2, first=45, last=61)],
        "energy_import",
        [(30.0, "measured"), (30.0, "interpolated"), (30.0, "interpolated"), (30.0, "measured")],
    ),
    "thirds of a thousandth": (
        [[(-5, {"energy": 100.0}), (17.5, {"energy": 100.1}), (40, {"energy": 100.2})]],
        "energy_import",
        [(0.066, "interpolated"), (0.067, "interpolated"), (0.045, "missing"), (None, "missing")],
    ),
    "a reset": (
        [[(0, {"energy": 5000.0}), (15, {"energy": 5003.0}), (30, {"energy": 0.0}), (60, {"energy": 8.0})]],
        "energy_import",
        [(3.0, "interpolated"), (0.0, "estimated"), (4.0, "interpolated"), (4.0, "interpolated")],
    ),
    "a register that turns over": (
        [[(0, {"energy": 9_999_985.0}), (15, {"energy": 5.0}), (30, {"energy": 8.0})]],
        "energy_import",
        [(10.0, "interpolated"), (3.0, "interpolated"), (None, "missing"), (None, "missing")],
    ),
    "a register that turns over in an outage": (
        [
            [
                *((0, {"energy": 9_999_970.0}), (15, {"energy": 9_999_980.0}), (195, {"energy": 50.0})),
                *((300, {"energy": 50.0}), (315, {"energy": 51.0})),
            ]
        ],
        "energy_import",
        [(10.0, "interpolated"), (5.0, "interpolated"), (5.0, "interpolated"), (5.0, "interpolated")],
    ),
    "an odd value": (
        [[(0, {"energy": 100.0}), (20, {"energy": 0.0}), (60, {"energy": 112.0})]],
        "energy_import",
        [(3.0, "interpolated"), (3.0, "interpolated"), (3.0, "interpolated"), (3.0, "interpolated")],
    ),
    "a doubtful end": (
        [[(0, {"energy": 100.0}), (15, {"energy": 101.0}), (45, {"energy": 3.0})]],
        "energy_import",
        [(1.0, "interpolated"), (0.0, "estimated"), (0.0, "estimated"), (None, "missing")],
    ),
    "a clock that is set back by hours": (
        [[(125, {"energy": 1.0}), (15.5, {"energy": 4.0}), (30, {"energy": 6.0})]],
        "energy_import",
        [(None, "missing"), (5.0, "missing"), (None, "missing"), (None, "missing")],
    ),
    "two ways": (
        [
            [
                (
                    minute,
                    {"energy_import": 50.0 + minute, "energy_export": 9_999_990.0 - 2 * abs(minute - 30)},
                )
                for minute in range(0, 75, 15)
            ]
        ],
        "energy_export",
        [(30.0, "interpolated"), (30.0, "interpolated"), (0.0, "estimated"), (0.0, "estimated")],
    ),
    "an outbox that is silent while another one counts every hour": (
        [
            [(0, {"energy": 100.0}), (30 * 60, {"energy": 160.0})],
            [(61 * number, {"energy": 100.0 + 6.1 * number}) for number in range(27)],
        ],
        "energy_import",
        [(0.5 + 1.5, "interpolated")] * 4,
    ),
    "two outboxes at the same time": (
        [
            [(0, {"energy": 100.0}), (30, {"energy": 130.0})],
            [(15, {"energy": 7.0}), (45, {"energy": 13.0})],
        ],
        "energy_import",
        [(15.0, "interpolated"), (18.0, "interpolated"), (3.0, "interpolated"), (None, "missing")],
    ),
    "a clock that is set back": (
        [[(0, {"energy": 1.0}), (30, {"energy": 4.0}), (15, {"energy": 6.0}), (60, {"energy": 15.0})]],
        "energy_import",
        [(1.5, "interpolated"), (6.5, "interpolated"), (3.0, "interpolated"), (3.0, "interpolated")],
    ),
}
"""Of each outbox the readings by seq; a register; its four intervals from DAY0 on."""


def house_of(outboxes: list[list[Told]], *, by_time: bool) -> House:
    """Readings come one by one with upkeep two hours after each; or the half of them after the other half."""
    readings: list[StoredReading] = [
        NOTHING._replace(epoch=epoch, seq=seq, ts=DAY0 + round(minute * MINUTE), **values)
        for epoch, outbox in enumerate(outboxes, start=1)
        for seq, (minute, values) in enumerate(outbox, start=1)
    ]
    mixed = Random(61850).sample(readings, len(readings))
    late = DAY0 + 2 * DAY_MS
    parts = [Batch(tuple(some), late, late, timedelta(0)) for some in (mixed[::2], mixed[1::2])]
    one_by_one, now = list[Batch](), DAY0
    for reading in sorted(readings, key=lambda reading: reading.ts):
        now = max(now, reading.ts)
        one_by_one.append(Batch((reading,), now, now + 2 * HOUR_MS, timedelta(0)))
        now += 2 * HOUR_MS
    return House(PZEM, 10.0, 15, tuple(readings), tuple(one_by_one if by_time else parts))


@pytest.mark.parametrize("by_time", [True, False])
@pytest.mark.parametrize("example", EXAMPLES)
def test_examples(database_url: str, example: str, by_time: bool) -> None:
    outboxes, register, intervals = EXAMPLES[example]
    house = house_of(outboxes, by_time=by_time)
    with keeping(database_url) as kept:
        receive(kept, house)
        found = told(kept)
        assert differences(found, house.expected) == []
        shown = [(line[register], line[f"{register}_mark"]) for line in found if line["start"] >= DAY0]
        assert shown[:4] == intervals


@pytest.mark.parametrize("example", EXAMPLES)
def test_the_reference_says_what_the_examples_say(example: str) -> None:
    outboxes, register, intervals = EXAMPLES[example]
    lines = [line for line in house_of(outboxes, by_time=True).expected if line["start"] >= DAY0]
    assert [(line[register], line[f"{register}_mark"]) for line in lines][:4] == intervals
