"""Whether this machine's clock can be trusted just now.

A clock that was set leaps against the time since the machine's start, which nobody sets. For a while after a
leap nothing is decided for good: what came before it was judged by another time.

>>> Clock(leap_ms=2000).in_doubt
False
"""

from __future__ import annotations

import logging
import threading
from time import monotonic

from bridge.store import audit

log = logging.getLogger(__name__)

DOUBT_SECONDS = 60.0
"""After a leap; all that waited for the right time is taken within seconds."""
LEAP_MS = 2000
"""NTP moves a clock by half a millisecond in a second; what is more was set."""


class Clock:
    """Any thread may ask; each time is a look at the clock."""

    def __init__(self, *, leap_ms: int = LEAP_MS, doubt_seconds: float = DOUBT_SECONDS) -> None:
        self._leap_ms = leap_ms
        self._doubt_seconds = doubt_seconds
        self._lock = threading.Lock()
        self._ahead = _ahead()
        self._leapt_at = -doubt_seconds
        self.leaps = 0
        """How often the clock was set since we began to look."""

    @property
    def in_doubt(self) -> bool:
        """Whether it was set within the last minute."""
        with self._lock:
            ahead = _ahead()
            if abs(leap := ahead - self._ahead) > self._leap_ms:
                log.warning("this machine's clock was set by %+.1f s", leap / 1000)
                self._leapt_at = monotonic()
                self.leaps += 1
            self._ahead = ahead
            return monotonic() - self._leapt_at < self._doubt_seconds


def _ahead() -> float:
    """ms from the time since the machine's start to the clock's."""
    return audit.now_ms() - monotonic() * 1000
