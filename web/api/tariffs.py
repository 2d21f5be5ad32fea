"""``/api/v1/tariffs``: which tariff is in force when, by the file of METER61850_TARIFFS."""

from __future__ import annotations

from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Request
from pydantic import AwareDatetime, BaseModel
from starlette.responses import Response

from bridge.store.tariffs import Tariffs, load
from broker.contract.messages import format_ts
from broker.followed_files import Signature, signature
from web.api.common import also, problems
from web.api.times import Span, asked
from web.auth.guard import Observer
from web.parts import Parts, parts_of
from web.serving.answers import XML, answer
from web.serving.problem import ProblemError

router = APIRouter(tags=["readings"])

LONGEST = timedelta(days=400)


class TariffNamed(BaseModel):
    """A tariff of the file."""

    tariff: str
    """T1 to T8."""
    name: str
    """In the newest version that names it; empty without a name."""


class TariffChange(BaseModel):
    """From ``at`` this tariff is in force, until the next change."""

    at: AwareDatetime
    tariff: str
    name: str
    """In the version that holds then; empty without a name."""


class TariffList(BaseModel):
    """The tariffs of a time."""

    start: AwareDatetime
    end: AwareDatetime
    time_zone: str
    """Of the file's times; empty: the one of the server."""
    tariffs: list[TariffNamed]
    changes: list[TariffChange]
    """The first one is at ``start``, or where the first version of the calendar begins."""


@router.get("/tariffs", response_model=TariffList, responses={**problems(404, 406, 503), **also(XML)})
def tariffs(
    request: Request, _caller: Observer, span: Annotated[Span, asked(timedelta(hours=24))]
) -> Response:
    """The tariff in force at the begin of a time of up to 400 days, and each change in it.

    404 without a file of tariffs (METER61850_TARIFFS).
    """
    if span.end - span.start > LONGEST:
        raise ProblemError(422, f"start to end: up to {LONGEST.days} days")
    told = tariffs_of(parts_of(request))
    if told is None:
        raise ProblemError(404, "there are no tariffs: METER61850_TARIFFS names no file")
    zone = told.calendar.zone
    head = {"start": format_ts(span.start), "end": format_ts(span.end), "time_zone": zone.key if zone else ""}
    return answer(request, {**head, "tariffs": named(told), "changes": _changes(told, span)}, root="tariffs")


def named(tariffs: Tariffs) -> list[dict[str, str]]:
    """All that the file names, T1 first."""
    return [{"tariff": tariff, "name": tariffs.newest_name(tariff)} for tariff in tariffs.tariffs]


def _changes(tariffs: Tariffs, span: Span) -> list[dict[str, Any]]:
    start = max(span.start, tariffs.begin)
    if start >= span.end:
        return []
    changes = tariffs.changes(start, span.end)
    return [
        {"at": format_ts(at), "tariff": tariff, "name": tariffs.name(tariff, at)} for at, tariff in changes
    ]


def tariffs_of(parts: Parts) -> Tariffs | None:
    """The calendar of tariffs, as its file is now; None without one. ConfigurationError for a bad file."""
    calendar = parts.settings.calendar
    if calendar.tariffs is None:
        return None
    return _loaded(calendar.tariffs, calendar.time_zone, signature((calendar.tariffs,)))


@lru_cache(maxsize=1)
def _loaded(file: Path, zone: str, _state: Signature) -> Tariffs:
    return load(file, zone=zone or None)
