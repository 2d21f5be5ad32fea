"""The routes of the thesis's Smart Meter API, as its client script and its test cases use them.

The id in the answer to a registration is the meter's token, as in the thesis: it allows to submit, to read
back and to delete. It is sent only once. All other interfaces show the meter_id, which is derived from it and
gives no access. The list and the SCD need a login, which also allows to read the meters of the list.
"""

from __future__ import annotations

import asyncio
import uuid
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from time import monotonic
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from pydantic import BaseModel, ConfigDict, Field, model_validator
from starlette.responses import RedirectResponse, Response

from bridge.store.pack_format import StoredReading
from bridge.store.tables import moment
from broker.contract.fleet import MeterState
from broker.contract.messages import Text, format_ts
from broker.contract.reading import Reading, within
from web.api.common import MeterPath, also, problems, registered
from web.audit import Event, audit
from web.auth.guard import Observer, address_of, caller_of
from web.auth.sessions import Limiter
from web.legacy_http.meters import ThesisMeters, meter_of, no_such_meter
from web.parts import Parts, parts_of, root_of
from web.serving.addresses import network_of
from web.serving.answers import XML, answer, encoded, format_of
from web.serving.problem import ProblemError

router = APIRouter(tags=["thesis"])

MOST_READINGS = 10_000
"""Of ``GET /Readings/{id}``; the API of version 1 has all."""
REGISTRATIONS = Limiter(attempts=20, seconds=60.0)
"""Of one network (`web.serving.addresses`)."""


class Registration(BaseModel):
    """A meter registers itself."""

    model_config = ConfigDict(str_strip_whitespace=True)

    name: Text
    location: Text = ""
    zipCode: Text = ""  # noqa: N815 - the thesis's name


class Registered(Registration):
    """A registered meter."""

    id: str


class Submitted(BaseModel):
    """What its sensor measured; what it does not give is null or absent."""

    voltage: Annotated[float, within("voltage")] | None = Field(None, description="V")
    current: Annotated[float, within("current")] | None = Field(None, description="A")
    power: Annotated[float, within("power")] | None = Field(None, description="W")
    powerFactor: Annotated[float, within("power_factor")] | None = None  # noqa: N815 - the thesis's name

    @model_validator(mode="after")
    def _something(self) -> Submitted:
        if all(value is None for value in self.model_dump().values()):
            raise ValueError("no value: voltage, current, power or powerFactor")
        return self


class SubmittedReading(Submitted):
    """A stored reading."""

    id: str
    smartMeterId: str  # noqa: N815 - the thesis's name
    readingTime: str  # noqa: N815 - the thesis's name


Token = Annotated[MeterPath, Path(description="The token; with a login, to look, also a meter_id.")]


def _turn(request: Request) -> AbstractAsyncContextManager[None]:
    """Of the client's network: these requests have no account."""
    return parts_of(request).budgets.http_meters.turn(network_of(address_of(request)))


def _meters(request: Request) -> ThesisMeters:
    meters: ThesisMeters = request.app.state.thesis
    return meters


def _seen(request: Request, given: str) -> str:
    """The meter_id that may be looked at; 404 without one."""
    for meter_id in (meter_of(given), *([given] if caller_of(request) else [])):
        if _meters(request).is_ours(meter_id):
            return meter_id
    raise no_such_meter()


@router.post("/SmartMeter", response_model=Registered, responses={**problems(406, 429, 503), **also(XML)})
async def register(request: Request, registration: Registration) -> Response:
    """Register a meter; its id is its token, and is sent only once."""
    address = address_of(request)
    format_of(request)  # 406 before anything is done
    network = network_of(address)
    if wait := REGISTRATIONS.wait(network, now=monotonic()):
        raise ProblemError(429, "too many registrations", headers={"Retry-After": str(int(wait) + 1)})
    REGISTRATIONS.note(network, now=monotonic())
    token = await _meters(request).register(
        name=registration.name,
        location=registration.location,
        address_code=registration.zipCode,
        address=address,
    )
    audit(Event("thesis-register", "", address, meter_of(token), detail=registration.name))
    return answer(request, {"id": token, **registration.model_dump()}, root="SmartMeter")


@router.get("/SmartMeter", response_model=list[Registered], responses={**problems(406), **also(XML)})
async def list_meters(request: Request, _caller: Observer) -> Response:
    """Every HTTP meter with its latest reading; the ids are meter_ids, and no tokens."""
    live = parts_of(request).live
    meters = [live.fleet.meters[one] for one in _meters(request).ours()]
    return answer(request, [_described(meter) for meter in meters], root="SmartMeters")


def _described(meter: MeterState) -> dict[str, Any]:
    assert meter.birth is not None
    birth, latest = meter.birth, meter.reading
    return {
        "id": meter.meter_id,
        "name": birth.name,
        "location": birth.address,
        "zipCode": birth.address_code,
        "readings": [_told(meter.meter_id, latest)] if latest is not None else [],
    }


@router.get("/SmartMeter/{token}", status_code=204, responses=problems(404))
async def show_meter(request: Request, token: Token) -> Response:
    """204: there is such a meter; 404: there is none."""
    _seen(request, token)
    return Response(status_code=204)


@router.delete("/SmartMeter/{token}", status_code=204, responses=problems(404, 503))
async def delete_meter(request: Request, token: Token) -> Response:
    """Take the meter out of service; its readings stay in the database."""
    await _meters(request).withdraw(meter_of(token))
    audit(Event("thesis-delete", "", address_of(request), meter_of(token)))
    return Response(status_code=204)


@router.delete("/SmartMeter", status_code=204, responses=problems(404, 503))
async def delete_named_meter(
    request: Request, token: Annotated[str, Query(alias="id", max_length=36)]
) -> Response:
    """The same, with the token as a query."""
    return await delete_meter(request, token)


@router.post(
    "/Readings/{token}",
    response_model=SubmittedReading,
    responses={**problems(404, 406, 429, 503), **also(XML)},
)
async def submit(request: Request, token: Token, submitted: Submitted) -> Response:
    """Submit a reading of now; 200 when it is stored."""
    format_of(request)  # 406 before anything is done
    values = submitted.model_dump()
    values["power_factor"] = values.pop("powerFactor")
    async with _turn(request):
        reading = await _meters(request).submit(meter_of(token), values)
    return answer(request, _told(token, reading), root="Reading")


@router.get(
    "/Readings/{token}",
    response_model=list[SubmittedReading],
    responses={**problems(404, 406, 429, 503), **also(XML)},
)
async def readings(request: Request, token: Token) -> Response:
    """The meter's readings, oldest first, the last 10,000 of them."""
    meter_id = _seen(request, token)
    async with _turn(request):
        rows = await asyncio.to_thread(_stored, parts_of(request), meter_id, token)
    return answer(request, rows, root="Readings")


def _stored(parts: Parts, meter_id: str, called: str) -> list[dict[str, Any]]:
    row = registered(parts.archive, meter_id)
    stored = parts.archive.store.readings(row, last=MOST_READINGS)
    return [_told(called, reading) for reading in stored]


def _told(called: str, reading: Reading | StoredReading) -> dict[str, Any]:
    """The seven attributes of a reading of the meter that the client has ``called`` so."""
    ts = reading.ts if isinstance(reading.ts, datetime) else moment(reading.ts)
    return {
        "id": str(uuid.uuid5(uuid.UUID(called), f"{reading.epoch} {reading.seq}")),
        "smartMeterId": called,
        "readingTime": format_ts(ts),
        "voltage": reading.voltage,
        "current": reading.current,
        "power": reading.power,
        "powerFactor": reading.power_factor,
    }


@router.get("/SCL", responses={**problems(404), **also(XML)})
async def scl(request: Request, _caller: Observer) -> Response:
    """The current SCD."""
    document = parts_of(request).live.scd
    if document is None:
        raise ProblemError(404, "no SCD is published: is the bridge running?")
    return await asyncio.to_thread(encoded, request, document, XML)


@router.get("/swagger", include_in_schema=False)
async def swagger(request: Request) -> Response:
    """Where the thesis's description was."""
    return RedirectResponse(f"{root_of(request)}/docs")
