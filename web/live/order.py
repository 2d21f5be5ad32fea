"""In which order the meters are listed: those with an alarm first, or by a column of the table.

>>> sorted_by(live, ["aaaa…", "bbbb…"], Sort.ALARMS)  # doctest: +SKIP
['bbbb…', 'aaaa…']
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Any

from broker.contract.fleet import MeterState
from broker.contract.names import by_name
from broker.contract.quantities import INSTEAD
from web.live.state import Live
from web.live.summary import STATES


class Sort(StrEnum):
    """What the meters are sorted by; then by name."""

    ALARMS = "alarms"
    NAME = "name"
    STATE = "state"
    POWER = "power"
    VOLTAGE = "voltage"
    CURRENT = "current"
    ENERGY = "energy"
    ADDRESS_CODE = "address_code"
    READ = "read"


WORDS = {
    Sort.ALARMS: "alarms first",
    Sort.NAME: "name",
    Sort.STATE: "offline first",
    Sort.POWER: "power, highest first",
    Sort.VOLTAGE: "voltage, highest first",
    Sort.CURRENT: "current, highest first",
    Sort.ENERGY: "energy, highest first",
    Sort.ADDRESS_CODE: "address code",
    Sort.READ: "read, oldest first",
}
"""For people."""
_WORST_FIRST = {state: place for place, state in enumerate(reversed(STATES))}


def sorted_by(live: Live, meter_ids: list[str], sort: Sort) -> list[str]:
    """``meter_ids``, which are in the order of names, sorted; what a meter has no value for comes last.

    A meter that was never read counts as the oldest.
    """
    if sort is Sort.NAME:
        return meter_ids
    key = _key_of(live, sort)
    return sorted(meter_ids, key=lambda one: key(live.fleet.meters[one]))


def _key_of(live: Live, sort: Sort) -> Callable[[MeterState], Any]:
    if sort is Sort.ALARMS:
        return lambda meter: meter.meter_id not in live.alarms
    if sort is Sort.STATE:
        return lambda meter: _WORST_FIRST[live.state(meter)]
    if sort is Sort.ADDRESS_CODE:
        return lambda meter: by_name(meter.birth.address_code if meter.birth else "", "")
    if sort is Sort.READ:
        return lambda meter: meter.reading.ts.timestamp() if meter.reading else 0.0
    return lambda meter: -_value(meter, sort.value)


def _value(meter: MeterState, name: str) -> float:
    """Of what the table shows as ``name``; the lowest of all without it."""
    for one in (name, INSTEAD.get(name, name)):
        if (value := getattr(meter.reading, one, None)) is not None:
            return float(value)
    return float("-inf")
