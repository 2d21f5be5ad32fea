"""The pages: fleet, meter, commands, SCL, dead letters, health, and the description of the API."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Literal
from urllib.parse import quote, urlencode

import orjson
from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import PlainTextResponse, Response

from broker.contract.messages import format_ts
from broker.contract.relay import OriginCategory, Relay
from web.api.commands import ledger_rows
from web.api.common import LONGEST_CURSOR, MeterPath, at, registered
from web.api.meters import Choice, begin_after, cursor_of, everything
from web.api.operations import alarm_rows, database_state, dead_letter_rows, health_now
from web.auth.guard import Caller, caller_of
from web.commands import LOST, entry_of
from web.live.state import Live
from web.live.summary import ShownState
from web.pages.views import views_of
from web.parts import Parts, parts_of, root_of
from web.serving.problem import ProblemError

router = APIRouter(include_in_schema=False)

ROWS = 50
"""Meters on one page of the fleet."""
EVERY_CODE = "*"
"""The form's value for all address codes."""
LEDGER_ROWS, LETTER_ROWS, REVISION_ROWS = 100, 100, 50


async def _visitor(request: Request) -> Caller:
    """The caller; a browser without a login is sent to the login page.

    What changes while the page reads must reach it by the stream: its position is that of before.
    """
    request.state.position = parts_of(request).hub.position
    caller = caller_of(request)
    if caller is None:
        asked = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        raise ProblemError(
            303, "log in", headers={"Location": f"{root_of(request)}/login?next={quote(asked)}"}
        )
    return caller


Visitor = Annotated[Caller, Depends(_visitor)]


@router.get("/static/{name:path}")
async def static(request: Request, name: str) -> Response:
    """A style sheet or a script."""
    return views_of(request).assets.answer(request, name)


@router.get("/healthz")
async def healthz(request: Request) -> Response:
    """For supervisors and proxies: 200, or 503 with the reason."""
    up = parts_of(request).live.fleet.broker_up
    return PlainTextResponse("ok\n" if up else "no connection to the broker\n", 200 if up else 503)


@router.get("/")
async def fleet(
    request: Request,
    caller: Visitor,
    state: Literal[""] | ShownState = "",
    address_code: Annotated[str | None, Query(max_length=255)] = None,
    search: Annotated[str, Query(max_length=100)] = "",
    after: Annotated[str, Query(max_length=LONGEST_CURSOR)] = "",
) -> Response:
    """All meters: summed up, and a page of them live; an empty address code is one, too."""
    live = parts_of(request).live
    code = None if address_code == EVERY_CODE else address_code
    chosen = {"state": state, "address_code": code, "search": search}
    ids = Choice(state=state or None, address_code=code, search=search or None).of(live)
    start = begin_after(live, ids, after) if after else 0
    some = ids[start : start + ROWS]
    query = {name: value for name, value in chosen.items() if value or (name, value) == ("address_code", "")}
    onward = {**query, "after": cursor_of(live, some[-1])} if start + ROWS < len(ids) else None
    return views_of(request).page(
        request,
        "fleet.html",
        caller,
        meters=[_with_measures(live, orjson.loads(one)) for one in live.documents(some)],
        summary=live.summary(),
        found=len(ids),
        start=start,
        chosen=chosen,
        onward=onward and f"{root_of(request)}/?{urlencode(onward)}",
        first=f"{root_of(request)}/?{urlencode(query)}" if start else None,
    )


def _with_measures(live: Live, told: dict[str, Any]) -> dict[str, Any]:
    """The latest of a meter, and what it measures."""
    meter = live.meter(told["meter_id"])
    return {**told, "measures": meter.birth.quantities if meter and meter.birth else ()}


@router.get("/meters/{meter_id}")
async def meter(request: Request, caller: Visitor, meter_id: MeterPath) -> Response:
    """One meter: live values, curves, energy, relay."""
    parts = parts_of(request)
    told = await asyncio.to_thread(lambda: everything(parts, registered(parts.archive, meter_id)))
    relay = parts.live.known(meter_id).relay
    by = await asyncio.to_thread(lambda: _switched_by(parts, relay)) if relay else None
    alarms = await asyncio.to_thread(alarm_rows, parts)
    return views_of(request).page(
        request,
        "meter.html",
        caller,
        meter=told,
        switched=relay and by and {"position": relay.position, "by": by, "ts": format_ts(relay.ts)},
        alarms=[alarm for alarm in alarms if alarm["meter_id"] == meter_id],
        in_service=parts.live.meter(meter_id) is not None,
        origin=f"{OriginCategory.REMOTE_CONTROL} web {caller.name}",
        lost=LOST,
    )


def _switched_by(parts: Parts, relay: Relay) -> str | None:
    """The issuer of the relay's last change; None if there is none, or it is unknown. It blocks."""
    if relay.command_id is None:
        return "at the meter" if relay.operations else None
    entry = parts.commands.get(relay.command_id)
    if entry is None and (row := parts.archive.store.command(relay.command_id)) is not None:
        entry = entry_of(row)
    return f"by {entry.origin}" if entry is not None and entry.origin else None


@router.get("/commands")
async def commands(request: Request, caller: Visitor) -> Response:
    """The ledger."""
    parts = parts_of(request)
    rows = await asyncio.to_thread(lambda: ledger_rows(parts, None, last=LEDGER_ROWS))
    return views_of(request).page(request, "commands.html", caller, rows=rows)


@router.get("/scl")
async def scl(request: Request, caller: Visitor) -> Response:
    """Revision, files, what changed."""
    parts = parts_of(request)
    rows = await asyncio.to_thread(lambda: parts.archive.store.revisions(last=REVISION_ROWS))
    revisions = [{**row.model_dump(), "ts": at(row.ts)} for row in rows]
    return views_of(request).page(
        request,
        "scl.html",
        caller,
        revisions=revisions,
        current=parts.live.revision,
        ieds=sorted(parts.live.cids),
    )


@router.get("/dead-letters")
async def dead_letters(request: Request, caller: Visitor) -> Response:
    """The dead letters."""
    parts = parts_of(request)
    rows = await asyncio.to_thread(lambda: dead_letter_rows(parts, last=LETTER_ROWS))
    return views_of(request).page(request, "dead_letters.html", caller, letters=rows)


@router.get("/health")
async def health(request: Request, caller: Visitor) -> Response:
    """Services, broker, database."""
    parts = parts_of(request)
    database = await asyncio.to_thread(database_state, parts)
    alarms = await asyncio.to_thread(alarm_rows, parts)
    told = {**health_now(parts), "database": database, "alarms": alarms}
    return views_of(request).page(request, "health.html", caller, health=told)


@router.get("/docs")
async def docs(request: Request) -> Response:
    """The description of the API, from the OpenAPI document."""
    return views_of(request).page(request, "docs.html", caller_of(request), document=request.app.openapi())


def error_page(request: Request, problem: ProblemError) -> Response:
    """A problem, for people."""
    page = views_of(request).page(
        request, "error.html", caller_of(request), status=problem.status, problem=problem.document
    )
    page.headers.update(problem.headers)
    return page
