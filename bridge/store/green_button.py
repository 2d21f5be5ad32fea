"""Load profiles and registers as Green Button data: an Atom feed of NAESB ESPI resources (REQ.21).

A UsagePoint for each meter; for each of its registers a MeterReading with its ReadingType: of the intervals
(``accumulationBehaviour`` 4, deltaData), in an IntervalBlock for each UTC day, and of the corrected register
at local midnights (3, cumulative). Values are whole numbers of thousandths: ``powerOfTenMultiplier`` is −3.
ESPI's dates are seconds since 1970 UTC. The quality of an interval is 17 (validated) if measured, 9
(interpolated) if interpolated, 10 (questionable) if estimated, and 16 (other) if a part of it is missing; an
interval of which nothing is known is left out.

>>> write_green_button(store.profiles, [meter], out, start=start, end=end, midnights=[])  # doctest: +SKIP
2880
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import groupby
from typing import NamedTuple, TextIO
from uuid import UUID, uuid5
from xml.sax.saxutils import escape

from bridge.store.exchange import Interval, channels
from bridge.store.intervals import Mark
from bridge.store.profile_table import Profiles
from bridge.store.register_table import totals
from bridge.store.tables import DAY_MS, Meter

_SPACE = UUID("9f3b0a52-5cb6-4f53-9d42-0c8a2f6f6185")
_QUALITY = {Mark.MEASURED: 17, Mark.INTERPOLATED: 9, Mark.ESTIMATED: 10, Mark.MISSING: 16}
_KINDS = {
    # flowDirection: 1 to the customer, 19 from there; uom: 72 Wh, 73 varh
    "energy_import": (1, 72),
    "energy_export": (19, 72),
    "reactive_import": (1, 73),
    "reactive_export": (19, 73),
}
_DELTA, _CUMULATIVE = 4, 3
_HEAD = """<?xml version="1.0" encoding="UTF-8"?>
<feed xmlns="http://www.w3.org/2005/Atom" xmlns:espi="http://naesb.org/espi">
<id>urn:uuid:{id}</id><title>meter61850</title><updated>{now}</updated>
<link rel="self" href="/espi/1_1/resource/Batch"/>
"""


_POINT = (
    "<espi:UsagePoint><espi:ServiceCategory><espi:kind>0</espi:kind></espi:ServiceCategory></espi:UsagePoint>"
)
"""Of electricity."""


class _Series(NamedTuple):
    """A MeterReading."""

    path: str
    title: str
    register: str
    behaviour: int
    seconds: int
    blocks: Iterable[Sequence[Interval]]


def write_green_button(
    profiles: Profiles,
    meters: Iterable[Meter],
    out: TextIO,
    *,
    start: int,
    end: int,
    midnights: Sequence[int],
) -> int:
    """Write what begins from ``start`` to ``end`` (ms), and registers at ``midnights``; their number."""
    now = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
    out.write(_HEAD.format(id=uuid5(_SPACE, f"{start} {end} {now}"), now=now))
    count = 0
    for meter in meters:
        point = f"/espi/1_1/resource/RetailCustomer/1/UsagePoint/{meter.meter_id}"
        title = "".join(filter(str.isprintable, meter.name)) or meter.meter_id
        out.write(_entry(point, title, _POINT, now, related=[f"{point}/MeterReading"]))
        for series in _series(profiles, meter, point, start, end, midnights):
            count += _write(series, out, now)
    out.write("</feed>\n")
    return count


def _series(
    profiles: Profiles, meter: Meter, point: str, start: int, end: int, midnights: Sequence[int]
) -> Iterator[_Series]:
    path = f"{point}/MeterReading/"
    for name, intervals in channels(profiles, meter, start=start, end=end).items():
        for span, some in groupby(intervals, key=lambda one: one.span):
            seconds, several = span // 1000, list(some)
            blocks = (list(day) for _, day in groupby(several, key=lambda one: one.start // DAY_MS))
            begin = several[0].start // 1000
            yield _Series(f"{path}{name}-{begin}", f"{name} intervals", name, _DELTA, seconds, blocks)
    found = totals(profiles, [meter], midnights)[meter.key or 0]
    for name in _KINDS:
        points = [
            Interval(one.at, 0, value, one.marks[name])
            for one in found
            if (value := one.values[name]) is not None
        ]
        if points:
            yield _Series(f"{path}{name}-register", f"{name} register", name, _CUMULATIVE, 0, [points])


def _write(series: _Series, out: TextIO, now: str) -> int:
    flow, unit = _KINDS[series.register]
    kind = f"{series.path}/ReadingType"
    blocks = f"{series.path}/IntervalBlock"
    out.write(_entry(series.path, series.title, "<espi:MeterReading/>", now, related=[blocks, kind]))
    fields = {
        "accumulationBehaviour": series.behaviour, "commodity": 1, "dataQualifier": 12, "flowDirection": flow,
        "intervalLength": series.seconds, "kind": 12, "powerOfTenMultiplier": -3, "uom": unit,
    }  # fmt: skip
    told = "".join(f"<espi:{name}>{value}</espi:{name}>" for name, value in fields.items())
    out.write(_entry(kind, series.title, f"<espi:ReadingType>{told}</espi:ReadingType>", now))
    count = 0
    for block in series.blocks:
        known = [one for one in block if one.value is not None]
        if known:
            body = _block(known)
            out.write(_entry(f"{blocks}/{known[0].start // 1000}", series.title, body, now, up=blocks))
            count += len(known)
    return count


def _block(known: Sequence[Interval]) -> str:
    begin, end = known[0].start, known[-1].start + known[-1].span
    readings = "".join(
        f"<espi:IntervalReading><espi:ReadingQuality><espi:quality>{_QUALITY[one.mark]}</espi:quality>"
        f"</espi:ReadingQuality><espi:timePeriod>{_period(one.start, one.span)}</espi:timePeriod>"
        f"<espi:value>{one.value}</espi:value></espi:IntervalReading>\n"
        for one in known
    )
    return (
        f"<espi:IntervalBlock><espi:interval>{_period(begin, end - begin)}</espi:interval>\n"
        f"{readings}</espi:IntervalBlock>"
    )


def _period(start: int, span: int) -> str:
    return f"<espi:duration>{span // 1000}</espi:duration><espi:start>{start // 1000}</espi:start>"


def _entry(
    path: str, title: str, content: str, now: str, *, up: str = "", related: Iterable[str] = ()
) -> str:
    """``up`` is the collection that the resource is in."""
    up = up or path.rpartition("/")[0]
    links = "".join(f'<link rel="related" href="{one}"/>' for one in related)
    return (
        f"<entry><id>urn:uuid:{uuid5(_SPACE, path)}</id>"
        f'<link rel="self" href="{path}"/><link rel="up" href="{up}"/>{links}'
        f"<title>{escape(title)}</title><content>{content}</content>"
        f"<published>{now}</published><updated>{now}</updated></entry>\n"
    )
