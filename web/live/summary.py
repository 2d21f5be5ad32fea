"""Summary of the fleet: meters by state, switched off, total power.

>>> Sum().told()
{'meters': 0, 'online': 0, 'stale': 0, 'offline': 0, 'switched_off': 0, 'power': 0.0}
"""

from __future__ import annotations

from typing import Any, Literal, get_args

from broker.contract.fleet import MeterState
from broker.contract.relay import Position

ShownState = Literal["online", "stale", "offline"]
"""A meter's state on the page and in the API: of `broker.contract.fleet.State`; out of service is offline."""
STATES: tuple[str, ...] = get_args(ShownState)


class Sum:
    """Of the whole fleet, or of one address code."""

    def __init__(self) -> None:
        self._states = dict.fromkeys(STATES, 0)
        self._off = 0
        self._power = 0.0

    def add(self, meter: MeterState, state: str) -> None:
        """Count ``meter``, which is in ``state``."""
        self._states[state] += 1
        self._off += meter.relay is not None and meter.relay.position is Position.OPEN
        if state == "online" and meter.reading is not None and meter.reading.power is not None:
            self._power += meter.reading.power

    def told(self) -> dict[str, Any]:
        """Power in W, of those that are online."""
        meters = sum(self._states.values())
        return {"meters": meters, **self._states, "switched_off": self._off, "power": round(self._power, 1)}
