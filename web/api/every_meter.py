"""``/api/v1/readings``, ``/energy`` and ``/demand``: files with the values of all meters."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from bridge.store.demand import demand as demand_of
from bridge.store.every_meter import together
from bridge.store.export import Table
from bridge.store.queries import Store
from bridge.store.registers import energy as energy_of
from broker.calendar import Period
from web.api.common import also, problems
from web.api.exports import export
from web.api.readings import Range, Resolution, fitting
from web.api.times import Span, asked
from web.auth.guard import Observer
from web.parts import parts_of
from web.serving.answers import CSV, PARQUET, chosen
from web.serving.problem import ProblemError

router = APIRouter(tags=["readings"])

MOST_ROWS = 5_000_000
"""Of a file: some 500 MB of CSV in the temporary folder."""
MOST_REGISTERS = 100_000
"""That are looked up for a file: some two minutes."""


MOST_HOURS = 100_000_000
"""Of all meters, whose profiles are read for a file: of a year of 10,000 meters, some minutes."""


class By(StrEnum):
    """The length of a period."""

    DAY = "day"
    MONTH = "month"


@router.get("/readings", responses={**problems(406, 413, 429, 503), **also(CSV, PARQUET)})
def readings(
    request: Request,
    _caller: Observer,
    span: Annotated[Span, asked(timedelta(hours=24))],
    resolution: Annotated[
        Resolution, Query(description="auto: each reading up to 25 h, hours up to 32 days, days beyond.")
    ] = Resolution.AUTO,
) -> Response:
    """Readings of all meters in a time, as a file: by meter, then by time. Retired meters are among them.

    The first columns name the meter. At most five million rows: `meter61850 readings --all` has no limit.
    """
    resolved = fitting(resolution, span.end - span.start)

    def table(store: Store) -> Table:
        meters = store.registry(retired=True)
        return together(
            [(meter, Range(meter, span.start, span.end, resolved).table(store)) for meter in meters]
        )

    return _file(request, _caller.name, table, name=f"readings-{resolved}")


@router.get("/energy", responses={**problems(406, 413, 429, 503), **also(CSV, PARQUET)})
def energy(
    request: Request,
    _caller: Observer,
    span: Annotated[Span, asked(timedelta(days=32))],
    by: Annotated[By, Query(description="A row for each whole local day or month in the range.")] = By.DAY,
) -> Response:
    """Energy in Wh of each meter and local day or month, with the registers at its begin and end, as a file.

    `marks` says what is missing: `no-start`, `no-end`: no register at this boundary; `reset`: the counter
    fell or is another one, and the energy is that of the hours; `doubtful`: these leave out doubtful steps.
    """
    periods = whole_periods(span, by)

    def table(store: Store) -> Table:
        meters = store.registry(retired=True)
        if len(meters) * (len(periods) + 1) > MOST_REGISTERS:
            raise ProblemError(413, f"more than {MOST_REGISTERS} registers: a shorter range, or by=month")
        return energy_of(store, meters, periods)

    return _file(request, _caller.name, table, name=f"energy-{by}")


@router.get("/demand", responses={**problems(406, 413, 429, 503), **also(CSV, PARQUET)})
def demand(
    request: Request,
    _caller: Observer,
    span: Annotated[Span, asked(timedelta(days=400))],
    by: Annotated[By, Query(description="A row for each whole local day or month in the range.")] = By.MONTH,
) -> Response:
    """Maximum demand in W of each meter and local month or day, with its time, and the energy in Wh: a file.

    Demand is the mean power of an interval of the load profile. The numbers of `measured`, `interpolated`,
    `estimated` and `missing` intervals say how well it is known.
    """
    periods = whole_periods(span, by)

    def table(store: Store) -> Table:
        meters = store.registry(retired=True)
        if len(meters) * sum(period.hours for period in periods) > MOST_HOURS:
            raise ProblemError(413, f"profiles of more than {MOST_HOURS} hours: a shorter range")
        return demand_of(store.profiles, meters, periods)

    return _file(request, _caller.name, table, name=f"demand-{by}")


def whole_periods(span: Span, by: By) -> list[Period]:
    """The whole local ones that are over."""
    end = min(span.end, datetime.now(UTC))
    calendar = span.calendar
    return list(calendar.days(span.start, end) if by is By.DAY else calendar.months(span.start, end))


def _file(request: Request, caller: str, table: Callable[[Store], Table], *, name: str) -> Response:
    kind = chosen(request.headers.get("accept", ""), (CSV, PARQUET))
    parts = parts_of(request)
    with parts.budgets.exports.place(caller):
        found = table(parts.archive.store)
        return export(
            request, Table(found.fields, _bounded(found.rows)), kind, name=name, place=nullcontext()
        )


def _bounded(rows: Iterable[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
    for count, row in enumerate(rows):
        if count == MOST_ROWS:
            raise ProblemError(413, f"more than {MOST_ROWS} rows: a shorter range, or hours or days")
        yield row
