"""Simulated meters on a wire: pseudo-terminals that send telegrams, or answer requests.

>>> codes({"power": -512.0}, net=False)
{'1.7.0': (Decimal('0'), 'W'), '2.7.0': (Decimal('512.0'), 'W')}
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from decimal import Decimal

from broker.contract.quantities import INSTEAD, QUANTITIES
from meter_firmware.sensors.sensor import Measurement
from meter_firmware.sensors.telegrams.obis import PHASES, TABLE
from meter_firmware.sensors.terminal import terminal

FRAME = "8N1"
"""A pseudo-terminal has no other."""
Measure = Callable[[], Measurement]
Answer = Callable[[bytes], tuple[bytes, int]]
"""From what was received to what is sent, and how many bytes of the former that answers."""

SIMULATES = tuple(
    name
    for name in QUANTITIES
    if name in ("power", "energy_import", "energy_export")
    or name in {f"{base}_l{phase}" for base in ("voltage", "current", "power") for phase in PHASES}
)
"""What simulated meters measure: three phases and two directions."""
_POWERS = ("power", "power_l1", "power_l2", "power_l3")


def codes(measured: Measurement, *, net: bool) -> dict[str, tuple[Decimal, str]]:
    """Code → value and unit; active power as a net value, or as import and export."""
    found: dict[str, tuple[Decimal, str]] = {}
    told = {INSTEAD.get(name, name): value for name, value in measured.items()}
    for row in TABLE:
        other_form = row.quantity in _POWERS and bool(row.minus) == net
        if row.quantity not in told or other_form:
            continue
        value = Decimal(str(told[row.quantity]))
        found[row.plus] = max(value, Decimal(0)) if row.minus else value, row.unit
        if row.minus:
            found[row.minus] = max(-value, Decimal(0)), row.unit
    return found


@asynccontextmanager
async def sending(telegram: Callable[[], bytes], *, every: float) -> AsyncIterator[str]:
    """A meter that sends a telegram ``every`` so many seconds; gives the port's name."""
    async with terminal() as (master, name):

        async def send() -> None:
            while True:
                with suppress(BlockingIOError):  # nobody reads
                    os.write(master, telegram())
                await asyncio.sleep(every)

        task = asyncio.create_task(send(), name=f"meter at {name}")
        try:
            yield name
        finally:
            task.cancel()
            await asyncio.wait({task})


@asynccontextmanager
async def answering(answer: Answer) -> AsyncIterator[str]:
    """A meter that answers requests; gives the port's name."""
    loop = asyncio.get_running_loop()
    async with terminal() as (master, name):
        received = bytearray()

        def serve() -> None:
            received.extend(os.read(master, 256))
            reply, used = answer(bytes(received))
            del received[:used]
            if reply:
                os.write(master, reply)

        loop.add_reader(master, serve)
        try:
            yield name
        finally:
            loop.remove_reader(master)
