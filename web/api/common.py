"""Common parts of the routes: documented errors, cursors, the meter of a path."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from threading import Semaphore
from typing import Annotated, Any

import orjson
from fastapi import Path, Query
from pydantic import AfterValidator, AwareDatetime

from bridge.store.meter_names import UnknownMeterError
from bridge.store.tables import Meter as Row
from bridge.store.tables import moment
from broker.contract.messages import EARLIEST, LATEST, format_ts
from web.api.models import ProblemDocument
from web.archive import Archive
from web.serving.problem import MEDIA_TYPE, ProblemError

MeterPath = Annotated[
    str,
    Path(
        description="meter_id: a UUID in canonical form.",
        pattern=r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$",
    ),
]
LONGEST_CURSOR = 2500
"""It has a name of 255 characters."""
Cursor = Annotated[str | None, Query(description="`next` of the page before.", max_length=LONGEST_CURSOR)]


def _possible(ts: datetime) -> datetime:
    if not EARLIEST <= ts <= LATEST:
        raise ValueError(f"no meter has readings of this time: {EARLIEST.year} to {LATEST.year}")
    return ts


Time = Annotated[AwareDatetime, AfterValidator(_possible)]

_WORDS = {
    400: "Malformed request",
    401: "Not logged in",
    403: "Too few rights, or from another site",
    404: "No such thing",
    406: "No such format",
    409: "Refused; nothing was sent",
    408: "The body did not come in time",
    413: "Too large",
    422: "An impossible value; it is named",
    429: "Too many; Retry-After tells when",
    503: "Broker or database is away, or too many at the same time",
}


def problems(*codes: int) -> dict[int | str, dict[str, Any]]:
    """The errors that a route may answer, for its description; 401, 403 and 422 may come from all."""
    content = {MEDIA_TYPE: {"schema": ProblemDocument.model_json_schema()}}
    return {
        code: {"description": _WORDS[code], "content": content}
        for code in sorted({400, 401, 403, 422, *codes})
    }


def also(*kinds: str, **more: Any) -> dict[int | str, dict[str, Any]]:
    """200 also in these media types, and 304."""
    return {
        200: {"content": {kind: {} for kind in kinds}, **more},
        304: {"description": "If-None-Match names what is current"},
    }


def cursor(*position: Any) -> str:
    """An opaque name for a place in a list."""
    return base64.urlsafe_b64encode(orjson.dumps(position)).decode().rstrip("=")


def position(cursor: str, *kinds: type) -> list[Any]:
    """The place that a cursor names; 422 for a cursor that we have not made."""
    try:
        told = orjson.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (ValueError, binascii.Error):
        told = None
    fits = isinstance(told, list) and len(told) == len(kinds)
    if not fits or any(type(one) is not kind for one, kind in zip(told, kinds, strict=True)):
        raise not_ours()
    return list(told)


def not_ours() -> ProblemError:
    """422 for a cursor that we have not made."""
    return ProblemError(422, "cursor: not one of ours; take `next` of the page before")


@contextmanager
def one_of(places: Semaphore, what: str) -> Iterator[None]:
    """Hold one of ``places``; 503 when all of them are taken."""
    if not places.acquire(blocking=False):
        raise ProblemError(503, f"too many {what} at the same time", headers={"Retry-After": "5"})
    try:
        yield
    finally:
        places.release()


def registered(archive: Archive, meter_id: str) -> Row:
    """The registry's row of a meter; 404 without one. It blocks."""
    row = archive.store.registered(meter_id)
    if row is None:
        raise UnknownMeterError(f"no meter {meter_id}: GET /api/v1/meters lists all")
    return row


def at(ms: int | None) -> str | None:
    """ms since 1970 as the contract writes times."""
    return None if ms is None else format_ts(moment(ms))
