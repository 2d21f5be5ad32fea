"""How a meter with telegrams is installed: the other way round, or behind current transformers.

>>> asyncio.run(WiredSensor(sensor, Wiring(reverse=True)).read())["power"]  # doctest: +SKIP
-401.0
"""

from __future__ import annotations

from meter_firmware.sensors.sensor import Measurement, Sensor
from meter_firmware.sensors.wiring import Wiring
from meter_firmware.settings import SensorSettings


class WiredSensor:
    """``sensor``, whose measurements ``wiring`` puts right."""

    def __init__(self, sensor: Sensor, wiring: Wiring) -> None:
        self._sensor = sensor
        self._wiring = wiring

    @property
    def measures(self) -> tuple[str, ...]:
        """The quantities of the latest telegram; none before the first."""
        return self._wiring.measures(self._sensor.measures)

    async def read(self) -> Measurement:
        """As that of the sensor; SensorError as there."""
        return self._wiring.applied(await self._sensor.read())

    def close(self) -> None:
        """Give the port back."""
        self._sensor.close()


def wired(sensor: Sensor, settings: SensorSettings) -> Sensor:
    """The sensor, installed as the settings say."""
    wiring = Wiring(settings.reverse, settings.ratio)
    return sensor if wiring == Wiring() else WiredSensor(sensor, wiring)
