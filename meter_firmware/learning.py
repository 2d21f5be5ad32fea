"""A meter whose sensor does not know what it measures before its first telegram has come.

The birth names what a meter gives, and SCL and MMS follow from it, so the meter begins when that is known:
from the first good measurement, or, if none comes now, from what an earlier one gave, which data_dir keeps.

>>> remembered(Path("/nowhere/quantities.json"), kind="p1")
()
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from pathlib import Path

from broker import durable
from broker.contract.quantities import QUANTITIES
from meter_firmware import clock
from meter_firmware.faults import Faults
from meter_firmware.meter import Meter
from meter_firmware.sensors.sensor import Measurement, Sensor, SensorError

_log = logging.getLogger(__name__)

FILE_NAME = "quantities.json"
RETRY_SECONDS = 5.0


class LearningMeter:
    """Runs the meter that ``build`` makes of the quantities, once they are known."""

    def __init__(
        self, sensor: Sensor, build: Callable[[tuple[str, ...]], Meter], *, kind: str, data_dir: Path
    ) -> None:
        self._sensor = sensor
        self._build = build
        self._kind = kind
        self._path = data_dir / FILE_NAME
        self._faults = Faults(f"meter in {data_dir}", logger=_log)

    async def run(self, stop: asyncio.Event) -> None:
        """Learn, then be the meter, until ``stop``; the errors of `Meter.run`."""
        quantities = await self._learned(stop)
        if quantities:
            await self._build(quantities).run(stop)
        else:
            await asyncio.to_thread(self._sensor.close)

    async def _learned(self, stop: asyncio.Event) -> tuple[str, ...]:
        """What the sensor measures; empty only if ``stop`` came first."""
        while not stop.is_set():
            try:
                measured = await self._read(stop)
            except SensorError as error:
                self._faults.tell(error.cause, error.detail)
                if known := await asyncio.to_thread(remembered, self._path, kind=self._kind):
                    return known
                await clock.pause(stop, seconds=RETRY_SECONDS)
                continue
            if quantities := tuple(name for name in QUANTITIES if name in measured):
                await asyncio.to_thread(self._remember, quantities)
                return quantities
        return ()

    async def _read(self, stop: asyncio.Event) -> Measurement:
        """A measurement; none if ``stop`` comes first."""
        reading = asyncio.ensure_future(self._sensor.read())
        stopping = asyncio.ensure_future(stop.wait())
        try:
            await asyncio.wait({reading, stopping}, return_when=asyncio.FIRST_COMPLETED)
            return reading.result() if reading.done() else {}
        finally:
            reading.cancel()
            stopping.cancel()

    def _remember(self, quantities: tuple[str, ...]) -> None:
        content = json.dumps({"kind": self._kind, "quantities": quantities}, indent=1)
        try:
            durable.replace(self._path, content.encode(), mode=durable.PUBLIC)
        except OSError as error:
            self._faults.tell("what the sensor measures could not be kept", error)


def remembered(path: Path, *, kind: str) -> tuple[str, ...]:
    """The quantities of an earlier run with a sensor of this kind; none if there is no good file."""
    try:
        told = json.loads(path.read_text())
        if told["kind"] == kind:
            return tuple(name for name in QUANTITIES if name in told["quantities"])
    except FileNotFoundError:
        pass
    except (OSError, ValueError, LookupError, TypeError) as error:
        _log.warning("%s is not used: %s", path, error)
    return ()
