"""The meter's clock: whether it is set at all, and whether it can be trusted.

A Raspberry Pi has no battery clock: until NTP answers, it believes in 1970, or in the time at which it was
switched off. With a time of 1970 nothing leaves the meter. A time that nothing keeps right is awaited for a
while after the start of the machine; readings taken meanwhile are held back, and get their right times by the
clock that nobody sets (`Outbox.release`).

>>> now().tzname()
'UTC'
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime

from broker.contract.errors import UnavailableError
from broker.contract.messages import EARLIEST, utc_now
from broker.kernel import uptime_ms

_log = logging.getLogger(__name__)


class ClockError(UnavailableError):
    """The clock is not set; it may be in a moment."""


def now() -> datetime:
    """Now in UTC with milliseconds; ClockError if the clock was never set."""
    ts = utc_now()
    if ts < EARLIEST:
        raise ClockError(
            f"the clock says {ts.isoformat()}: it was never set; start NTP (timedatectl set-ntp on)"
        )
    return ts


async def until_set(stop: asyncio.Event) -> None:
    """Wait until the clock is set, or until ``stop``."""
    told = False
    while not stop.is_set():
        try:
            now()
        except ClockError as error:
            if not told:
                _log.warning("waiting for the time: %s", error)
            told = True
            await pause(stop, seconds=1.0)
        else:
            return


async def until_known(stop: asyncio.Event, *, synchronized: Callable[[], bool], wait: float) -> None:
    """Wait until NTP keeps the clock, until the machine has run for ``wait`` seconds, or until ``stop``."""
    if _waits(synchronized, wait):
        _log.info("waiting for NTP, at most until %g s after the start of this machine", wait)
    while not stop.is_set() and _waits(synchronized, wait):
        await pause(stop, seconds=0.2)


def _waits(synchronized: Callable[[], bool], wait: float) -> bool:
    return uptime_ms() < wait * 1000 and not synchronized()


async def pause(stop: asyncio.Event, *, seconds: float) -> None:
    """Sleep ``seconds``, or less when ``stop`` comes."""
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        return
