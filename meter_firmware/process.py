"""What a meter process and a simulator process share: they end on a signal, cleanly."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterable

from broker.errors import Meter61850Error
from meter_firmware.meter import Meter


def stop_on_signals() -> asyncio.Event:
    """An event that SIGTERM and SIGINT set."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    return stop


async def run_meters(meters: Iterable[Meter], stop: asyncio.Event) -> None:
    """Run all until ``stop``; the first Meter61850Error of any ends them all."""
    try:
        async with asyncio.TaskGroup() as group:
            for meter in meters:
                group.create_task(meter.run(stop))
    except BaseExceptionGroup as errors:
        ours, others = errors.split(Meter61850Error)
        if ours is None or others is not None:
            raise
        raise _leaf(ours) from None


def _leaf(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
