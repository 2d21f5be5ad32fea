"""A meter's newest reading, and what waits for the time, wherever its values come from.

`meter_firmware.sampler` reads a sensor at an interval; an adapter is told values by somebody else's device.
Both put readings into the outbox, connected or not, and serve a session in the same way.

>>> await readings.newer_than(7)  # doctest: +SKIP
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import cache, partial
from typing import Literal

from broker.contract.messages import MAX_SEQ
from broker.contract.notice import MeterNotice
from meter_firmware import clock
from meter_firmware.faults import Faults
from meter_firmware.outbox import Kept, Outbox
from meter_firmware.storage import StorageError

_log = logging.getLogger(__name__)

Time = Literal["ours", "theirs", "nobody's"]
"""Whose clock says when: this machine's, which NTP keeps or not; the device's; nobody's, an arrival."""


class Readings:
    """``latest`` is the newest reading of this run."""

    def __init__(
        self,
        outbox: Outbox,
        *,
        faults: Faults,
        synchronized: Callable[[], bool],
    ) -> None:
        self._outbox = outbox
        self._lock = asyncio.Lock()
        """Held while one is kept, and while names or times change; never while a sensor is waited for."""
        self._faults = faults
        self._synchronized = synchronized
        self._taken = asyncio.Event()
        self._holding = True
        self.latest: Kept | None = None

    async def run(self) -> None:
        """Take readings for ever."""
        raise NotImplementedError

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
            _tell_unsynchronized()

    async def rename(self, notice: MeterNotice) -> int | None:
        """Other readings have the names of these: `Outbox.rename`, while none is kept or goes out live."""
        async with self._lock:
            # None: else it might go out under its old name while it gets a new one. The history has it.
            latest, self.latest = self.latest, None
            rename = partial(self._outbox.rename, now=clock.now())
            bounds = {"first": notice.first or 1, "last": notice.seq or MAX_SEQ}
            renamed = await asyncio.to_thread(rename, notice.epoch or 0, **bounds)
            if renamed is None:
                self.latest = latest
            return renamed

    async def newer_than(self, seq: int) -> Kept:
        """The latest reading, as soon as it is newer than ``seq``."""
        while self.latest is None or self.latest.seq <= seq:
            await self._taken.wait()
        return self.latest

    async def _keep(
        self, measured: Mapping[str, float | bool], ts: datetime, *, time: Time = "ours", live: bool = True
    ) -> None:
        """Put one reading into the outbox; the lock is ours. StorageError if the disk refuses.

        One that is not ``live`` goes out with the history.
        """
        told, holding = dict(measured), self._holding and time == "ours"
        if time == "nobody's" or (time == "ours" and not self._synchronized()):
            told["clock_synchronized"] = False
        kept = await self._outbox.added(told, ts=ts, held=holding)
        if live:
            self.latest = None if self._holding else kept

    def _tell_failure(self, error: OSError) -> None:
        """Count why a reading was not kept."""
        match error:
            case StorageError():
                cause = "reading could not be saved"
            case clock.ClockError():
                cause = "reading without a time"
            case _:  # no free file descriptor: the next reading may have one
                cause = "reading failed"
        self._faults.tell(cause, error)

    def _tell_taken(self) -> None:
        """Wake the tasks that wait for a newer reading."""
        self._taken.set()
        self._taken.clear()


@cache
def _tell_unsynchronized() -> None:
    """Once for all meters of the process."""
    _log.warning("NTP does not keep the clock: readings are marked (clock_synchronized false)")
