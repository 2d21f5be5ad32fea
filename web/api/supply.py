"""``/api/v1/meters/{id}/quality`` and ``/api/v1/reliability``: quality of supply, and outages of feeders."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from bridge.store.silences import Silence
from bridge.store.supply_table import Supply
from bridge.store.tables import at_ms, moment
from broker.contract.messages import EARLIEST, LATEST, format_ts
from web.api.common import MeterPath, also, problems, registered
from web.api.exports import export
from web.api.supply_models import QualityWeek, ReliabilityPage
from web.api.times import Span, TimeZone, asked, calendar_of
from web.auth.guard import Observer
from web.parts import parts_of
from web.serving.answers import CSV, JSON, PARQUET, XML, answer, chosen
from web.serving.problem import ProblemError

router = APIRouter(tags=["readings"])

LONGEST = timedelta(days=400)
MOST_SILENCES = 250_000
"""That are compared for one answer, in some 150 MB: 25 in a month of each of 10,000 meters."""

Week = Annotated[
    str | None,
    Query(
        description="A local week such as 2026-W48; default: the last whole one.", pattern=r"^\d{4}-W\d{2}$"
    ),
]


@router.get(
    "/meters/{meter_id}/quality",
    response_model=QualityWeek,
    responses={**problems(404, 406, 503), **also(XML)},
)
def quality(
    request: Request, _caller: Observer, meter_id: MeterPath, week: Week = None, time_zone: TimeZone = None
) -> Response:
    """Quality of supply of a meter in a local week, indicative after EN 50160: no meter here is of class A.

    Shares of the 10-minute means of voltage and of the means of frequency, unbalance, sags and swells as far
    as the readings show them, and the coverage, without which nothing is said to be good.
    """
    chosen(request.headers.get("accept", ""), (JSON, XML))
    parts = parts_of(request)
    row = registered(parts.archive, meter_id)
    calendar = calendar_of(request, time_zone)
    try:
        period = calendar.week(week) if week else calendar.week_before(datetime.now(UTC))
    except ValueError as error:
        raise ProblemError(422, f"week {error}") from error
    if not EARLIEST <= period.start < period.end <= LATEST:
        raise ProblemError(422, f"week {period.name}: {EARLIEST.year} to {LATEST.year}")
    table = Supply(parts.archive.store.engine).weeks([row], [period])
    told = next(table.documents(), {})
    head = {"meter_id": meter_id, "week": period.name, "indicative": True}
    head |= {"start": format_ts(period.start), "end": format_ts(period.end)}
    fields = {name: value for name, value in told.items() if name not in _OF_ROW}
    return answer(request, {**head, "quality": fields}, root="quality")


_OF_ROW = frozenset({"meter_id", "name", "address_code", "period", "start", "end"})


@router.get(
    "/reliability",
    response_model=ReliabilityPage,
    responses={**problems(406, 413, 429, 503), **also(XML, CSV, PARQUET)},
)
def reliability(
    request: Request,
    _caller: Observer,
    span: Annotated[Span, asked(timedelta(days=32))],
    momentary: Annotated[
        float, Query(description="Minutes up to which an interruption is left out.", ge=0, le=1440)
    ] = 5.0,
) -> Response:
    """SAIDI, SAIFI and CAIDI of each feeder and in total (IEEE 1366), and the outages that began in a time.

    Indicative: outages follow from meters of a feeder that were silent at the same time and took no readings
    meanwhile. What is `doubtful` counts nowhere. CSV and Parquet (by Accept) have the feeders alone. It is an
    export: an account has two at the same time.
    """
    kind = chosen(request.headers.get("accept", ""), (JSON, XML, CSV, PARQUET))
    if span.end - span.start > LONGEST:
        raise ProblemError(422, f"start to end: up to {LONGEST.days} days")
    parts = parts_of(request)
    with parts.budgets.exports.place(_caller.name):
        found = Supply(parts.archive.store.engine).reliability(
            start=at_ms(span.start), end=at_ms(span.end), now=at_ms(datetime.now(UTC)), momentary=momentary,
            bounded=_bounded,
        )  # fmt: skip
        table = found.table()
        if kind in (CSV, PARQUET):
            return export(request, table, kind, name="reliability", place=nullcontext())
    outages = [
        told
        | {"start": _time(told["start"]), "end": _time(told["end"]), "meters": [one.meter_id for one in own]}
        for told, own in found.rows()
    ]
    feeders = list(table.documents())
    head = {"start": format_ts(span.start), "end": format_ts(span.end), "indicative": True}
    return answer(request, {**head, "feeders": feeders, "outages": outages}, root="reliability")


def _bounded(silences: Iterable[Silence]) -> Iterator[Silence]:
    for count, one in enumerate(silences):
        if count == MOST_SILENCES:
            raise ProblemError(413, f"more than {MOST_SILENCES} silences of meters: a shorter range")
        yield one


def _time(ms: int | None) -> str | None:
    return None if ms is None else format_ts(moment(ms))
