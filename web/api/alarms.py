"""Alarms: those in force as the bridge tells them, those that are over from the store, acknowledgements."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from sqlalchemy.exc import SQLAlchemyError
from starlette.responses import Response

from bridge.store.alarms import AlarmRecord
from broker.contract.alarms import KINDS, Acknowledgement, AlarmInForce, Severity
from broker.contract.errors import Meter61850Error
from broker.contract.messages import MAX_SEQ, format_ts, utc_now
from web.api.common import also, at, problems
from web.api.models import AlarmDocument, AlarmList
from web.audit import Event, audit
from web.auth.guard import Observer, Operator
from web.live.state import Live
from web.parts import Parts, parts_of
from web.sending import NAME
from web.serving.answers import XML, answer, format_of
from web.serving.problem import ProblemError

router = APIRouter(tags=["alarms"])

CONFIRMED_SECONDS = 5.0
"""So long we wait for the bridge to say that it has noted an acknowledgement."""
_LOOK_SECONDS = 0.1
_WORST: dict[str, int] = {severity: place for place, severity in enumerate(Severity)}
AlarmPath = Annotated[int, Path(description="Its `id`.", ge=1, le=MAX_SEQ)]


@router.get("/alarms", response_model=AlarmList, responses={**problems(406, 503), **also(XML)})
def alarms(
    request: Request,
    _caller: Observer,
    last: Annotated[
        int | None, Query(ge=1, le=1000, description="The newest so many, also those that are over.")
    ] = None,
) -> Response:
    """The alarms in force, those that nobody has acknowledged first, then the worst, then the newest."""
    parts = parts_of(request)
    rows = alarm_rows(parts.live) if last is None else history_rows(parts, last=last)
    return answer(request, {"alarms": rows}, root="alarms")


@router.post(
    "/alarms/{alarm}/acknowledge",
    response_model=AlarmDocument,
    responses={
        202: {"model": AlarmDocument, "description": "Sent; not noted yet"},
        **problems(404, 406, 503),
    },
)
async def acknowledge(request: Request, caller: Operator, alarm: AlarmPath) -> Response:
    """Acknowledge an alarm in force: who did and when is noted, and it is not sent to anybody any more.

    200 when the bridge has noted it, 202 when it has not within 5 s: it will when it runs again. Of several
    acknowledgements the first counts.
    """
    parts = parts_of(request)
    format_of(request)  # 406 before anything is done
    meter_id, _ = _found(parts.live, alarm)
    topic = parts.settings.mqtt.topics.acknowledged(NAME, meter_id)
    await parts.sender.publish(topic, Acknowledgement(id=alarm, by=caller.name, ts=utc_now()).payload())
    audit(Event("acknowledge", caller.name, caller.address, meter_id, "sent", f"alarm {alarm}"))
    noted = await _noted(parts.live, alarm)
    row = _row(parts.live, *noted)
    return answer(request, row, root="alarm", status=200 if row["acknowledged_at"] else 202)


def _found(live: Live, key: int) -> tuple[str, AlarmInForce]:
    """The alarm and its meter; 404 when none of this id is in force."""
    for meter_id, told in live.alarms.items():
        for alarm in told.alarms:
            if alarm.id == key:
                return meter_id, alarm
    raise ProblemError(404, f"no alarm {key} is in force: GET /api/v1/alarms lists those that are")


async def _noted(live: Live, key: int) -> tuple[str, AlarmInForce]:
    """The alarm once it is acknowledged, or as it is when the time is over, or when it is cleared."""
    meter_id, alarm = _found(live, key)
    ends = asyncio.get_running_loop().time() + CONFIRMED_SECONDS
    while alarm.acknowledged_at is None and asyncio.get_running_loop().time() < ends:
        await asyncio.sleep(_LOOK_SECONDS)
        try:
            meter_id, alarm = _found(live, key)
        except ProblemError:
            break
    return meter_id, alarm


def alarm_rows(live: Live, *, most: int | None = None) -> list[dict[str, Any]]:
    """What is in force, in the order of the list; the first ``most`` of it. Any thread may call it."""
    known = list(live.alarms.items())  # at once: the loop's thread changes it
    told = [(meter_id, alarm) for meter_id, own in known for alarm in own.alarms]
    return [_row(live, *one) for one in sorted(told, key=_place)[:most]]


def meter_rows(live: Live, meter_id: str) -> list[dict[str, Any]]:
    """What is in force of one meter."""
    told = live.alarms.get(meter_id)
    own = ((meter_id, alarm) for alarm in told.alarms) if told else ()
    return [_row(live, *one) for one in sorted(own, key=_place)]


def _place(one: tuple[str, AlarmInForce]) -> tuple[bool, int, int]:
    _, alarm = one
    return alarm.acknowledged_at is not None, _WORST.get(alarm.severity, len(_WORST)), -alarm.id


def _row(live: Live, meter_id: str, alarm: AlarmInForce) -> dict[str, Any]:
    known = KINDS.get(alarm.kind)
    acknowledged = alarm.acknowledged_at and format_ts(alarm.acknowledged_at)
    return {
        **alarm.model_dump(exclude={"since", "acknowledged_at"}),
        "meter_id": meter_id or None,
        "name": live.known(meter_id).name if meter_id else "server",
        "meaning": known.meaning if known else "",
        "cure": known.cure if known else "",
        "since": format_ts(alarm.since),
        "acknowledged_at": acknowledged,
        "cleared_at": None,
    }


def history_rows(parts: Parts, *, last: int) -> list[dict[str, Any]]:
    """The newest alarms, the newest first, from the store. It blocks."""
    return list(_past(parts.archive.store.alarms(last=last)))


def past_rows(parts: Parts, *, last: int) -> list[dict[str, Any]]:
    """Those of the newest that are over; nothing while the store does not answer. It blocks."""
    try:
        return [row for row in history_rows(parts, last=last) if row["cleared_at"]]
    except (Meter61850Error, SQLAlchemyError):
        return []


def _past(records: list[AlarmRecord]) -> Iterator[dict[str, Any]]:
    for one in records:
        names = ("kind", "severity", "subject", "detail", "count", "cure", "acknowledged_by")
        known = KINDS.get(one.kind)
        yield {
            "id": one.key,
            **{name: getattr(one, name) for name in names},
            "meter_id": one.meter_id or None,
            "name": one.place,
            "meaning": known.meaning if known else "",
            "since": at(one.since),
            "acknowledged_at": at(one.acknowledged_at),
            "cleared_at": at(one.cleared_at),
        }
