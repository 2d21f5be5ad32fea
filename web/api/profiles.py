"""``/api/v1/meters/{id}/profile``: a meter's load profile, with marks and versions."""

from __future__ import annotations

from contextlib import nullcontext
from datetime import timedelta
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from bridge.store.export import Table
from bridge.store.profile_texts import TEXTS
from bridge.store.tables import at_ms
from broker.contract.errors import ConfigurationError
from broker.contract.messages import format_ts
from web.api.common import MeterPath, also, problems, registered
from web.api.exports import export
from web.api.models import ProfilePage
from web.api.readings import stamps
from web.api.times import Span, asked
from web.auth.guard import Observer
from web.parts import parts_of
from web.serving.answers import ATOM, CSV, JSON, NEM12, PARQUET, XML, answer, chosen
from web.serving.problem import ProblemError

router = APIRouter(tags=["readings"])

LONGEST = timedelta(days=400)
LONGEST_PAGE = timedelta(days=32)
"""A longer JSON or XML document is an export: of a year it has up to 100,000 intervals, in memory."""


@router.get(
    "/meters/{meter_id}/profile",
    response_model=ProfilePage,
    responses={**problems(404, 406, 429, 503), **also(XML, CSV, PARQUET, ATOM, NEM12)},
)
def profile(
    request: Request,
    _caller: Observer,
    meter_id: MeterPath,
    span: Annotated[Span, asked(timedelta(hours=24))],
) -> Response:
    """Interval values of a meter in a time, oldest first: energy in Wh (reactive: varh), from its registers.

    ``…_mark`` says how well the energy is known: `measured`; `interpolated` over a time without readings;
    `estimated`, where the counter was reset or is in doubt; `missing`, where a part of the interval has no
    register. An interval that is another value than before has the next ``version``. Those of an hour are
    there minutes after it is over.

    CSV, Parquet, Green Button (`application/atom+xml`, with the registers at midnights) and NEM12
    (`application/x-nem12`, whole days of standard time) by Accept, and documents of more than 32 days, are
    exports: an account has two at the same time.
    """
    kind = chosen(request.headers.get("accept", ""), (JSON, XML, CSV, PARQUET, ATOM, NEM12))
    if span.end - span.start > LONGEST:
        raise ProblemError(422, f"start to end: up to {LONGEST.days} days")
    parts = parts_of(request)
    row = registered(parts.archive, meter_id)
    is_file = kind not in (JSON, XML)
    large = is_file or span.end - span.start > LONGEST_PAGE
    with parts.budgets.exports.place(_caller.name) if large else nullcontext():
        if kind in (ATOM, NEM12):
            write = TEXTS["nem12" if kind == NEM12 else "green_button"]
            text = partial(
                write,
                parts.archive.store.profiles,
                [row],
                start=span.start,
                end=span.end,
                calendar=span.calendar,
            )
            try:
                return export(request, text, kind, name=f"{meter_id}-profile", place=nullcontext())
            except ConfigurationError as error:  # NEM12 has no such intervals
                raise ProblemError(406, str(error)) from error
        table = parts.archive.store.profiles.table(row, start=at_ms(span.start), end=at_ms(span.end))
        if is_file:
            return export(request, table, kind, name=f"{meter_id}-profile", place=nullcontext())
        head = {"meter_id": meter_id, "start": format_ts(span.start), "end": format_ts(span.end)}
        return answer(request, {**head, "intervals": _documents(table)}, root="profile")


def _documents(table: Table) -> list[dict[str, Any]]:
    columns: dict[str, Any] = dict.fromkeys(table.fields, ())
    if rows := list(table.rows):
        columns |= zip(table.fields, zip(*rows, strict=True), strict=True)
    columns |= {name: stamps(columns[name]) for name in ("start", "end")}
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
