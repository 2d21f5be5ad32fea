"""Sensors that answer a request on a line, one at a time; after a failed read the port is opened anew.

>>> sensor = PolledSensor(Line("/dev/ttyUSB0", baud_rate=2400, frame="8E1"), exchange)  # doctest: +SKIP
>>> await sensor.read()  # doctest: +SKIP
{'voltage_l1': 231.0, …}
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any

from meter_firmware.sensors.sensor import Measurement, SensorError
from meter_firmware.sensors.telegrams.line import ERRORS, Line, received

STEP_SECONDS = 0.1
BITS, SLOWNESS = 10, 2
"""Of a byte on the line; an answer may take so many times as long as the line needs for the longest one."""


class Talk:
    """An open port while one answer is awaited; ``over`` ends it."""

    def __init__(self, port: Any, over: threading.Event) -> None:
        self.port = port
        self._over = over
        self._received = b""

    def send(self, request: bytes) -> None:
        """Send ``request``; what came before it is no answer to it."""
        self.port.reset_input_buffer()
        self._received = b""
        self.port.write(request)
        self.port.flush()

    def until(self, found: Callable[[bytes], int], *, silence: float, longest: int) -> bytes:
        """What came since the request, up to the end that ``found`` gives (0: not yet).

        SensorError if nothing comes for ``silence`` s, or there is no end in ``longest`` bytes.
        """
        quiet_until = time.monotonic() + silence
        at_most = quiet_until + SLOWNESS * BITS * longest / self.port.baudrate
        while not (end := found(self._received)):
            if len(self._received) > longest:
                raise SensorError("sensor answer is damaged", f"{len(self._received)} bytes without an end")
            if self._over.is_set() or time.monotonic() > quiet_until:
                raise self._silent(silence)
            if time.monotonic() > at_most:
                what = f"{len(self._received)} bytes without an end, slower than {self.port.baudrate} Bd"
                raise SensorError("sensor answer is damaged", what)
            if data := received(self.port):
                self._received += data
                quiet_until = time.monotonic() + silence
        answer, self._received = self._received[:end], self._received[end:]
        return answer

    def _silent(self, silence: float) -> SensorError:
        if self._received:
            return SensorError("sensor answer is damaged", f"no end of it: {self._received[-60:]!r}")
        return SensorError("sensor does not answer", f"silent for {silence:g} s")


class PolledSensor:
    """A sensor that ``exchange`` asks; it raises SensorError, or one of ERRORS for a port that is gone."""

    def __init__(self, line: Line, exchange: Callable[[Talk], Measurement]) -> None:
        self._line = line
        self._exchange = exchange
        self._port: Any = None
        self._busy = threading.Lock()
        self._over = threading.Event()
        self._measures: tuple[str, ...] = ()

    @property
    def measures(self) -> tuple[str, ...]:
        """The quantities of the latest answer; none before the first."""
        return self._measures

    async def read(self) -> Measurement:
        """Ask once; SensorError if there is no good answer."""
        measurement = await asyncio.to_thread(self._read)
        self._measures = tuple(measurement)
        return measurement

    def _read(self) -> Measurement:
        with self._busy:
            self._over.clear()
            try:
                if self._port is None:
                    self._port = self._line.open(timeout=STEP_SECONDS)
                if self._port.baudrate != self._line.baud_rate:
                    self._port.baudrate = self._line.baud_rate
                measurement = self._exchange(Talk(self._port, self._over))
            except SensorError as error:
                self._shut()
                raise SensorError(error.cause, f"{self._line.url}: {error.detail}") from error
            except ERRORS as error:
                self._shut()
                raise SensorError("sensor port is not available", f"{self._line.url}: {error}") from error
        return measurement

    def close(self) -> None:
        """Close the port; a read that is under way ends."""
        self._over.set()
        with self._busy:
            self._shut()

    def _shut(self) -> None:
        port, self._port = self._port, None
        if port is not None:
            port.close()
