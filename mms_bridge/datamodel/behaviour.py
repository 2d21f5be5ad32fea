"""Beh and Mod of a meter's logical device (IEC 61850-7-4, Annex A).

>>> behaviour_of(Known("3f2504e0-4f89-41d3-9a0c-0305e82c3301"))  # never born
<Behaviour.OFF: 5>
"""

from __future__ import annotations

from enum import IntEnum

from broker.contract.known import Known


class Behaviour(IntEnum):
    """BehaviourModeKind of IEC 61850-7-4."""

    ON = 1
    BLOCKED = 2
    TEST = 3
    TEST_BLOCKED = 4
    OFF = 5


def behaviour_of(meter: Known) -> Behaviour:
    """Off while the meter is out of service."""
    return Behaviour.ON if meter.in_service else Behaviour.OFF
