"""A logical device that no meter has yet: it is off, and all that a meter would say of itself is invalid.

>>> from mms_bridge.datamodel.moment import now
>>> told = dict(spare_values(now=now(synchronized=True)))
>>> told["LLN0", "Beh"].value, told["LPHD1", "PhyHealth"].quality
(<Behaviour.OFF: 5>, <Quality.INVALID: 2>)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache

from mms_bridge.datamodel.behaviour import Behaviour
from mms_bridge.datamodel.mapping import DBPOS_INTERMEDIATE, OK, bindings
from mms_bridge.datamodel.moment import Moment
from mms_bridge.datamodel.value import Key, Quality, Value
from scl_builder.model import logical_devices
from scl_builder.model.logical_devices import Profile

_TOLD: Mapping[tuple[str, str], tuple[int, Quality]] = {
    ("service", "beh"): (Behaviour.OFF, Quality.GOOD),
    ("service", "health"): (OK, Quality.GOOD),
    ("meter", "health"): (OK, Quality.INVALID),
}


def spare_values(*, now: Moment) -> Iterator[tuple[Key, Value]]:
    """All values that the device of any meter has; those of the gateway are of ``now``."""
    for key, source in _sources(logical_devices.PROFILES).items():
        if (told := _TOLD.get(source)) is not None:
            yield key, Value(*told, now.t_ms, now.t_quality)
        else:
            value = DBPOS_INTERMEDIATE if source == ("relay", "position") else None
            yield key, Value(value, Quality.INVALID, 0)


@lru_cache(maxsize=4)
def _sources(profiles: tuple[Profile, ...]) -> dict[Key, tuple[str, str]]:
    """Data object → what feeds it, of all that any meter has."""
    every = (bindings(profile.every_node) for profile in profiles)
    return {key: (group, field) for groups in every for group, fed in groups.items() for key, field, _ in fed}
