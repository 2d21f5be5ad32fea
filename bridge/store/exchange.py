"""What exports of load profiles in formats of the trade have in common: the intervals of each register.

>>> channels(store.profiles, meter, start=start, end=end)["energy_import"][0]  # doctest: +SKIP
Interval(start=1795392000000, span=900000, value=150000, mark=<Mark.MEASURED: 0>)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from bridge.store.intervals import Mark
from bridge.store.profile_format import Day
from bridge.store.profile_steps import REGISTERS
from bridge.store.profile_table import Profiles
from bridge.store.tables import Meter


class Interval(NamedTuple):
    """One value of a register."""

    start: int
    """ms since 1970 UTC, as the length."""
    span: int
    value: int | None
    """Thousandths of a Wh or varh; None: nothing is known."""
    mark: Mark


def channels(profiles: Profiles, meter: Meter, *, start: int, end: int) -> dict[str, list[Interval]]:
    """By register, what begins in this time (ms); a register of which nothing is known is left out."""
    days = profiles.days(meter, start=start, end=end)
    found = {name: list(_intervals(days, name, start, end)) for name in REGISTERS}
    return {name: told for name, told in found.items() if any(one.value is not None for one in told)}


def _intervals(days: Sequence[Day], name: str, start: int, end: int) -> Iterator[Interval]:
    for day in days:
        versions, values, marks = (day.column(field) for field in ("version", name, f"{name}_mark"))
        for place in day.places(start, end):
            if versions[place]:
                mark = Mark.MISSING if marks[place] is None else Mark(marks[place])
                yield Interval(day.start + place * day.span, day.span, values[place], mark)
