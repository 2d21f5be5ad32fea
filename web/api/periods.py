"""``/api/v1/meters/{id}/periods``: registers, energy, demand and tariffs of a meter's days or months."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from datetime import timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel
from starlette.responses import Response

from bridge.store.demand import demand
from bridge.store.export import Table
from bridge.store.profile_table import MARKS
from bridge.store.registers import energy
from bridge.store.tables import Meter, at_ms
from bridge.store.tariff_energy import tariff_energy
from broker.calendar import Period
from broker.contract.errors import ConfigurationError
from web.api.common import MeterPath, also, at, problems, registered
from web.api.every_meter import By, whole_periods
from web.api.exports import export
from web.api.models import MeterId
from web.api.tariffs import tariffs_of
from web.api.times import Span, asked
from web.auth.guard import Observer
from web.parts import Parts, parts_of
from web.serving.answers import CSV, JSON, PARQUET, XML, answer, chosen
from web.serving.problem import ProblemError

router = APIRouter(tags=["readings"])

LONGEST = {By.DAY: timedelta(days=400), By.MONTH: timedelta(days=10 * 366)}
_FIRST = (
    "period", "start", "end",
    "energy_used", "register_start", "register_end", "energy_export", "export_start", "export_end", "marks",
    "demand_max", "demand_at", "demand_mark",
)  # fmt: skip
_TIMES = ("start", "end", "demand_at")


class PeriodList(BaseModel):
    """Periods of a meter, oldest first."""

    meter_id: MeterId
    complaint: str | None
    """Why there is no energy by tariff, although there is a file of tariffs."""
    periods: list[dict[str, Any]]


@router.get(
    "/meters/{meter_id}/periods",
    response_model=PeriodList,
    responses={**problems(404, 406, 429, 503), **also(XML, CSV, PARQUET)},
)
def periods(
    request: Request,
    caller: Observer,
    meter_id: MeterPath,
    span: Annotated[Span, asked(timedelta(days=400))],
    by: Annotated[By, Query(description="A row for each whole local day or month in the range.")] = By.MONTH,
) -> Response:
    """A row for each local month or day that is over: the registers at its begin and end, and energy in Wh.

    ``marks`` says what of this is missing, as in ``GET /energy``. ``demand_max`` (W) is the largest mean
    power of an interval of the load profile, which begins at ``demand_at``. ``energy_t1`` … is the energy
    of each tariff, where there is a file of tariffs. `measured`, `interpolated`, `estimated` and `missing`
    are numbers of intervals.
    """
    kind = chosen(request.headers.get("accept", ""), (JSON, XML, CSV, PARQUET))
    if span.end - span.start > LONGEST[by]:
        raise ProblemError(422, f"start to end: up to {LONGEST[by].days} days by {by}")
    parts = parts_of(request)
    row = registered(parts.archive, meter_id)
    whole = whole_periods(span, by)
    is_file = kind in (CSV, PARQUET)
    with parts.budgets.exports.place(caller.name) if is_file else nullcontext():
        table, complaint = _table(parts, row, whole)
        if is_file:
            return export(request, table, kind, name=f"{meter_id}-periods-{by}", place=nullcontext())
        head = {"meter_id": meter_id, "complaint": complaint}
        return answer(request, {**head, "periods": list(_documents(table))}, root="periods")


def _table(parts: Parts, meter: Meter, periods: Sequence[Period]) -> tuple[Table, str | None]:
    """A row for each period, and why there is no energy by tariff if it cannot be computed."""
    store = parts.archive.store
    tables = [energy(store, [meter], periods), demand(store.profiles, [meter], periods)]
    complaint = None
    try:
        tables += _by_tariff(parts, meter, periods)
    except ConfigurationError as error:  # a bad file, or a tariff changes inside of an interval
        complaint = str(error)
    names = (
        field for table in tables for field in table.fields if field.startswith(("energy_t", "export_t"))
    )
    fields = (*_FIRST, *names, *MARKS)
    found: dict[int, dict[str, Any]] = {at_ms(period.start): {} for period in periods}
    for table in tables:
        for told in table.documents():
            found[told["start"]] |= told
    return Table(fields, (tuple(map(told.get, fields)) for told in found.values() if told)), complaint


def _by_tariff(parts: Parts, meter: Meter, periods: Sequence[Period]) -> list[Table]:
    """Of the periods since the tariffs begin; nothing without a file of tariffs."""
    tariffs = tariffs_of(parts)
    if tariffs is None:
        return []
    held = [period for period in periods if period.start >= tariffs.begin]
    table = tariff_energy(parts.archive.store.profiles, [meter], held, tariffs)
    return [Table(table.fields, iter(list(table.rows)))]


def _documents(table: Table) -> Iterator[dict[str, Any]]:
    for told in table.documents():
        yield told | {name: at(told[name]) for name in _TIMES}
