"""Load profiles as NEM12, the interval data file of the Australian market (AEMO, MDFF specification).

A 200 record for each meter and register, a 300 record for each day, and where a day has more than one
quality, 400 records for its intervals. Days are of standard time, as the specification has them: never of 23
or 25 hours. Values are kWh or kvarh to three decimals, rounded so that those of a register together are as
exact as one of them.

| mark | quality | reason |
|---|---|---|
| measured | A | |
| interpolated | F17: final, linear | 0, the registers at both ends are known |
| estimated | S18: substituted, alternate | 0, the counter was reset or is in doubt |
| missing, a part is known | E18: estimated | 0, a part has no register |
| missing | N: none, with the value 0 | |

>>> write_nem12(profiles, [meter], out, first=first, last=last, offset=offset)  # doctest: +SKIP
2880
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import groupby
from typing import TextIO

from bridge.store.exchange import Interval, channels
from bridge.store.intervals import Mark
from bridge.store.profile_table import Profiles
from bridge.store.tables import DAY_MS, Meter, at_ms
from broker.contract.errors import ConfigurationError

LENGTHS = (5, 15, 30)
"""Minutes of an interval that NEM12 has."""
SUFFIXES = {
    "energy_import": ("E1", "kWh"),
    "energy_export": ("B1", "kWh"),
    "reactive_import": ("Q1", "kvarh"),
    "reactive_export": ("K1", "kvarh"),
}
"""NMI suffix and unit: E and Q flow to the customer, B and K from there."""
_QUALITY = {Mark.MEASURED: "A", Mark.INTERPOLATED: "F17", Mark.ESTIMATED: "S18", Mark.MISSING: "E18"}
_NOTHING = "N"
_WHY = {
    "F17": "Registers at both ends are known",
    "S18": "Counter was reset or is in doubt",
    "E18": "Part of the interval has no register",
}
_MIXED = "V"
_FREE_TEXT = "0"
_NMI = re.compile(r"[A-HJ-NP-Z0-9]{10}")
_SERIAL = 12


def nmi_of(meter: Meter) -> str:
    """The ten characters that name the meter: its address code if that is one, else the end of its meter_id.

    >>> nmi_of(Meter(meter_id="3f2504e0-4f89-41d3-9a0c-0305e82c3301", address_code="NAAA000001"))
    'NAAA000001'
    >>> nmi_of(Meter(meter_id="3f2504e0-4f89-41d3-9a0c-0305e82c3301"))
    '05E82C3301'
    """
    return code if _NMI.fullmatch(code := meter.address_code.upper()) else meter.meter_id[-10:].upper()


def write_nem12(
    profiles: Profiles,
    meters: Iterable[Meter],
    out: TextIO,
    *,
    first: date,
    last: date,
    offset: timedelta,
    sender: str = "METER61850",
    receiver: str = "RECEIVER",
) -> int:
    """Write the days from ``first`` to ``last`` of ``meters``; the number of values.

    ``offset`` is that of standard time. ConfigurationError for intervals of another length than `LENGTHS`.
    """
    begin = at_ms(datetime(first.year, first.month, first.day, tzinfo=UTC) - offset)
    end = at_ms(datetime(last.year, last.month, last.day, tzinfo=UTC) - offset) + DAY_MS
    now = datetime.now(UTC) + offset
    out.write(f"100,NEM12,{now:%Y%m%d%H%M},{sender},{receiver}\r\n")
    count = 0
    for meter in meters:
        found = channels(profiles, meter, start=begin, end=end)
        configuration = "".join(SUFFIXES[name][0] for name in found)
        for name, intervals in found.items():
            for minutes, days in groupby(_days(intervals, begin), key=lambda day: day[0].span // 60_000):
                out.write(_details(meter, name, configuration, minutes, begin))
                rest = 0
                for day in days:
                    lines, rest = _day(day, begin, first, rest, f"{now:%Y%m%d%H%M%S}")
                    out.writelines(lines)
                    count += len(day)
    out.write("900\r\n")
    return count


def _details(meter: Meter, name: str, configuration: str, minutes: int, begin: int) -> str:
    who = meter.name or meter.meter_id
    if minutes not in LENGTHS:
        raise ConfigurationError(
            f"{who}: NEM12 has intervals of 5, 15 and 30 minutes, and these have {minutes}: use another "
            "format, or set METER61850_INTERVAL_MINUTES of the bridge"
        )
    if begin % (60_000 * minutes):
        raise ConfigurationError(
            f"{who}: a day of this time zone begins inside of an interval of {minutes} minutes: NEM12 has "
            "whole days"
        )
    suffix, unit = SUFFIXES[name]
    serial = re.sub(r"[^A-Za-z0-9-]", "", meter.serial)[-_SERIAL:]
    return f"200,{nmi_of(meter)},{configuration},{suffix},{suffix},,{serial},{unit},{minutes},\r\n"


def _days(intervals: Sequence[Interval], begin: int) -> Iterator[list[Interval]]:
    """Whole days of one interval length: what is not known is missing."""
    for number, group in groupby(intervals, key=lambda one: (one.start - begin) // DAY_MS):
        told = {one.start: one for one in group}
        span = min(one.span for one in told.values())
        starts = range(begin + number * DAY_MS, begin + (number + 1) * DAY_MS, span)
        nothing = (Interval(start, span, None, Mark.MISSING) for start in starts)
        yield [_as_long(told.get(one.start, one), span) for one in nothing]


def _as_long(interval: Interval, span: int) -> Interval:
    """A longer one, of the day on which the length was changed, has no place here."""
    return interval if interval.span == span else Interval(interval.start, span, None, Mark.MISSING)


def _day(day: Sequence[Interval], begin: int, first: date, rest: int, now: str) -> tuple[list[str], int]:
    """The 300 record and its 400 records; what rounding leaves for the next day, in thousandths."""
    values: list[str] = []
    for one in day:
        whole, rest = divmod((one.value or 0) + rest + 500, 1000)
        rest -= 500
        values.append(f"{whole / 1000:.3f}")
    qualities = [(quality, len(list(some))) for quality, some in groupby(map(_quality, day))]
    named = f"{first + timedelta(days=(day[0].start - begin) // DAY_MS):%Y%m%d}"
    whole_day = qualities[0][0] if len(qualities) == 1 else _MIXED
    lines = [",".join(("300", named, *values, *_reasons(whole_day), now, "")) + "\r\n"]
    place = 1
    for quality, length in qualities if whole_day == _MIXED else ():
        lines.append(",".join(("400", str(place), str(place + length - 1), *_reasons(quality))) + "\r\n")
        place += length
    return lines, rest


def _quality(interval: Interval) -> str:
    if interval.mark is Mark.MISSING and interval.value is None:
        return _NOTHING
    return _QUALITY[interval.mark]


def _reasons(quality: str) -> tuple[str, str, str]:
    why = _WHY.get(quality, "")
    return quality, _FREE_TEXT if why else "", why
