"""The pages: fleet, meter, alarms, commands, SCL, health, and the description of the API."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Literal
from urllib.parse import quote

import orjson
from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import PlainTextResponse, Response

from broker.contract.messages import format_ts
from broker.contract.relay import OriginCategory, Relay
from web.api.alarms import alarm_rows, meter_rows, past_rows
from web.api.commands import ledger_rows
from web.api.common import MeterPath, at, registered
from web.api.meters import Choice, everything
from web.api.operations import database_state, health_now
from web.auth.guard import Caller, caller_of
from web.commands import LOST, entry_of
from web.live.order import WORDS, Sort, sorted_by
from web.live.state import Live
from web.live.summary import ShownState
from web.pages.single_line import MOST, Chosen, Diagram
from web.pages.views import views_of
from web.parts import Parts, parts_of, root_of
from web.serving.problem import ProblemError

router = APIRouter(include_in_schema=False)

ROWS = 50
"""Meters that the fleet's page has at once; its script gets the others."""
EVERY_CODE = "*"
"""The form's value for all address codes."""
LEDGER_ROWS, REVISION_ROWS, ALARM_ROWS, PAST_ROWS = 100, 50, 200, 100


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
    sort: Sort = Sort.ALARMS,
) -> Response:
    """All meters: summed up, and the first of them; an empty address code is one, too."""
    live = parts_of(request).live
    code = None if address_code == EVERY_CODE else address_code
    chosen = {"state": state, "address_code": code, "search": search, "sort": sort}
    ids = Choice(state=state or None, address_code=code, search=search or None).of(live)
    some = sorted_by(live, ids, sort)[:ROWS]
    return views_of(request).page(
        request,
        "fleet.html",
        caller,
        meters=[_with_measures(live, orjson.loads(one)) for one in live.documents(some)],
        summary=live.summary(),
        found=len(ids),
        chosen=chosen,
        query={name: value for name, value in chosen.items() if value is not None},
        lost=LOST,
        sorts=WORDS,
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
    return views_of(request).page(
        request,
        "meter.html",
        caller,
        meter=told,
        switched=relay and by and {"position": relay.position, "by": by, "ts": format_ts(relay.ts)},
        alarms=meter_rows(parts.live, meter_id),
        in_service=parts.live.meter(meter_id) is not None,
        origin=f"{OriginCategory.REMOTE_CONTROL} web {caller.name}",  # of the caller's orders in the ledger
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


@router.get("/alarms")
async def alarms(request: Request, caller: Visitor) -> Response:
    """What is in force, and what was."""
    parts = parts_of(request)
    past = await asyncio.to_thread(lambda: past_rows(parts, last=PAST_ROWS))
    return views_of(request).page(request, "alarms.html", caller, **_in_force(parts.live), past=past)


def _in_force(live: Live) -> dict[str, Any]:
    """The first alarms of the list, and how many more there are: a storm has one of each meter."""
    count = sum(len(told.alarms) for told in live.alarms.values())
    return {"alarms": alarm_rows(live, most=ALARM_ROWS), "more_alarms": max(0, count - ALARM_ROWS)}


@router.get("/commands")
async def commands(request: Request, caller: Visitor) -> Response:
    """The ledger."""
    parts = parts_of(request)
    rows = await asyncio.to_thread(lambda: ledger_rows(parts, None, last=LEDGER_ROWS))
    return views_of(request).page(request, "commands.html", caller, rows=rows)


@router.get("/scl")
async def scl(
    request: Request,
    caller: Visitor,
    feeder: Annotated[str, Query(max_length=200)] = "",
    search: Annotated[str, Query(max_length=100)] = "",
    state: Literal[""] | ShownState = "",
    start: Annotated[int, Query(ge=0, le=1_000_000)] = 0,
) -> Response:
    """Revision, files, single-line diagram, what changed."""
    parts = parts_of(request)
    rows, line = await asyncio.to_thread(
        lambda: (parts.archive.store.revisions(last=REVISION_ROWS), parts.feeders.line())
    )
    revisions = [{**row.model_dump(), "ts": at(row.ts)} for row in rows]
    return views_of(request).page(
        request,
        "scl.html",
        caller,
        revisions=revisions,
        current=parts.live.revision,
        ieds=sorted(parts.live.cids),
        diagram=line and Diagram(parts.live, line, Chosen(feeder, search, state, start)),
        most=MOST,
    )


@router.get("/health")
async def health(request: Request, caller: Visitor) -> Response:
    """Services, broker, database, and what to look at."""
    parts = parts_of(request)
    database = await asyncio.to_thread(database_state, parts)
    told = health_now(parts, database)
    return views_of(request).page(request, "health.html", caller, health=told, **_in_force(parts.live))


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
