"""``/api/v1/stream``: live events (server-sent events, HTML Living Standard 9.2)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Annotated

import orjson
from fastapi import APIRouter, Header, Query, Request
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from broker.contract.messages import format_ts, utc_now
from web.api.common import problems
from web.auth.guard import Observer, caller_of
from web.live.hub import joined
from web.live.interests import Interest, Listener
from web.parts import Parts, parts_of
from web.serving.problem import ProblemError

router = APIRouter(tags=["stream"])

PING_SECONDS = 1.0
"""So often the stream has our time: a page that misses it says within 5 s that it is not live."""
ALLOWED_SECONDS = 10.0
"""So often a listener is looked up again: it may be out meanwhile."""
MOST_METERS = 200
KINDS = ("meter", "gone", "command", "summary", "revision", "service", "broker", "alarms")


class EventStream(StreamingResponse):
    """Server-sent events; ``over`` is called when they end, however that is."""

    media_type = "text/event-stream"

    def __init__(
        self, events: AsyncIterator[bytes], status_code: int = 200, *, over: Callable[[], None]
    ) -> None:
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        super().__init__(events, status_code, headers)
        self._over = over

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._over()


@router.get("/stream", response_class=EventStream, responses=problems(429, 503))
async def stream(
    request: Request,
    caller: Observer,
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
    parts.budgets.streams.take(caller.name)
    interest = Interest(frozenset(kind or ()), frozenset(meter or ()), address_code)
    listener = parts.hub.listen(interest, since=last_event_id or since)
    hello = _hello(parts, position="" if listener.queue.qsize() else parts.hub.position)

    def over() -> None:
        parts.hub.leave(listener)
        parts.budgets.streams.give_back(caller.name)

    return EventStream(_events(listener, hello, lambda: caller_of(request) is not None), over=over)


def ping() -> bytes:
    """Our time, so that a page counts ages by it, whatever the clock of its own machine does."""
    return b'event: ping\ndata: {"ts":"%s"}\n\n' % format_ts(utc_now()).encode()


def _hello(parts: Parts, *, position: str) -> bytes:
    """Without a position when what was missed follows: that has ids of its own."""
    told = orjson.dumps({"broker": parts.live.fleet.broker_up, "ts": format_ts(utc_now())})
    here = f"id: {position}\n" if position else ""
    return b"retry: 1000\n%sevent: hello\ndata: %s\n\n" % (here.encode(), told)


async def _events(listener: Listener, hello: bytes, allowed: Callable[[], bool]) -> AsyncIterator[bytes]:
    """Until the client goes, or may not listen any more; a ping every PING_SECONDS, whatever else comes."""
    loop = asyncio.get_running_loop()
    yield hello
    ping_at, ask_at = loop.time() + PING_SECONDS, loop.time() + ALLOWED_SECONDS
    while (batch := await _next(listener, ping_at)) is not None:
        if loop.time() >= ask_at:
            ask_at = loop.time() + ALLOWED_SECONDS
            if not allowed():
                return
        for piece in joined(batch):
            yield piece
        if loop.time() >= ping_at:
            ping_at = loop.time() + PING_SECONDS
            yield ping()


async def _next(listener: Listener, until: float) -> Sequence[bytes] | None:
    """What comes next; nothing when ``until`` comes first; None at the end."""
    try:
        async with asyncio.timeout_at(until):
            return await listener.queue.get()
    except TimeoutError:
        return []
