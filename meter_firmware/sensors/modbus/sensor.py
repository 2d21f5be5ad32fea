"""A sensor on Modbus: it reads the blocks of its device's table, and makes quantities of them.

>>> sensor = ModbusSensor(PZEM004T, bus, address=0xF8)  # doctest: +SKIP
>>> await sensor.read()  # doctest: +SKIP
{'voltage': 231.0, …}
"""

from __future__ import annotations

import asyncio
import logging
from time import monotonic

from meter_firmware.sensors.modbus.bus import Bus, NoAnswerError, Query, RefusedError
from meter_firmware.sensors.modbus.plausible import complaints
from meter_firmware.sensors.modbus.table import Device, Words
from meter_firmware.sensors.sensor import Measurement, SensorError
from meter_firmware.sensors.wiring import Wiring

_log = logging.getLogger(__name__)

LONGEST_PAUSE = 60.0
WRONG_VARIANT = "values are not plausible: wrong variant?"


class Patience:
    """Leaves a silent device alone for a while, longer each time, so that the others of its bus are read."""

    def __init__(self) -> None:
        self._silent = 0
        self._until = 0.0

    def check(self, detail: str) -> None:
        """SensorError while it is left alone."""
        left = self._until - monotonic()
        if left > 0:
            raise SensorError("sensor does not answer", f"{detail}: it is asked again in {left:.0f} s")

    def silent(self) -> None:
        """It did not answer."""
        self._silent += 1
        self._until = monotonic() + min(LONGEST_PAUSE, 2.0 ** min(self._silent, 6))

    def answered(self) -> None:
        """It did."""
        self._silent, self._until = 0, 0.0


class ModbusSensor:
    """A device on a bus."""

    def __init__(self, device: Device, bus: Bus, *, address: int, wiring: Wiring | None = None) -> None:
        self._device = device
        self._bus = bus
        self._address = address
        self._wiring = wiring or Wiring()
        self._patience = Patience()
        self.missing: set[tuple[int, int]] = set()
        """Blocks that the device does not have."""
        self._trusted = not device.checked
        self.quiet = False
        """Whether registers that are not there are worth no warning."""
        self._joined = True
        bus.join()

    @property
    def measures(self) -> tuple[str, ...]:
        """The quantities that it gives when it is well."""
        return self._wiring.measures(self._device.measures)

    async def read(self) -> Measurement:
        """One request for each block of registers; SensorError if an answer is not good."""
        place = f"{self._bus.place} address {self._address}"
        async with self._bus.turn:
            if self._bus.units > 1:
                self._patience.check(place)
            try:
                words = await asyncio.to_thread(self.words)
            except NoAnswerError:
                self._patience.silent()
                raise
        self._patience.answered()
        return self._wiring.applied(self._measured(words, place))

    def words(self) -> dict[int, int]:
        """The registers of all blocks; SensorError if an answer is not good."""
        found: dict[int, int] = {}
        for block in self._device.blocks:
            if block not in self.missing:
                found |= self._block(block, others=bool(found))
        return found

    def decoded(self, words: Words) -> Measurement:
        """What the registers tell."""
        return self._device.decode(words)

    def _block(self, block: tuple[int, int], *, others: bool) -> dict[int, int]:
        """One block; a device that gave ``others`` may not have this one, and is not asked again."""
        first, count = block
        device = self._device
        query = Query(
            *(self._address, device.function, first, count),
            size=4 if device.wide else 2,
            seconds=device.answer_seconds,
        )
        try:
            return dict(enumerate(self._bus.read(query), first))
        except RefusedError as error:
            if not others:
                raise
            self.missing.add(block)
            level = logging.DEBUG if self.quiet else logging.WARNING
            _log.log(level, "%s: it has no registers %#06x to %#06x", error.detail, first, first + count - 1)
            return {}

    def _measured(self, words: dict[int, int], place: str) -> Measurement:
        measured = self.decoded(words)
        if not measured:
            raise SensorError("sensor measures nothing", f"{place}: registers {list(words.values())}")
        if not self._trusted:
            wrong = complaints(measured)
            if wrong:
                raise SensorError(WRONG_VARIANT, f"{place} as {self._device.name}: {', '.join(wrong)}")
            self._trusted = True
        return measured

    def close(self) -> None:
        """Close the port; another sensor on the bus, or a later read, opens it again."""
        if self._joined:
            self._joined = False
            self._bus.leave()
        else:
            self._bus.close()
