"""The pages of what follows from readings: a meter's load profile and registers; supply and credit."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from bridge.store.intervals import MEASURED
from bridge.store.profile_steps import REGISTERS
from broker.contract.errors import ConfigurationError
from broker.contract.quantities import QUANTITIES
from web.api.common import MeterPath, registered
from web.api.tariffs import named, tariffs_of
from web.pages.pages import Visitor
from web.pages.views import views_of
from web.parts import Parts, parts_of

router = APIRouter(include_in_schema=False)

POWER_OF = {"Wh": "W", "varh": "var"}
"""The energy of an interval is drawn as its mean power."""


@router.get("/meters/{meter_id}/profile")
async def profile(request: Request, caller: Visitor, meter_id: MeterPath) -> Response:
    """One meter: load profile, carpet plot of a month, registers."""
    parts = parts_of(request)
    row = await asyncio.to_thread(lambda: registered(parts.archive, meter_id))
    tariffs, complaint = await asyncio.to_thread(lambda: _tariffs(parts))
    return views_of(request).page(
        request,
        "profile.html",
        caller,
        meter={"meter_id": meter_id, "name": row.name},
        zone=parts.settings.calendar.time_zone,
        tariffs=tariffs,
        complaint=complaint,
        drawn=[_drawn(name) for name in (*REGISTERS, *MEASURED)],
    )


@router.get("/supply")
async def supply(
    request: Request,
    caller: Visitor,
    meter: Annotated[
        str, Query(pattern=r"^([0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})?$", description="meter_id.")
    ] = "",
) -> Response:
    """Of one meter account, ledger and quality of supply; of all accounts, balances of feeders, outages."""
    parts = parts_of(request)
    row = await asyncio.to_thread(lambda: registered(parts.archive, meter)) if meter else None
    line = await asyncio.to_thread(parts.feeders.line)
    return views_of(request).page(
        request,
        "supply.html",
        caller,
        meter=row and {"meter_id": meter, "name": row.name},
        zone=parts.settings.calendar.time_zone,
        feeders=[feeder.path for feeder in line.feeders if feeder.taps] if line else [],
    )


def _tariffs(parts: Parts) -> tuple[list[dict[str, str]], str]:
    """Those of the file, and why there are none although there is a file."""
    try:
        found = tariffs_of(parts)
    except ConfigurationError as error:
        return [], str(error)
    return (named(found) if found else []), ""


def _drawn(name: str) -> dict[str, Any]:
    """How a quantity of the load profile is called, and its unit."""
    quantity = QUANTITIES[name]
    register = name in REGISTERS
    unit = POWER_OF[quantity.unit] if register else quantity.unit
    decimals = 0 if register else quantity.decimals
    return {"name": name, "label": quantity.label, "unit": unit, "decimals": decimals, "register": register}
