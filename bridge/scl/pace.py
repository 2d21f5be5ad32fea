"""How often the SCL may change: a meter whose births differ all the time does not make it change each second.

Each revision builds the SCD of all meters, is a row for ever, and makes every control centre import it again.

>>> pace = Pace()
>>> [pace.made(0.0) for _ in range(BURST)][-1], pace.wait(0.0), pace.wait(15.0)
(None, 30.0, 15.0)
"""

from __future__ import annotations

BURST = 100
"""Revisions that may follow each other at once, as when a town is installed meter by meter."""
SECONDS = 30.0
"""Until one more may follow, when the burst is used up; what changes meanwhile is in that one."""


class Pace:
    """A stock of revisions, which fills up again with time; ``now`` in monotonic seconds."""

    def __init__(self) -> None:
        self._stock = float(BURST)
        self._at = 0.0

    def made(self, now: float) -> None:
        """A revision was made."""
        self._fill(now)
        self._stock = max(0.0, self._stock - 1.0)

    def wait(self, now: float) -> float:
        """Seconds until the next one may be made."""
        self._fill(now)
        return max(0.0, 1.0 - self._stock) * SECONDS

    def _fill(self, now: float) -> None:
        self._stock = min(float(BURST), self._stock + max(0.0, now - self._at) / SECONDS)
        self._at = max(now, self._at)
