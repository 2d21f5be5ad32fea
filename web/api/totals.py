"""``/api/v1/energy/hours``: what all meters together, or those of a feeder, used, hour by hour."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from datetime import timedelta
from time import monotonic
from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from bridge.store.queries import Store
from bridge.store.tables import HOUR_MS, at_ms, moment
from bridge.store.totals import Hour
from broker.contract.messages import format_ts
from web.api.common import also, problems
from web.api.models import Energy
from web.api.times import Span, asked
from web.auth.guard import Observer
from web.parts import parts_of
from web.serving.answers import XML, answer
from web.serving.problem import ProblemError

router = APIRouter(tags=["readings"])

LONGEST = timedelta(days=32)
KEPT_SECONDS = 60.0
"""A town has half a million hours in two days: they are summed up once in this time, for all who ask."""


@dataclass
class Totals:
    """Answers that are new enough; it blocks."""

    _known: dict[tuple[int, int, frozenset[int] | None], tuple[float, list[Hour]]] = field(
        default_factory=dict
    )
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def of(self, store: Store, start: int, end: int, numbers: frozenset[int] | None) -> list[Hour]:
        """The hours from ``start`` to ``end`` (ms, of full hours) of all meters, or of those numbers."""
        key = (start, end, numbers)
        with self._lock:
            now = monotonic()
            self._known = {other: one for other, one in self._known.items() if now - one[0] < KEPT_SECONDS}
            if key not in self._known:
                self._known[key] = (now, store.together(start=start, end=end, numbers=numbers))
            return self._known[key][1]


@router.get("/energy/hours", response_model=Energy, responses={**problems(404, 406, 503), **also(XML)})
def hours(
    request: Request,
    _caller: Observer,
    span: Annotated[Span, asked(timedelta(hours=48))],
    feeder: Annotated[
        str | None,
        Query(description="Only the meters that are on it now, as `feeder` of a meter says.", max_length=255),
    ] = None,
) -> Response:
    """Energy and mean power of all meters together in each complete hour of UTC, minutes after it is over.

    As in `readings` with `resolution=hour`: what a meter counted while it was away is in the hour in which it
    was heard again.
    """
    if span.end - span.start > LONGEST:
        raise ProblemError(422, f"start to end: up to {LONGEST.days} days")
    first, last = _hour(at_ms(span.start)), _hour(at_ms(span.end))
    numbers = None if feeder is None else parts_of(request).feeders.numbers(feeder)
    rows = request.app.state.totals.of(parts_of(request).archive.store, first, last, numbers)
    columns = {field: [getattr(row, field) for row in rows] for field in Hour._fields}
    told = {"start": format_ts(moment(first)), "end": format_ts(moment(last)), "columns": columns}
    return answer(request, told, root="energy")


def _hour(ms: int) -> int:
    """The full hour at or after ``ms``."""
    return -(-ms // HOUR_MS) * HOUR_MS
