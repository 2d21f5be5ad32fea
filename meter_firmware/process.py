"""What a meter process and a simulator process share: they end on a signal, cleanly, and together."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterable

from meter_firmware.meter import Meter


def stop_on_signals() -> asyncio.Event:
    """An event that SIGTERM and SIGINT set."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    return stop


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
