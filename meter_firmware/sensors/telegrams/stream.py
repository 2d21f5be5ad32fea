"""Sensors that send telegrams at their own pace: a thread reads the line, ``read()`` waits for the next one.

A telegram gives one measurement: ``read()`` never gives it again, and never gives one that is older than
:data:`FRESH_SECONDS`. After a failed read the port is opened anew by the next one.

>>> sensor = StreamSensor(Line("/dev/ttyUSB0", baud_rate=9600), SmlDecoder, patience=6)  # doctest: +SKIP
>>> await sensor.read()  # doctest: +SKIP
{'voltage_l1': 231.0, …}
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from meter_firmware.sensors.sensor import Measurement, SensorError
from meter_firmware.sensors.telegrams.decoder import Damaged, Decoder
from meter_firmware.sensors.telegrams.line import ERRORS, Line, received

FRESH_SECONDS = 1.5
STEP_SECONDS = 0.2
"""For which the thread waits for bytes; telegrams are noticed, and it ends, after this time at the latest."""


@dataclass
class _Watch:
    """One thread at one open port, and what it has seen; its lock is held for moments only."""

    loop: asyncio.AbstractEventLoop
    before: threading.Thread | None = None
    """It may still have the port open."""
    news: asyncio.Event = field(default_factory=asyncio.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)
    over: bool = False
    listening: bool = False
    latest: tuple[Measurement, float] | None = None
    """With the time of its arrival (monotonic)."""
    received: int = 0
    """Bytes since the last measurement was taken."""
    damage: str = ""
    failure: str = ""

    def tell(self) -> None:
        """Wake the task that reads."""
        with suppress(RuntimeError):  # the loop is closed: nobody waits
            self.loop.call_soon_threadsafe(self.news.set)


class StreamSensor:
    """A sensor whose telegrams ``decoder`` decodes; ``patience`` s are enough for the next one to come."""

    def __init__(self, line: Line, decoder: Callable[[], Decoder], *, patience: float) -> None:
        self._line = line
        self._decoder = decoder
        self._patience = patience
        self._watch: _Watch | None = None
        self._thread: threading.Thread | None = None
        self._measures: tuple[str, ...] = ()

    @property
    def measures(self) -> tuple[str, ...]:
        """The quantities of the latest telegram; none before the first."""
        return self._measures

    async def read(self) -> Measurement:
        """The measurement of a telegram that has just come, or comes next; SensorError: why none came."""
        loop = asyncio.get_running_loop()
        watch = self._watch
        if watch is None or watch.loop is not loop:
            watch = self._watch = self._started(loop)
        try:
            async with asyncio.timeout(self._patience):
                measurement = await self._next(watch)
        except TimeoutError:
            self._drop()
            raise self._missing(watch) from None
        self._measures = tuple(measurement)
        return measurement

    async def _next(self, watch: _Watch) -> Measurement:
        while True:
            watch.news.clear()
            with watch.lock:
                latest, watch.latest = watch.latest, None
                if latest is not None and time.monotonic() - latest[1] <= FRESH_SECONDS:
                    watch.received, watch.damage = 0, ""
                    return latest[0]
                failure = watch.failure
            if failure:
                self._drop()
                raise SensorError("sensor port is not available", failure)
            await watch.news.wait()

    def _missing(self, watch: _Watch) -> SensorError:
        where = f"{self._line.url}: in {self._patience:g} s"
        if watch.damage:
            return SensorError("sensor telegram is damaged", f"{where}: {watch.damage}")
        if watch.received:
            hint = "check sensor.baud_rate and sensor.frame, and whether the line must be inverted"
            return SensorError("sensor sends no telegram", f"{where} {watch.received} other bytes: {hint}")
        return SensorError("sensor sends nothing", where)

    def close(self) -> None:
        """Give the port back; that takes :data:`STEP_SECONDS`."""
        self._drop()
        if self._thread is not None:
            self._thread.join()

    def _drop(self) -> None:
        """The thread is to end; the next one waits for that."""
        watch, self._watch = self._watch, None
        if watch is not None:
            watch.over = True

    def _started(self, loop: asyncio.AbstractEventLoop) -> _Watch:
        watch = _Watch(loop, before=self._thread)
        name = f"line {self._line.url}"
        self._thread = threading.Thread(target=self._run, args=(watch,), name=name, daemon=True)
        self._thread.start()
        return watch

    def _run(self, watch: _Watch) -> None:
        if watch.before is not None:
            watch.before.join()
            watch.before = None
        try:
            port = self._line.open(timeout=STEP_SECONDS)
            try:
                self._listen(watch, port)
            finally:
                port.close()
        except ERRORS as error:
            with watch.lock:
                watch.failure = f"{self._line.url}: {error}"
            watch.tell()

    def _listen(self, watch: _Watch, port: object) -> None:
        decoder = self._decoder()
        watch.listening = True
        while not watch.over:
            data = received(port)
            for telegram in decoder.feed(data):
                self._note(watch, telegram)
            with watch.lock:
                watch.received += len(data)

    def _note(self, watch: _Watch, telegram: Measurement | Damaged) -> None:
        with watch.lock:
            if isinstance(telegram, Damaged):
                watch.damage = telegram.why
            else:
                watch.latest = telegram, time.monotonic()
        watch.tell()
