"""What a meter process and a simulator process share: they end cleanly, and together."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from meter_firmware.meter import Meter


async def run_meters(meters: Iterable[Meter], stop: asyncio.Event) -> None:
    """Run all until ``stop``; when one fails, the others say goodbye and its error is raised."""
    outcomes = await asyncio.gather(*(_run(meter, stop) for meter in meters), return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome


async def _run(meter: Meter, stop: asyncio.Event) -> None:
    try:
        await meter.run(stop)
    finally:
        stop.set()
