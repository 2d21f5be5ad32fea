"""Health: services, database, dead letters."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from sqlalchemy.exc import SQLAlchemyError
from starlette.responses import Response

from broker.contract.errors import Meter61850Error
from broker.contract.messages import format_ts
from web.api.common import also, at, problems
from web.api.models import DeadLetters, Health
from web.auth.guard import Observer
from web.parts import Parts, parts_of
from web.serving.answers import XML, answer

router = APIRouter(tags=["operations"])

SHOWN_OCTETS = 512


@router.get("/dead-letters", response_model=DeadLetters, responses={**problems(406, 503), **also(XML)})
def dead_letters(
    request: Request, _caller: Observer, last: Annotated[int, Query(ge=1, le=1000)] = 100
) -> Response:
    """Messages that the bridge could not use, the latest first."""
    rows = dead_letter_rows(parts_of(request), last=last)
    return answer(request, {"dead_letters": rows}, root="page")


def dead_letter_rows(parts: Parts, *, last: int) -> list[dict[str, Any]]:
    """The dead letters that were seen last. It blocks."""
    return [
        {
            **{name: getattr(letter, name) for name in ("key", "topic", "cause", "count", "size")},
            "first_seen": at(letter.first_seen),
            "last_seen": at(letter.last_seen),
            "payload": letter.payload[:SHOWN_OCTETS].decode(errors="replace"),
        }
        for letter in parts.archive.store.dead_letters(last=last)
    ]


@router.get("/health", response_model=Health, responses={**problems(406), **also(XML)})
async def health(request: Request, _caller: Observer) -> Response:
    """Broker, services, database, alarms, and how many meters are in which state."""
    parts = parts_of(request)
    database = await asyncio.to_thread(database_state, parts)
    alarms = await asyncio.to_thread(alarm_rows, parts)
    return answer(request, {**health_now(parts), "database": database, "alarms": alarms}, root="health")


def health_now(parts: Parts) -> dict[str, Any]:
    """The state from the retained topics."""
    services = [
        {
            "name": name,
            "online": status.online,
            "version": status.version,
            "ts": format_ts(status.ts),
            "counters": status.counters,
            "warnings": list(status.warnings),
        }
        for name, status in sorted(parts.live.services.items())
    ]
    return {
        "broker": parts.live.fleet.broker_up,
        "services": services,
        "summary": parts.live.summary(),
    }


def database_state(parts: Parts) -> str:
    """``ok``, or why the store does not answer. It blocks."""
    try:
        parts.archive.store.revisions(last=1)
    except (Meter61850Error, SQLAlchemyError) as error:
        return str(getattr(error, "orig", error)).strip()[:300]
    return "ok"


def alarm_rows(parts: Parts) -> list[dict[str, Any]]:
    """What is wrong with single meters; nothing while the store does not answer. It blocks."""
    try:
        lasting = parts.archive.store.alarms()
    except (Meter61850Error, SQLAlchemyError):
        return []
    return [
        {**asdict(alarm), "cure": alarm.cure, "since": at(alarm.since), "last_seen": at(alarm.last_seen)}
        for alarm in lasting
    ]
