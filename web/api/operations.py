"""Health: services, database, alarms."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, Request
from sqlalchemy.exc import SQLAlchemyError
from starlette.responses import Response

from broker.contract.errors import Meter61850Error
from broker.contract.messages import format_ts
from web.api.alarms import alarm_rows
from web.api.common import also, problems
from web.api.judgement import findings
from web.api.models import Health
from web.auth.guard import Observer
from web.parts import Parts, parts_of
from web.serving.answers import XML, answer

router = APIRouter(tags=["operations"])


@router.get("/health", response_model=Health, responses={**problems(406), **also(XML)})
async def health(request: Request, _caller: Observer) -> Response:
    """Broker, services, database, what to look at, alarms, and how many meters are in which state."""
    parts = parts_of(request)
    database = await asyncio.to_thread(database_state, parts)
    told = health_now(parts, database)
    told["findings"] = [
        {"part": part, **asdict(one)} for part, found in told["findings"].items() for one in found
    ]
    return answer(request, {**told, "alarms": alarm_rows(parts.live)}, root="health")


def health_now(parts: Parts, database: str) -> dict[str, Any]:
    """The state from the retained topics; ``findings`` by part."""
    services = [
        {
            "name": name,
            "online": status.online,
            "version": status.version,
            "ts": format_ts(status.ts),
            "counters": status.counters,
            "warnings": list(status.warnings),
        }
        for name, status in sorted(parts.live.services.known.items())
    ]
    return {
        "broker": parts.live.fleet.broker_up,
        "database": database,
        "services": services,
        "findings": findings(parts.live, database),
        "summary": parts.live.summary(),
    }


def database_state(parts: Parts) -> str:
    """``ok``, or why the store does not answer. It blocks."""
    try:
        parts.archive.store.revisions(last=1)
    except (Meter61850Error, SQLAlchemyError) as error:
        return str(getattr(error, "orig", error)).strip()[:300]
    return "ok"
