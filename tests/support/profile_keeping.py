"""Stores the readings of `tests.support.profile_houses`, and compares the load profile with the reference's.

>>> with a_copy(empty) as kept:  # doctest: +SKIP
...     receive(kept, house)
...     assert differences(told(kept), house.expected) == []
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from itertools import zip_longest
from pathlib import Path
from typing import Any

from sqlalchemy import update

from bridge.ingest.rows import Row
from bridge.store.pack_format import StoredReading
from bridge.store.tables import DAY_MS, Meter
from bridge.store.upkeep import Policy, upkeep
from tests.support.profile_houses import LONG_AFTER, MINUTE, House
from tests.support.stores import DAY0, Kept, keeping, row

Profile = list[dict[str, Any]]
"""Intervals, by time, as fields and values."""


@contextmanager
def a_copy(empty: Path) -> Iterator[Kept]:
    """A database of its own."""
    with tempfile.TemporaryDirectory(dir=empty.parent) as folder:
        copy = shutil.copy(empty, folder)
        with keeping(f"sqlite:///{copy}") as kept:
            yield kept


def stored(readings: Sequence[StoredReading]) -> list[Row]:
    """As the bridge gives them to the store."""
    return [row(1, one.seq, **_told(one)) for one in readings]


def _told(reading: StoredReading) -> dict[str, Any]:
    return {name: value for name, value in reading._asdict().items() if value is not None and name != "seq"}


def describe(kept: Kept, house: House) -> None:
    """Say what meter 1 is, as its birth does."""
    with kept.engine.begin() as connection:
        connection.execute(update(Meter).values(model=house.model, interval=house.interval))


def keep_up(kept: Kept, house: House, *, now: int, packs_after: timedelta = Policy.pack_after) -> None:
    """A round of upkeep."""
    policy = Policy(pack_after=packs_after, interval_minutes=house.minutes)
    assert upkeep(kept.engine, policy, now=now, pause=lambda _seconds: False) is not None


def receive(kept: Kept, house: House) -> None:
    """All batches with upkeep between them, and upkeep when all is over."""
    for batch in house.batches:
        kept.put(*stored(batch.readings), now=batch.now)
        describe(kept, house)
        if batch.upkeep_at is not None:
            keep_up(kept, house, now=batch.upkeep_at, packs_after=batch.packs_after)
    keep_up(kept, house, now=LONG_AFTER)


def receive_at_once(kept: Kept, house: House) -> None:
    """The same readings, and upkeep only when all is over."""
    kept.put(*stored(house.readings), now=LONG_AFTER)
    describe(kept, house)
    keep_up(kept, house, now=LONG_AFTER)


def told(kept: Kept, *, start: int = DAY0 - DAY_MS, end: int = LONG_AFTER) -> Profile:
    """What the store says of meter 1, without versions."""
    table = kept.store.profiles.table(kept.meter(), start=start, end=end)
    assert table.fields[:4] == ("start", "end", "energy_import", "energy_import_mark")
    assert table.fields[-1] == "version"
    rows = list(table.documents())
    assert all(found.pop("version") >= 1 for found in rows)
    for found in rows:
        found.pop("readings", None)  # beyond what the reference tells
    return rows


def differences(found: Profile, expected: Profile) -> list[str]:
    """The first few of them."""
    lines = []
    nothing: dict[str, Any] = {}
    for one, other in zip_longest(found, expected, fillvalue=nothing):
        for name in one.keys() | other.keys():
            value, right = one.get(name, "no such"), other.get(name, "no such")
            if not _same(name, value, right):
                at = ((one or other)["start"] - DAY0) / MINUTE
                lines.append(f"{at:.0f} min: {name} is {value!r}, and should be {right!r}")
    return sorted(lines[:8])


def _same(name: str, value: Any, right: Any) -> bool:
    """Powers and voltages are kept in tenths."""
    if isinstance(value, float) and isinstance(right, float):
        return abs(value - right) < (0.0501 if name.endswith(("_mean", "_min", "_max")) else 0.0001)
    return bool(value == right)
