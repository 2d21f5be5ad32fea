"""Reads the sensor at the interval and puts every reading into the outbox, connected or not.

A failed read gives a reading without quantities: never old values, never zeros. Reading instants
are a fixed grid; instants that were missed (a slow sensor, a suspended machine) are left out.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable
from dataclasses import dataclass

from meter_firmware import clock
from meter_firmware.faults import Faults
from meter_firmware.outbox import Outbox
from meter_firmware.readings import Readings
from meter_firmware.sensors.sensor import Measurement, Sensor, SensorError

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Rhythm:
    """Read every ``interval`` seconds, the first time ``offset`` seconds after the start."""

    interval: float
    offset: float = 0.0

    def following(self, elapsed: float) -> float:
        """The first instant that is later than ``elapsed`` seconds after the start."""
        if elapsed < self.offset:
            return self.offset
        return self.offset + (math.floor((elapsed - self.offset) / self.interval) + 1) * self.interval


class Sampler(Readings):
    """Owns the sensor."""

    def __init__(
        self,
        sensor: Sensor,
        outbox: Outbox,
        *,
        rhythm: Rhythm,
        faults: Faults,
        synchronized: Callable[[], bool],
    ) -> None:
        super().__init__(outbox, faults=faults, synchronized=synchronized)
        self._sensor = sensor
        self._rhythm = rhythm
        self._failed_in_a_row = 0

    async def run(self) -> None:
        """Read for ever."""
        loop = asyncio.get_running_loop()
        start = loop.time()
        due = self._rhythm.offset
        while True:
            await asyncio.sleep(start + due - loop.time())
            await self._take()
            due = self._rhythm.following(loop.time() - start)

    async def _take(self) -> None:
        try:
            measurement = await self._measured()
            async with self._lock:
                await self._keep(measurement, clock.now())
        except OSError as error:  # StorageError and ClockError too
            self._tell_failure(error)
        self._tell_taken()

    async def _measured(self) -> Measurement:
        try:
            measurement = await self._sensor.read()
        except SensorError as error:
            self._failed_in_a_row += 1
            self._faults.tell(error.cause, error.detail)
            return {}
        if self._failed_in_a_row:
            _log.info("sensor answers again after %d failed reads", self._failed_in_a_row)
        self._failed_in_a_row = 0
        return measurement
