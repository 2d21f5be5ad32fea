"""A household behind a relay: what is not drawn while it is open is not counted.

>>> supply = Supply(Household(seed=1, number=7))
>>> before = supply.measure(1.8e9)["energy"]
>>> supply.switch(closed=False, t=1.8e9)
>>> supply.measure(1.8e9 + 36_000)["energy"] - before <= 1
True
"""

from __future__ import annotations

from meter_firmware.sensors.household import Household
from meter_firmware.sensors.sensor import Measurement


class Supply:
    """``closed``: the house has power."""

    def __init__(self, household: Household) -> None:
        self._household = household
        self.closed = True
        self._unused = 0.0
        self._opened_at = 0.0

    def switch(self, *, closed: bool, t: float) -> None:
        """Open or close the relay at ``t`` seconds since 1970."""
        if closed and not self.closed:
            self._unused += self._since_opened(t)
        elif self.closed and not closed:
            self._opened_at = t
        self.closed = closed

    def measure(self, t: float) -> Measurement:
        """What the meter shows at ``t``."""
        unused = self._unused + (0.0 if self.closed else self._since_opened(t))
        return self._household.measure(t, supplied=self.closed, unused=unused)

    def _since_opened(self, t: float) -> float:
        return self._household.energy(max(t, self._opened_at)) - self._household.energy(self._opened_at)
