"""How long to wait before the next attempt: exponential with full jitter, capped.

Full jitter (a uniform draw between zero and the ceiling) keeps ten thousand meters from coming
back in step after a broker restart.

>>> backoff = Backoff(first=1.0, cap=60.0)
>>> 0 <= backoff.next() <= 1.0 and 0 <= backoff.next() <= 2.0
True
"""

from __future__ import annotations

import asyncio
import random


class Backoff:
    """Delays in seconds: each drawn from 0 … ceiling, the ceiling doubling from ``first`` to ``cap``."""

    def __init__(self, *, first: float = 1.0, cap: float = 60.0) -> None:
        self._first = first
        self._cap = cap
        self._ceiling = first

    def next(self) -> float:
        """The next delay in seconds."""
        delay = random.uniform(0, self._ceiling)
        self._ceiling = min(self._cap, 2 * self._ceiling)
        return delay

    def reset(self) -> None:
        """Begin again at ``first``: the last attempt was a success."""
        self._ceiling = self._first


def heed_cancellation() -> None:
    """Raise CancelledError if our task is to end, though the end of a connection has hidden that.

    A client's ``async with`` that is cancelled while the broker is away ends with MqttError instead: a caller
    that caught it calls this before the next attempt, or it would go on for ever.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
