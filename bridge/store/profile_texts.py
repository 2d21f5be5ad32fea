"""Load profiles of a time as texts in formats of the trade: the same on the command line and over HTTP.

>>> list(TEXTS)
['green_button', 'nem12']
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Protocol, TextIO

from bridge.store.green_button import write_green_button
from bridge.store.nem12 import write_nem12
from bridge.store.profile_table import Profiles
from bridge.store.tables import Meter, at_ms
from broker.calendar import Calendar


class WriteText(Protocol):
    """Writes what begins from ``start`` to ``end``, meter by meter; the number of values."""

    def __call__(
        self,
        profiles: Profiles,
        meters: Iterable[Meter],
        out: TextIO,
        *,
        start: datetime,
        end: datetime,
        calendar: Calendar,
    ) -> int: ...


def _green_button(
    profiles: Profiles,
    meters: Iterable[Meter],
    out: TextIO,
    *,
    start: datetime,
    end: datetime,
    calendar: Calendar,
) -> int:
    """With the registers at the midnights of the whole days in this time."""
    days = list(calendar.days(start, end))
    midnights = [at_ms(day.start) for day in days] + [at_ms(day.end) for day in days[-1:]]
    return write_green_button(profiles, meters, out, start=at_ms(start), end=at_ms(end), midnights=midnights)


def _nem12(
    profiles: Profiles,
    meters: Iterable[Meter],
    out: TextIO,
    *,
    start: datetime,
    end: datetime,
    calendar: Calendar,
) -> int:
    """Whole days of standard time: those that the local dates of this time are."""
    first, last = (calendar.local(at).date() for at in (start, end - timedelta(milliseconds=1)))
    offset = calendar.standard_offset(start)
    return write_nem12(profiles, meters, out, first=first, last=last, offset=offset)


TEXTS: Mapping[str, WriteText] = {"green_button": _green_button, "nem12": _nem12}
"""By the name of the format."""
