"""Readings of what a device tells, when it tells it; silence becomes a reading without quantities.

A reading has the device's time where it tells one that can be true; else the time of arrival, marked
(``clock_synchronized`` false). What comes from the device's memory goes out with the history.

>>> sane(datetime(1970, 1, 1, tzinfo=UTC), now=datetime(2026, 11, 30, tzinfo=UTC), historical=True)
False
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta  # noqa: F401 - UTC is for the example

from adapters.family import Measured, Values
from broker.contract.messages import EARLIEST, FUTURE_TOLERANCE
from meter_firmware import clock
from meter_firmware.faults import Faults
from meter_firmware.outbox import Outbox
from meter_firmware.readings import Readings, Time

WAITING = 1000
"""Values that wait for the disk; then the oldest is dropped."""
OLDEST_LIVE = timedelta(hours=1)
"""A live value's time further back is that of a clock that is wrong."""
OLDEST_HISTORY = timedelta(days=366)
SILENT_INTERVALS = 3.0


def sane(at: datetime, *, now: datetime, historical: bool) -> bool:
    """Whether the device's time can be true."""
    oldest = OLDEST_HISTORY if historical else OLDEST_LIVE
    return max(EARLIEST, now - oldest) <= at <= now + FUTURE_TOLERANCE


@dataclass(frozen=True)
class Told:
    """What waits to be kept."""

    measured: Measured
    ts: datetime
    time: Time
    live: bool = True


@dataclass
class Inbox:
    """What a device has told and the disk does not have yet; it outlives a restart of its meter."""

    waiting: deque[Told] = field(default_factory=deque)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    dropped: int = 0
    last: tuple[datetime, Measured] | None = None
    """Of the live values with a time: a second copy of the same message is none."""

    def put(self, values: Values, *, now: datetime, measured: Measured) -> str:
        """Take values; what is wrong with their time, or an empty text. Old ones without a time are left."""
        at, doubt = values.at, ""
        if at is not None and not sane(at, now=now, historical=values.historical):
            doubt = f"{values.key}: its clock says {at.isoformat()}"
            at = None
        if at is None and values.historical:
            return doubt or f"{values.key}: a value of its memory without a time"
        if at is not None and not values.historical:
            if self.last == (at, measured):
                return ""
            self.last = at, measured
        time: Time = "nobody's" if at is None else "theirs"
        self._append(Told(measured, at or now, time, live=not values.historical))
        return doubt

    def _append(self, told: Told) -> None:
        if len(self.waiting) >= WAITING:
            self.waiting.popleft()
            self.dropped += 1
        self.waiting.append(told)
        self.arrived.set()


class ToldReadings(Readings):
    """Keeps what comes into the ``inbox``; ``interval`` in seconds."""

    def __init__(
        self,
        inbox: Inbox,
        outbox: Outbox,
        *,
        interval: float,
        faults: Faults,
        synchronized: Callable[[], bool],
        present: Callable[[], bool],
    ) -> None:
        super().__init__(outbox, faults=faults, synchronized=synchronized)
        self._inbox = inbox
        self._interval = interval
        self._present = present
        """Whether the device is there: one that says that it is not, is not silent."""

    async def run(self) -> None:
        """Keep what is told, for ever."""
        patience = SILENT_INTERVALS * self._interval
        while True:
            if await self._told_within(patience):
                patience = SILENT_INTERVALS * self._interval
                while self._inbox.waiting:
                    await self._take(self._next)
            else:
                patience = self._interval
                if self._present():
                    self._faults.tell("device is silent", f"no values for {SILENT_INTERVALS:g} intervals")
                    await self._take(self._nothing)

    def flush(self) -> None:
        """Keep what waits, before the file is closed; StorageError if the disk refuses."""
        while self._inbox.waiting:
            told = self._inbox.waiting.popleft()
            mark = {"clock_synchronized": False} if told.time == "nobody's" else {}
            self._outbox.add({**told.measured, **mark}, ts=told.ts)

    async def _told_within(self, seconds: float) -> bool:
        if not self._inbox.waiting:
            self._inbox.arrived.clear()
            over = asyncio.get_running_loop().call_later(seconds, self._inbox.arrived.set)
            try:
                await self._inbox.arrived.wait()
            finally:
                over.cancel()
        return bool(self._inbox.waiting)

    async def _take(self, what: Callable[[], Told]) -> None:
        """Keep one reading; what the disk does not take is lost, and counted, as at a sensor."""
        try:
            async with self._lock:
                told = what()
                await self._keep(told.measured, told.ts, time=told.time, live=told.live)
        except OSError as error:  # StorageError and ClockError too
            self._tell_failure(error)
        self._tell_taken()

    def _next(self) -> Told:
        return self._inbox.waiting.popleft()

    @staticmethod
    def _nothing() -> Told:
        return Told({}, clock.now(), "ours")
