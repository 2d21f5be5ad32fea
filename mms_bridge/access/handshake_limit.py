"""Limits on running and new TLS handshakes: a flood from one address does not block other clients.

An accepted client takes 3 ms of the event loop (``bench/mms_tls.py``), a refused one not much less.

>>> budget = RateLimit(per_second=1.0, burst=2)
>>> [budget.take("10.0.0.5", now=0.0) for _ in range(3)], budget.take("10.0.0.5", now=1.0)
([True, True, False], True)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

SECONDS = 5.0
"""A handshake that takes longer is given up."""
PER_ADDRESS, IN_ALL = 32, 256
"""Handshakes under way at a time."""
RATE_PER_ADDRESS, BURST_PER_ADDRESS = 20.0, 250
"""Handshakes in a second: a control centre that comes back to 200 IEDs does so at once."""
RATE_IN_ALL, BURST_IN_ALL = 60.0, 400

_REMEMBERED = 4096


class RateLimit:
    """So many at once, and so many in each second after that, for each key."""

    def __init__(self, *, per_second: float, burst: int) -> None:
        self._per_second = per_second
        self._burst = burst
        self._left: dict[str, tuple[float, float]] = {}  # what was left, and when

    def take(self, key: str, *, now: float) -> bool:
        """One for ``key`` at monotonic ``now``, if there is one left."""
        left = self._now(key, now)
        if left < 1:
            return False
        if len(self._left) >= _REMEMBERED:
            self._left = {k: kept for k, kept in self._left.items() if self._now(k, now) < self._burst}
        self._left[key] = left - 1, now
        return True

    def _now(self, key: str, now: float) -> float:
        left, at = self._left.get(key, (float(self._burst), now))
        return min(float(self._burst), left + (now - at) * self._per_second)


class HandshakeLimit:
    """Those of all IEDs together."""

    def __init__(self) -> None:
        self._running: Counter[str] = Counter()
        self._by_address = RateLimit(per_second=RATE_PER_ADDRESS, burst=BURST_PER_ADDRESS)
        self._in_all = RateLimit(per_second=RATE_IN_ALL, burst=BURST_IN_ALL)

    def objection(self, ip: str, *, now: float) -> str:
        """Why none may begin from ``ip`` now; empty if one may, and it counts."""
        if self._running[ip] >= PER_ADDRESS or self._running.total() >= IN_ALL:
            return f"{self._running[ip]} handshakes of {ip} and {self._running.total()} in all are under way"
        if not self._by_address.take(ip, now=now) or not self._in_all.take("", now=now):
            return f"too many handshakes of {ip}, or in all, within a second"
        return ""

    @contextmanager
    def running(self, ip: str) -> Iterator[None]:
        """One is under way while the block runs."""
        self._running[ip] += 1
        try:
            yield
        finally:
            self._running[ip] -= 1
            if not self._running[ip]:
                del self._running[ip]
