"""``/api/v1/meters/{id}/registers``: raw and corrected registers of a meter at local midnights."""

from __future__ import annotations

from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from bridge.store.export import TIMES
from bridge.store.register_table import narrowed, register_table
from broker.contract.messages import format_ts
from web.api.common import MeterPath, also, at, problems, registered
from web.api.every_meter import By
from web.api.exports import export
from web.api.profiles import LONGEST
from web.api.registers_models import RegisterPage
from web.api.times import Span, asked
from web.auth.guard import Observer
from web.parts import parts_of
from web.serving.answers import CSV, JSON, PARQUET, XML, answer, chosen
from web.serving.problem import ProblemError

router = APIRouter(tags=["readings"])


@router.get(
    "/meters/{meter_id}/registers",
    response_model=RegisterPage,
    responses={**problems(404, 406, 429, 503), **also(XML, CSV, PARQUET)},
)
def registers(
    request: Request,
    _caller: Observer,
    meter_id: MeterPath,
    span: Annotated[Span, asked(timedelta(days=32))],
    by: Annotated[By, Query(description="At each local midnight, or at each end of a month.")] = By.DAY,
) -> Response:
    """Registers of a meter at each local midnight or end of a month of a time, in Wh (reactive: varh).

    `energy_import` and so on are corrected: they add up the load profile since the meter's first interval,
    and never fall; `…_mark` is of the interval that ends there. `…_raw` is what the meter showed at
    `…_raw_at`, absent if no reading is near enough. `version` grows with each correction before that time.
    """
    kind = chosen(request.headers.get("accept", ""), (JSON, XML, CSV, PARQUET))
    if span.end - span.start > LONGEST:
        raise ProblemError(422, f"start to end: up to {LONGEST.days} days")
    parts = parts_of(request)
    row = registered(parts.archive, meter_id)
    end = min(span.end, datetime.now(UTC))
    find = span.calendar.days if by is By.DAY else span.calendar.months
    is_file = kind in (CSV, PARQUET)
    with parts.budgets.exports.place(_caller.name) if is_file else nullcontext():
        table = register_table(parts.archive.store, [row], list(find(span.start, end)), span.calendar)
        if is_file:
            return export(request, table, kind, name=f"{meter_id}-registers", place=nullcontext())
        table = narrowed(table)
        rows = table.documents()
        told = [{name: at(v) if name in TIMES else v for name, v in one.items()} for one in rows]
        head = {"meter_id": meter_id, "start": format_ts(span.start), "end": format_ts(span.end)}
        return answer(request, {**head, "registers": told}, root="registers")
