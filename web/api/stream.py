"""``/api/v1/stream``: what happens, as it happens (server-sent events, HTML Living Standard 9.2)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Annotated

import orjson
from fastapi import APIRouter, Header, Query, Request
from starlette.responses import StreamingResponse

from web.api.common import problems
from web.guard import Observer, caller_of
from web.hub import Hub, Interest, Listener
from web.parts import parts_of
from web.problem import ProblemError

router = APIRouter(tags=["stream"])

PING_SECONDS = 10.0
"""An event without meaning after so long without one: so either side finds a broken connection."""
MOST_METERS = 200
KINDS = ("meter", "gone", "command", "summary", "revision", "service", "broker")


class EventStream(StreamingResponse):
    """Server-sent events."""

    media_type = "text/event-stream"


@router.get("/stream", response_class=EventStream, responses=problems(503))
async def stream(
    request: Request,
    _caller: Observer,
    meter: Annotated[
        list[str] | None, Query(description="Only these meters.", max_length=MOST_METERS)
    ] = None,
    address_code: Annotated[str | None, Query(description="Only meters of this one.", max_length=255)] = None,
    kind: Annotated[list[str] | None, Query(description=f"Of {', '.join(KINDS)}.", max_length=20)] = None,
    since: Annotated[
        str | None, Query(description="Id of the last event that was seen.", max_length=40)
    ] = None,
    last_event_id: Annotated[str | None, Header(max_length=40)] = None,
) -> EventStream:
    """Events: `hello` at once, then `meter` (its newest state, as in `latest`), `command`, `summary` …

    After a break send Last-Event-ID (browsers do) or `since`: what was missed comes first, or `reset` when
    that is not known any more: then read `latest` again. A client that is too slow gets `reset`, too.
    """
    parts = parts_of(request)
    unknown = sorted(set(kind or ()) - set(KINDS))
    if unknown:
        raise ProblemError(422, f"kind {unknown[0][:40]!r}: {', '.join(KINDS)}")
    if len(parts.hub.listeners) >= parts.settings.stream_clients:
        raise ProblemError(503, "too many live streams: come again later", headers={"Retry-After": "10"})
    interest = Interest(frozenset(kind or ()), frozenset(meter or ()), address_code)
    listener = parts.hub.listen(interest, since=last_event_id or since)
    hello = orjson.dumps({"broker": parts.live.fleet.broker_up})
    first = b"retry: 1000\nid: %s\nevent: hello\ndata: %s\n\n" % (parts.hub.position.encode(), hello)
    return EventStream(
        _events(parts.hub, listener, first, lambda: caller_of(request) is not None),
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


async def _events(
    hub: Hub, listener: Listener, first: bytes, allowed: Callable[[], bool]
) -> AsyncIterator[bytes]:
    """Until the client goes, or may not listen any more; that is asked at every ping's time."""
    loop = asyncio.get_running_loop()
    try:
        if listener.queue.empty():  # else what was missed comes first, with ids of its own
            yield first
        checked = loop.time()
        while True:
            try:
                batch = await asyncio.wait_for(listener.queue.get(), PING_SECONDS)
            except TimeoutError:
                batch = b"event: ping\ndata: {}\n\n"
            if loop.time() - checked > PING_SECONDS:
                checked = loop.time()
                if not allowed():
                    return
            if batch is None:
                return
            yield batch
    finally:
        hub.leave(listener)
