"""Relay commands: sent, followed, and read from the ledger."""

from __future__ import annotations

import asyncio
from math import ceil
from time import monotonic
from typing import Annotated, Any

from fastapi import APIRouter, Header, Path, Query, Request
from starlette.responses import Response

from bridge.store.tables import BlockChange, Command, at_ms
from web.api.common import MeterPath, Time, also, at, problems
from web.api.models import CommandDocument, Ledger, RelayOrder
from web.audit import Event, audit
from web.auth.guard import Caller, Observer, Operator, denied
from web.commands import LOST, Entry, entry_of
from web.parts import Parts, parts_of, root_of
from web.serving.answers import XML, answer, format_of
from web.serving.problem import ProblemError

router = APIRouter(tags=["commands"])

LONGEST_WAIT = 10.0
OURS_SECONDS, LEDGER_SECONDS = 0.05, 0.25
"""Seconds between two checks at a command of ours, and at one that only the ledger has."""

Key = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        description="Made up by the client for each command: a repeated request is not a repeated command.",
        pattern=r"^[\x21-\x7e]{1,128}$",
    ),
]
CommandPath = Annotated[str, Path(description="command_id", pattern=r"^[0-9A-Za-z._:-]{1,64}$")]


@router.post(
    "/meters/{meter_id}/relay",
    status_code=202,
    response_model=CommandDocument,
    responses=problems(404, 406, 409, 429, 503),
)
async def order_relay(
    request: Request, caller: Operator, meter_id: MeterPath, order: RelayOrder, key: Key = None
) -> Response:
    """Open or close a meter's relay: sent once, obeyed within 5 s or never.

    202 and the command, whose state is told at its Location and on the stream. 409 when it is refused and
    nothing was sent: the meter is offline, blocked, switched locally, in that position already, or the order
    came after its expires_at. 503 when the broker disconnected: it may have arrived or not. Each is in the
    ledger. 429, and no command, when the account has given too many in a minute.
    """
    parts = parts_of(request)
    format_of(request)  # 406 before anything is done
    _not_too_many(request, caller)
    entry = await parts.commands.order(
        meter_id,
        order.position,
        account=caller.name,
        address=caller.address,
        key=key,
        expires_at=order.expires_at,
    )
    audit(
        Event("relay", caller.name, caller.address, meter_id, entry.state, f"{order.position} {entry.reason}")
    )
    headers = {
        "Location": f"{root_of(request)}/api/v1/commands/{entry.command_id}",
        "Cache-Control": "no-store",
    }
    if entry.state == "refused" and not entry.answered:
        known = parts.live.meter(meter_id) is not None
        status = 503 if entry.reason == LOST else 409 if known else 404
        raise ProblemError(status, entry.reason, headers=headers, command=entry.document())
    return answer(request, entry.document(), root="command", status=202, headers=headers)


def _not_too_many(request: Request, caller: Caller) -> None:
    """Count a command of the account; 429 when it has given as many in a minute as it may."""
    parts, now = parts_of(request), monotonic()
    if wait := parts.order_limiter.wait(caller.name, now=now):
        most = parts.settings.commands_per_minute
        denied(request, caller.name, f"more than {most} commands in a minute")
        raise ProblemError(
            429,
            f"more than {most} commands of {caller.name} in a minute: wait {ceil(wait)} s",
            headers={"Retry-After": str(ceil(wait))},
        )
    parts.order_limiter.note(caller.name, now=now)


@router.get(
    "/commands/{command_id}",
    response_model=CommandDocument,
    responses={**problems(404, 406, 503), **also(XML)},
)
async def show_command(
    request: Request,
    _caller: Observer,
    command_id: CommandPath,
    wait: Annotated[float, Query(ge=0, le=LONGEST_WAIT, description="Seconds to wait for its end.")] = 0,
) -> Response:
    """A command and what became of it so far."""
    parts = parts_of(request)
    entry = await _followed(parts, command_id, wait)
    return answer(request, entry.document(), root="command")


async def _followed(parts: Parts, command_id: str, seconds: float) -> Entry:
    """The command when it has ended, or when the time is over; 404 for an unknown one."""
    loop = asyncio.get_running_loop()
    ends = loop.time() + seconds
    while True:
        pause, entry = OURS_SECONDS, parts.commands.get(command_id)
        if entry is None:
            pause, entry = LEDGER_SECONDS, await asyncio.to_thread(_of_ledger, parts, command_id)
        left = ends - loop.time()
        if entry.final or left <= 0:
            return entry
        await asyncio.sleep(min(pause, left))


def _of_ledger(parts: Parts, command_id: str) -> Entry:
    row = parts.archive.store.command(command_id)
    if row is None:
        raise ProblemError(404, f"no command {command_id}: GET /api/v1/commands lists the newest")
    return entry_of(row)


@router.get("/commands", response_model=Ledger, responses={**problems(406, 503), **also(XML)})
def ledger(
    request: Request,
    _caller: Observer,
    meter_id: Annotated[str | None, Query(description="Only this meter's.", max_length=36)] = None,
    last: Annotated[int, Query(ge=1, le=1000)] = 100,
    start: Annotated[Time | None, Query(description="Only those that were heard of since then.")] = None,
    end: Annotated[Time | None, Query(description="Only those that were heard of before.")] = None,
) -> Response:
    """The newest rows of the ledger, of all issuers (MMS, CLI, web), blocks too; the newest first."""
    since, until = at_ms(start) if start else 0, at_ms(end) if end else None
    rows = ledger_rows(parts_of(request), meter_id, last=last, start=since, end=until)
    return answer(request, {"commands": rows}, root="ledger")


def ledger_rows(
    parts: Parts, meter_id: str | None, *, last: int, start: int = 0, end: int | None = None
) -> list[dict[str, Any]]:
    """Commands and changes of blocks, the newest first; heard of in that time (ms). It blocks."""
    store = parts.archive.store
    rows: list[Command | BlockChange] = [
        *store.commands(meter_id, last=last, start=start, end=end),
        *store.blocks(meter_id, last=last, start=start, end=end),
    ]
    rows.sort(key=lambda row: row.received_at, reverse=True)
    meters = parts.live.fleet.meters
    return [
        {
            "received_at": at(row.received_at),
            "meter": _name(meters.get(row.meter_id)),
            "meter_id": row.meter_id,
            "what": _what(row),
            "origin": f"{row.origin_category} {row.origin_identifier}".strip(),
            "outcome": row.outcome if isinstance(row, Command) else "refused" if row.reason else "set",
            "reason": row.reason,
            "command_id": row.command_id if isinstance(row, Command) else None,
        }
        for row in rows[:last]
    ]


def _name(meter: Any) -> str:
    return meter.birth.name if meter is not None and meter.birth is not None else ""


def _what(row: Command | BlockChange) -> str:
    if isinstance(row, Command):
        return row.position or "?"
    told = [word for word, blocked in (("opening", row.block_open), ("closing", row.block_close)) if blocked]
    return f"block {' and '.join(told) or 'nothing'}"
