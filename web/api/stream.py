"""``/api/v1/stream``: what happens, as it happens (server-sent events, HTML Living Standard 9.2)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Annotated

import orjson
from fastapi import APIRouter, Header, Query, Request
from starlette.responses import StreamingResponse

from web.api.common import problems
from web.guard import Observer, caller_of
from web.hub import Hub, joined
from web.interests import Interest, Listener
from web.parts import Parts, parts_of
from web.problem import ProblemError

router = APIRouter(tags=["stream"])

PING_SECONDS = 10.0
"""An event without meaning after so long without one: so either side finds a broken connection."""
PING = b"event: ping\ndata: {}\n\n"
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
    hello = _hello(parts, position="" if listener.queue.qsize() else parts.hub.position)
    return EventStream(
        _events(parts.hub, listener, hello, lambda: caller_of(request) is not None),
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


def _hello(parts: Parts, *, position: str) -> bytes:
    """Without a position when what was missed follows: that has ids of its own."""
    told = orjson.dumps({"broker": parts.live.fleet.broker_up})
    here = f"id: {position}\n" if position else ""
    return b"retry: 1000\n%sevent: hello\ndata: %s\n\n" % (here.encode(), told)


async def _events(
    hub: Hub, listener: Listener, hello: bytes, allowed: Callable[[], bool]
) -> AsyncIterator[bytes]:
    """Until the client goes, or may not listen any more; that is asked at every ping's time."""
    loop = asyncio.get_running_loop()
    try:
        yield hello
        checked = loop.time()
        while (batch := await _next(listener)) is not None:
            if loop.time() - checked > PING_SECONDS:
                checked = loop.time()
                if not allowed():
                    return
            for piece in joined(batch):
                yield piece
    finally:
        hub.leave(listener)


async def _next(listener: Listener) -> Sequence[bytes] | None:
    """What comes next, or a ping; None at the end."""
    try:
        async with asyncio.timeout(PING_SECONDS):
            return await listener.queue.get()
    except TimeoutError:
        return [PING]
