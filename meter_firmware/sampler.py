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
from functools import partial

from broker.contract.messages import MAX_SEQ
from broker.contract.notice import MeterNotice
from meter_firmware import clock
from meter_firmware.faults import Faults
from meter_firmware.outbox import Kept, Outbox
from meter_firmware.sensors.sensor import Measurement, Sensor, SensorError
from meter_firmware.storage import StorageError

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


class Sampler:
    """Owns the sensor; ``latest`` is the newest reading of this run."""

    def __init__(
        self,
        sensor: Sensor,
        outbox: Outbox,
        *,
        rhythm: Rhythm,
        lock: asyncio.Lock,
        faults: Faults,
        synchronized: Callable[[], bool],
    ) -> None:
        self._sensor = sensor
        self._outbox = outbox
        self._rhythm = rhythm
        self._lock = lock
        self._faults = faults
        self._taken = asyncio.Event()
        self._synchronized = synchronized
        self._failed_in_a_row = 0
        self._holding = True
        self.latest: Kept | None = None

    async def run(self) -> None:
        """Read for ever."""
        loop = asyncio.get_running_loop()
        start = loop.time()
        due = self._rhythm.offset
        while True:
            await asyncio.sleep(start + due - loop.time())
            await self._take()
            due = self._rhythm.following(loop.time() - start)

    async def release(self) -> None:
        """Let readings be published from now on; those taken before get their right times if possible."""
        async with self._lock:
            synchronized = self._synchronized()
            corrected = await asyncio.to_thread(self._outbox.release, synchronized=synchronized)
            self._holding = False
            self.latest = None  # the history has it, with its right time
        if corrected:
            _log.info("the time is known now: it was put right in %d readings", corrected)
        elif not synchronized:
            _log.warning("NTP does not keep the clock: readings are marked (clock_synchronized false)")

    async def rename(self, notice: MeterNotice) -> int | None:
        """Other readings have the names of these: `Outbox.rename`, while none is taken."""
        async with self._lock:
            rename = partial(self._outbox.rename, now=clock.now())
            bounds = {"first": notice.first or 1, "last": notice.seq or MAX_SEQ}
            renamed = await asyncio.to_thread(rename, notice.epoch or 0, **bounds)
            if renamed is not None:
                self.latest = None  # the history has it, with its new name
            return renamed

    async def newer_than(self, seq: int) -> Kept:
        """The latest reading, as soon as it is newer than ``seq``."""
        while self.latest is None or self.latest.seq <= seq:
            await self._taken.wait()
        return self.latest

    async def _take(self) -> None:
        try:
            async with self._lock:
                measurement = await self._measured()
                ts, told = clock.now(), dict(measurement)
                if not self._synchronized():
                    told["clock_synchronized"] = False
                kept = await asyncio.to_thread(self._outbox.add, told, ts=ts, held=self._holding)
                self.latest = None if self._holding else kept
        except StorageError as error:
            self._faults.tell("reading could not be saved", error)
        except clock.ClockError as error:
            self._faults.tell("reading without a time", error)
        except OSError as error:  # no free file descriptor: the next reading may have one
            self._faults.tell("reading failed", error)
        self._taken.set()
        self._taken.clear()

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
