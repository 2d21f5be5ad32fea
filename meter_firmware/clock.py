"""The meter's clock: whether it is set at all.

A Raspberry Pi has no battery clock: until NTP answers, it may believe in 1970. Nothing leaves the
meter with such a time.

>>> now().tzname()
'UTC'
"""

from __future__ import annotations

import asyncio
import logging
from datetime import datetime

from broker.errors import UnavailableError
from broker.messages import EARLIEST, utc_now

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


async def pause(stop: asyncio.Event, *, seconds: float) -> None:
    """Sleep ``seconds``, or less when ``stop`` comes."""
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        return
