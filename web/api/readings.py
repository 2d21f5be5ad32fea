"""``/api/v1/meters/{id}/readings``: a meter's readings or roll-ups, in four formats."""

from __future__ import annotations

from collections.abc import Container, Iterable
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from itertools import islice
from operator import itemgetter
from time import gmtime, strftime
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import Response

from bridge.store.export import TIMES, Table
from bridge.store.queries import Store
from bridge.store.rollup import DAY, HOUR
from bridge.store.tables import DAY_MS, HOUR_MS, STATISTICS, Meter, at_ms, moment
from broker.contract.messages import EARLIEST, LATEST, format_ts
from broker.contract.quantities import QUANTITIES
from web.api.common import Cursor, MeterPath, Time, also, cursor, not_ours, position, problems, registered
from web.api.exports import export
from web.api.models import ReadingsPage, Today
from web.api.times import Span, asked
from web.auth.guard import Observer
from web.parts import parts_of
from web.serving.answers import CSV, JSON, PARQUET, XML, answer, chosen
from web.serving.problem import ProblemError

router = APIRouter(tags=["readings"])

PAGE, LARGEST_PAGE = 10_000, 100_000
LONGEST_COLUMNS = 200_000
"""Readings that ``layout=columns`` gives at once."""
_SECONDS = [f":{second:02d}." for second in range(60)]
_MILLISECONDS = [f"{ms:03d}Z" for ms in range(1000)]
_ALWAYS = {"ts", "epoch", "seq", "clock_synchronized", "start", "readings", "energy_used", "energy_doubtful"}
"""Fields that every choice of quantities has."""
UNITS = {row.name: row.unit for row in QUANTITIES.values()}


class Resolution(StrEnum):
    """The span of one row."""

    AUTO = "auto"
    RAW = "raw"
    HOUR = "hour"
    DAY = "day"


class Layout(StrEnum):
    """Of the JSON document."""

    ROWS = "rows"
    COLUMNS = "columns"


_CHOSEN = frozenset(Resolution) - {Resolution.AUTO}
# fmt: off
_FITTING = ((timedelta(hours=25), Resolution.RAW), (timedelta(days=32), Resolution.HOUR))
"""The resolution for a range of at most so long, as the CLI chooses; days beyond."""
# fmt: on


@dataclass(frozen=True)
class Range:
    """What was asked for; ``after`` is the last (ts, epoch, seq) or (start, 0, 0) of the page before."""

    meter: Meter
    start: datetime
    end: datetime
    resolution: Resolution
    after: tuple[int, ...] | None = None
    only: frozenset[str] = frozenset()
    """Quantities; empty: all."""

    def table(self, store: Store) -> Table:
        """The rows, oldest first."""
        table = self._table(store)
        places = [place for place, field in enumerate(table.fields) if self._wants(field)]
        if len(places) == len(table.fields):
            return table
        pick = itemgetter(*places)  # more than one: those that name the row are always there
        return Table(pick(table.fields), map(pick, table.rows))

    def _wants(self, field: str) -> bool:
        name, _, what = field.rpartition("_")
        rolled = self.resolution is not Resolution.RAW and what in STATISTICS
        return not self.only or field in _ALWAYS or (name if rolled else field) in self.only

    def _table(self, store: Store) -> Table:
        if self.resolution is Resolution.RAW:
            begin = self.after[0] if self.after else at_ms(self.start)
            rows = store.span(self.meter, start=begin, end=at_ms(self.end))
            after = self.after
            if after is not None:
                rows = (row for row in rows if (row.ts, row.epoch, row.seq) > after)
            return store.table(self.meter, rows, start=begin, end=at_ms(self.end))
        span = HOUR if self.resolution is Resolution.HOUR else DAY
        since = moment(self.after[0] + 1000 * span) if self.after else self.start
        return store.rollups(self.meter, span, since=since, until=self.end)

    def columns(self, store: Store, most: int) -> dict[str, list[Any]]:
        """At most so many rows, oldest first, a list for each field."""
        if self.resolution is not Resolution.RAW or self.after is not None:
            table = self.table(store)
            rows = list(islice(table.rows, most))
            columns = zip(*rows, strict=True) if rows else (() for _ in table.fields)
            return _decoded(
                {field: list(values) for field, values in zip(table.fields, columns, strict=True)}
            )
        start, end = at_ms(self.start), at_ms(self.end)
        found = store.columns(self.meter, start=start, end=end, most=most)
        return _decoded({field: values for field, values in found.items() if self._wants(field)})

    def place(self, row: tuple[Any, ...]) -> str:
        """The cursor of what follows ``row``: later pages are of the same resolution."""
        place = row[:3] if self.resolution is Resolution.RAW else (row[0], 0, 0)
        return cursor(self.resolution.value, *place)


@dataclass(frozen=True)
class Shape:
    """Of the answer."""

    layout: Layout
    only: frozenset[str]


async def _shape(
    layout: Annotated[
        Layout, Query(description="columns: a list for each quantity, for charts.")
    ] = Layout.ROWS,
    quantity: Annotated[
        list[str] | None, Query(description="Only these, such as `power`.", max_length=len(QUANTITIES))
    ] = None,
) -> Shape:
    return Shape(layout, frozenset(quantity or ()))


@router.get(
    "/meters/{meter_id}/readings",
    response_model=ReadingsPage,
    responses={**problems(404, 406, 413, 429, 503), **also(XML, CSV, PARQUET)},
)
def readings(
    request: Request,
    _caller: Observer,
    meter_id: MeterPath,
    shape: Annotated[Shape, Depends(_shape)],
    span: Annotated[Span, asked(timedelta(hours=24))],
    resolution: Annotated[
        Resolution, Query(description="auto: each reading up to 25 h, hours up to 32 days, days beyond.")
    ] = Resolution.AUTO,
    after: Cursor = None,
    limit: Annotated[int, Query(ge=1, le=LARGEST_PAGE)] = PAGE,
) -> Response:
    """Readings of a meter in a time, oldest first, in the units of ``units``; absent is null.

    ``other`` has the numbers under names that this version does not know, and what was told for a quantity
    that is null because it was bad. ``clock_synchronized`` false: the meter did not know the time.

    CSV and Parquet (by Accept) have all of the range. These, and pages of more than 10,000, are exports: an
    account has two at the same time. Hours and days are complete ones (UTC), with the energy used, the number
    of the counter's steps that are left out of it as doubtful, and count, min, max and mean of each quantity.
    """
    kind = chosen(request.headers.get("accept", ""), (JSON, XML, CSV, PARQUET))
    archive = parts_of(request).archive
    begun, place = _place(after) if after else (None, None)
    length = span.end - span.start
    chosen_resolution = fitting(resolution, length, begun)
    row = registered(archive, meter_id)
    wanted = Range(row, span.start, span.end, chosen_resolution, place, shape.only)
    share = parts_of(request).budgets.exports.place(_caller.name)
    if kind in (CSV, PARQUET):
        name = f"{meter_id}-{chosen_resolution}"
        return export(request, wanted.table(archive.store), kind, name=name, place=share)
    columns = shape.layout is Layout.COLUMNS and kind == JSON
    large = length > _FITTING[0][0] and chosen_resolution is Resolution.RAW if columns else limit > PAGE
    with share if large else nullcontext():
        if columns:
            found = _all(wanted, archive.store)
            return answer(request, {**_head(wanted, found), "columns": found}, root="readings")
        return _page(request, wanted, archive.store, limit)


@router.get(
    "/meters/{meter_id}/today", response_model=Today, responses={**problems(404, 406, 503), **also(XML)}
)
def today(
    request: Request,
    _caller: Observer,
    meter_id: MeterPath,
    start: Annotated[
        Time | None, Query(description="Begin of the viewer's day, two days ago at most; default: 0:00 UTC.")
    ] = None,
) -> Response:
    """Energy that a meter used since 0:00, until its newest stored reading; as exact as the roll-ups.

    It begins with a full hour of UTC: where a day begins at half past one, with the next one.
    """
    archive = parts_of(request).archive
    row = registered(archive, meter_id)
    now = at_ms(datetime.now(UTC))
    day = now - now % DAY_MS if start is None else -(-at_ms(start) // HOUR_MS) * HOUR_MS
    if not 0 <= now - day <= 2 * DAY_MS:
        raise ProblemError(422, "start: of today, or of yesterday")
    used = archive.store.energy_used(row, start=day, end=now - now % HOUR_MS + HOUR_MS)
    return answer(
        request, {"meter_id": meter_id, "start": format_ts(moment(day)), "energy_used": used.wh}, root="today"
    )


def _place(after: str) -> tuple[Resolution, tuple[int, ...]]:
    """Resolution and last row of the page before; 422 for a cursor that no page of ours has named."""
    resolution, *place = position(after, str, int, int, int)
    if resolution not in _CHOSEN or not at_ms(EARLIEST) <= place[0] <= at_ms(LATEST):
        raise not_ours()
    return Resolution(resolution), tuple(place)


def fitting(asked: Resolution, length: timedelta, begun: Resolution | None = None) -> Resolution:
    """That of the pages before, ``begun``, or what was asked for, or what fits; 422 when it changed."""
    if begun is not None and asked not in (Resolution.AUTO, begun):
        raise ProblemError(422, f"resolution {asked}: the previous pages have {begun}")
    if asked is not Resolution.AUTO:
        return asked
    return begun or next((fitting for longest, fitting in _FITTING if length <= longest), Resolution.DAY)


def _head(wanted: Range, columns: Container[str]) -> dict[str, Any]:
    return {
        "meter_id": wanted.meter.meter_id,
        "resolution": wanted.resolution.value,
        "start": format_ts(wanted.start),
        "end": format_ts(wanted.end),
        "units": {
            name: unit for name, unit in UNITS.items() if name in columns or f"{name}_count" in columns
        },
        "next": None,
    }


def _page(request: Request, wanted: Range, store: Store, limit: int) -> Response:
    columns = wanted.columns(store, limit + 1)
    head = _head(wanted, columns)
    first, *_ = columns.values()
    if len(first) > limit:
        head["next"] = wanted.place(tuple(column[limit - 1] for column in columns.values()))
    for field in TIMES & columns.keys():
        columns[field] = stamps(columns[field])
    return answer(request, {**head, "readings": _documents(columns)[:limit]}, root="readings")


def _decoded(columns: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """Other numbers as objects."""
    if "other" in columns:
        columns["other"] = [other and orjson.loads(other) for other in columns["other"]]
    return columns


def _documents(columns: dict[str, list[Any]]) -> list[dict[str, Any]]:
    names, rows = tuple(columns), zip(*columns.values(), strict=True)
    return [dict(zip(names, row, strict=False)) for row in rows]  # a day has 8,640: strict costs a third


def stamps(times: Iterable[int]) -> list[str]:
    """``format_ts(moment(ms))`` of each, quicker: a day has 8,640 of them.

    >>> stamps([1_795_435_200_007, 1_795_435_210_010])
    ['2026-11-23T12:00:00.007Z', '2026-11-23T12:00:10.010Z']
    """
    found, last, prefix = list[str](), -1, ""
    for ms in times:
        minute, rest = divmod(ms, 60_000)
        if minute != last:
            last, prefix = minute, strftime("%Y-%m-%dT%H:%M", gmtime(60 * minute))
        second, rest = divmod(rest, 1000)
        found.append(prefix + _SECONDS[second] + _MILLISECONDS[rest])
    return found


def _all(wanted: Range, store: Store) -> dict[str, list[Any]]:
    columns = wanted.columns(store, LONGEST_COLUMNS + 1)
    if any(len(column) > LONGEST_COLUMNS for column in columns.values()):
        raise ProblemError(413, f"more than {LONGEST_COLUMNS} readings: a shorter range, or hours or days")
    return columns
