"""``/api/v1/feeders/{path}/balance`` and ``/api/v1/suspicions``: what load profiles say of feeders."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from starlette.responses import Response

from bridge.losses.nodes import Node, UnknownFeederError, chosen, nodes_of
from bridge.losses.report import intervals, losses, suspicions
from bridge.store.export import TIMES, Table
from bridge.store.queries import Store
from bridge.store.tables import at_ms
from broker.contract.messages import format_ts
from web.api.common import also, at, problems
from web.api.losses_models import Balance, Suspicions
from web.api.times import Span, asked
from web.auth.guard import Observer
from web.parts import parts_of
from web.serving.answers import XML, answer
from web.serving.problem import ProblemError

router = APIRouter(tags=["readings"])

MOST_HOURS = 2_000_000
"""Of all houses, whose profiles are read for one answer: of a month of 2,700 houses."""
LONGEST, LONGEST_INTERVALS = timedelta(days=400), timedelta(days=32)
"""The second of single intervals."""


class Step(StrEnum):
    """What a row is of."""

    INTERVAL = "interval"
    DAY = "day"
    MONTH = "month"


@router.get(
    "/feeders/{feeder:path}/balance",
    response_model=Balance,
    response_model_exclude_unset=True,
    responses={**problems(404, 406, 413, 429, 503), **also(XML)},
)
def balance(
    request: Request,
    _caller: Observer,
    feeder: Annotated[
        str, Path(description="As `feeder` of a meter: Mill/LV/T1_F1; of a transformer Mill/LV/T1.")
    ],
    span: Annotated[Span, asked(timedelta(days=32))],
    by: Annotated[Step, Query(description="A row for each interval, whole local day or month.")] = Step.DAY,
) -> Response:
    """Supply, use and loss of a feeder or transformer in Wh: its own meter less the sum of its houses.

    Energy and loss are of the `balanced` intervals, in which its own meter and all houses are known. The
    topology file says which meter is its own; without one there is no loss. All follows the load profiles, so
    a correction of these is in it.
    """
    if by is Step.INTERVAL and span.end - span.start > LONGEST_INTERVALS:
        raise ProblemError(422, f"start to end: up to {LONGEST_INTERVALS.days} days")
    parts = parts_of(request)
    with parts.budgets.exports.place(_caller.name):
        store = parts.archive.store
        found = _of(store, feeder, span)
        if by is Step.INTERVAL:
            table = intervals(store, found, start=at_ms(span.start), end=at_ms(span.end))
        else:
            end = min(span.end, datetime.now(UTC))
            calendar = span.calendar
            periods = calendar.days(span.start, end) if by is Step.DAY else calendar.months(span.start, end)
            table = losses(store, found, list(periods))
        return answer(request, {"feeder": feeder, "rows": _documents(table)}, root="balance")


@router.get(
    "/suspicions", response_model=Suspicions, responses={**problems(404, 406, 413, 429, 503), **also(XML)}
)
def worth_a_look(
    request: Request,
    _caller: Observer,
    span: Annotated[Span, asked(timedelta(days=31))],
    feeder: Annotated[
        str | None, Query(description="Only this feeder or transformer; default: all.", max_length=255)
    ] = None,
) -> Response:
    """Houses that are worth a look, with the reason in words and figures, and what else it can be.

    A row is no accusation, and nothing follows from it. Some rules need two weeks.
    """
    parts = parts_of(request)
    with parts.budgets.exports.place(_caller.name):
        store = parts.archive.store
        _of(store, feeder, span)
        start, end = at_ms(span.start), min(at_ms(span.end), at_ms(datetime.now(UTC)))
        table = suspicions(
            store, nodes_of(store), span.calendar, start=start, end=max(start, end), path=feeder
        )
        head = {"start": format_ts(span.start), "end": format_ts(span.end)}
        return answer(request, {**head, "suspicions": _documents(table)}, root="suspicions")


def _of(store: Store, path: str | None, span: Span) -> list[Node]:
    """404 for a feeder that there is not, 413 for too much at a time."""
    if span.end - span.start > LONGEST:
        raise ProblemError(422, f"start to end: up to {LONGEST.days} days")
    try:
        found = chosen(nodes_of(store), path)
    except UnknownFeederError as error:
        raise ProblemError(404, str(error)) from error
    hours = (span.end - span.start) / timedelta(hours=1)
    if hours * sum(len(node.houses) for node in found) > MOST_HOURS:
        raise ProblemError(413, f"profiles of more than {MOST_HOURS} hours: a shorter range, or one feeder")
    return found


def _documents(table: Table) -> list[dict[str, Any]]:
    rows = list(table.documents())
    return [row | {name: at(row[name]) for name in TIMES & row.keys()} for row in rows]
