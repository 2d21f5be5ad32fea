"""``/api/v1/meters``: the meters, the latest state of each, and taking one out of service."""

from __future__ import annotations

import asyncio
import gzip
from bisect import bisect_right
from dataclasses import dataclass
from time import monotonic
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import Response

from bridge.store.tables import Meter as Row
from broker.contract.fleet import MeterState
from broker.contract.names import by_name
from broker.contract.specs import RETAINED_OF_METER
from web.api.common import Cursor, MeterPath, also, at, cursor, position, problems, registered
from web.api.models import Latest, LatestOfAll, MeterDocument, MeterPage, Order
from web.audit import Event, audit
from web.auth.guard import Administrator, Observer
from web.live.order import Sort, sorted_by
from web.live.state import Live
from web.live.summary import ShownState
from web.parts import Parts, parts_of
from web.serving.answers import GZIP_LEVEL, JSON, XML, answer, chosen, has_already, takes_gzip
from web.serving.problem import ProblemError

router = APIRouter(tags=["meters"])

SNAPSHOT_SECONDS = 0.25
"""Maximum age of the latest of all, in seconds: it is compressed once for all requests in this time."""
PAGE = 100
MOST = 200
"""Meters that a request names."""

State = Annotated[ShownState | None, Query(description="Only those in this state.")]
Online = Annotated[bool | None, Query(description="true: online or stale; false: offline.")]
Code = Annotated[str | None, Query(description="Only those of this address code.", max_length=255)]
Ied = Annotated[str | None, Query(description="Only those of this IED.", max_length=64)]
Search = Annotated[
    str | None,
    Query(
        description="Part of the name, address, address code, serial number or meter_id, any case.",
        max_length=100,
    ),
]
Meters = Annotated[
    list[str] | None, Query(alias="meter", description="Only these meter_ids.", max_length=MOST)
]


@dataclass(frozen=True)
class Choice:
    """Which meters."""

    state: str | None = None
    online: bool | None = None
    address_code: str | None = None
    ied: str | None = None
    search: str | None = None
    meters: frozenset[str] = frozenset()
    """Only these; empty: all."""

    def covers(self, live: Live, meter: MeterState) -> bool:
        """Whether ``meter`` is one of them."""
        assert meter.birth is not None
        state = live.state(meter)
        return (
            self.state in (None, state)
            and self.online in (None, state != "offline")
            and self.address_code in (None, meter.birth.address_code)
            and self.ied in (None, live.ieds.get(meter.meter_id))
            and (self.search is None or _has(meter, self.search.casefold()))
        )

    def of(self, live: Live) -> list[str]:
        """Their meter_ids, by name; in no order if they are named one by one."""
        if self == Choice():
            return live.ordered()
        ids = [one for one in self.meters if live.meter(one)] if self.meters else live.ordered()
        return [one for one in ids if self.covers(live, live.fleet.meters[one])]


def _has(meter: MeterState, wanted: str) -> bool:
    """Whether ``wanted`` is in one of the texts by which people know ``meter``."""
    birth = meter.birth
    assert birth is not None
    texts = (birth.name, birth.address, birth.address_code, birth.hardware.serial, meter.meter_id)
    return any(wanted in text.casefold() for text in texts)


async def _choice(  # a plain function would go through a thread
    state: State = None,
    online: Online = None,
    address_code: Code = None,
    ied: Ied = None,
    search: Search = None,
    meters: Meters = None,
) -> Choice:
    return Choice(state, online, address_code, ied, search, frozenset(meters or ()))


Chosen = Annotated[Choice, Depends(_choice)]
"""The filter of a query."""


@router.get("/meters", response_model=MeterPage, responses={**problems(406), **also(XML)})
async def list_meters(
    request: Request,
    _caller: Observer,
    choice: Chosen,
    after: Cursor = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = PAGE,
) -> Response:
    """The meters in service with their latest values, by name, some at a time."""
    live = parts_of(request).live
    ids = choice.of(live)
    start = begin_after(live, ids, after) if after else 0
    some = ids[start : start + limit]
    following = cursor_of(live, some[-1]) if start + limit < len(ids) else None
    meters = [orjson.loads(one) for one in live.documents(some)]
    return answer(request, {"meters": meters, "total": len(ids), "next": following}, root="page")


@router.get("/meters/order", response_model=Order, responses={**problems(406), **also(XML)})
async def order(
    request: Request,
    _caller: Observer,
    choice: Chosen,
    sort: Annotated[Sort, Query(description="Then by name.")] = Sort.ALARMS,
) -> Response:
    """The meter_ids of all that are chosen, sorted: for a list of which a part is seen."""
    live = parts_of(request).live
    return answer(request, {"meter_ids": sorted_by(live, choice.of(live), sort)}, root="order")


def begin_after(live: Live, ids: list[str], after: str) -> int:
    """Where in ``ids`` those after the cursor's meter begin, whether that is still in service or not."""
    name, meter_id = position(after, str, str)
    return bisect_right(ids, by_name(name, meter_id), key=lambda one: by_name(*_key(live, one)))


def cursor_of(live: Live, meter_id: str) -> str:
    """The cursor of what follows a meter."""
    return cursor(*_key(live, meter_id))


def _key(live: Live, meter_id: str) -> tuple[str, str]:
    birth = live.fleet.meters[meter_id].birth
    assert birth is not None
    return birth.name, meter_id


@dataclass
class Snapshot:
    """The latest of all, encoded and compressed once; at most :data:`SNAPSHOT_SECONDS` old."""

    version: int = -1
    made_at: float = 0.0
    etag: str = ""
    body: bytes = b""
    compressed: bytes = b""

    async def of(self, live: Live, boot: str, lock: asyncio.Lock) -> Snapshot:
        """The newest, or one that is new enough."""
        async with lock:
            if self.version != live.version and monotonic() - self.made_at >= SNAPSHOT_SECONDS:
                version, made_at = live.version, monotonic()
                body = _all(live, live.documents())
                self.compressed = await asyncio.to_thread(gzip.compress, body, GZIP_LEVEL, mtime=0)
                self.body, self.etag = body, f'"{boot}-{version}"'
                self.version, self.made_at = version, made_at
        return self


def _all(live: Live, documents: list[bytes]) -> bytes:
    up = b"true" if live.fleet.broker_up else b"false"
    return b'{"broker":%s,"meters":[%s]}' % (up, b",".join(documents))


@router.get("/meters/latest", response_model=LatestOfAll, responses={**problems(406), **also(XML)})
async def latest_of_all(
    request: Request,
    _caller: Observer,
    choice: Chosen,
) -> Response:
    """The latest values of every meter in service, a quarter of a second old at most."""
    parts = parts_of(request)
    live = parts.live
    kind = chosen(request.headers.get("accept", ""), (JSON, XML))
    if kind != JSON or choice != Choice():
        data = orjson.loads(_all(live, live.documents(choice.of(live))))
        return answer(request, data, root="latest")
    app = request.app.state
    snapshot = await app.snapshot.of(live, parts.hub.boot, app.snapshot_lock)
    headers = {
        "ETag": snapshot.etag,
        "Cache-Control": "private, no-cache",
        "Vary": "Accept, Accept-Encoding",
    }
    if has_already(request, snapshot.etag):
        return Response(status_code=304, headers=headers)
    if takes_gzip(request):
        headers["Content-Encoding"] = "gzip"
        return Response(snapshot.compressed, headers=headers, media_type=JSON)
    return Response(snapshot.body, headers=headers, media_type=JSON)


@router.get(
    "/meters/{meter_id}", response_model=MeterDocument, responses={**problems(404, 406, 503), **also(XML)}
)
def show_meter(request: Request, _caller: Observer, meter_id: MeterPath) -> Response:
    """All that is known of one meter, retired ones too."""
    parts = parts_of(request)
    return answer(request, everything(parts, registered(parts.archive, meter_id)), root="meter")


@router.get("/meters/{meter_id}/latest", response_model=Latest, responses={**problems(404, 406), **also(XML)})
async def latest_of_one(request: Request, _caller: Observer, meter_id: MeterPath) -> Response:
    """The latest values of one meter in service."""
    live = parts_of(request).live
    documents = live.documents([meter_id])
    if not documents:
        raise ProblemError(404, f"no meter {meter_id} is in service: GET /api/v1/meters lists all")
    return answer(request, orjson.loads(documents[0]), root="meter")


@router.delete("/meters/{meter_id}", status_code=204, responses=problems(404, 409, 503))
async def retire(
    request: Request,
    caller: Administrator,
    meter_id: MeterPath,
    force: Annotated[bool, Query(description="Even while it is online.")] = False,
) -> Response:
    """Take a meter out of service: it leaves the SCD, its readings stay. Born again, it is back."""
    parts = parts_of(request)
    meter = parts.live.meter(meter_id)
    if meter is None:
        raise ProblemError(404, f"no meter {meter_id} is in service: GET /api/v1/meters lists all")
    if not parts.live.fleet.broker_up:
        raise ProblemError(503, "the broker is away: try again when it is back")
    if parts.live.state(meter) != "offline" and not force:
        raise ProblemError(409, f"{meter_id} is online: stop it first, or use force=true")
    for kind in RETAINED_OF_METER:
        await parts.sender.publish(parts.settings.mqtt.topics.meter(meter_id, kind), b"", retain=True)
    audit(Event("retire", caller.name, caller.address, meter_id))
    return Response(status_code=204)


def everything(parts: Parts, row: Row) -> dict[str, Any]:
    """The registry's row and the meter's latest values; live ones only while it is in service. It blocks."""
    meter = parts.live.meter(row.meter_id)
    now = parts.live.document(meter) if meter is not None else _of_registry(row)
    fixed = ("owner", "address", "ip", "vendor", "model", "serial", "firmware", "outbox", "dropped")
    times = ("first_seen", "last_seen", "born_at", "retired_at")
    return {
        **now,
        "scl_name": parts.archive.store.namer()(row),
        "feeder": parts.feeders.of(row.number),
        **{name: getattr(row, name) for name in fixed},
        "quantities": [name for name in row.quantities.split(",") if name],
        **{name: at(getattr(row, name)) for name in times},
        "relay_operations": row.relay_operations,
    }


def _of_registry(row: Row) -> dict[str, Any]:
    names = ("meter_id", "name", "address_code", "ied", "interval")
    no_relay = {} if row.has_relay else {"has_relay": False}
    return {**{name: getattr(row, name) for name in names}, "state": "offline", **no_relay}
