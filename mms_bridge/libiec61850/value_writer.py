"""Values into one logical device of one server: as one event that reports see, or as its beginning.

The library's update functions compare a value with the one before and look through every report control
block for it. Where no report control block can want the value, it is only set (``quiet``).

>>> write(server, points, values)  # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Iterable

from mms_bridge.datamodel.value import Key, Value
from mms_bridge.libiec61850.bindings import lib
from mms_bridge.libiec61850.points import Points

_set_time = lib.MmsValue_setUtcTimeMsEx


def write(server: int, points: Points, values: Iterable[tuple[Key, Value]]) -> None:
    """Update data objects; a report has all of ``values`` or none."""
    shape, quiet, qualities, t = points.shape, points.quiet, points.quality, points.t
    lib.IedServer_lockDataModel(server)
    try:
        for key, (value, quality, t_ms, t_quality) in values:
            place = shape.places.get(key)
            if place is None:
                continue  # a CID that an older bridge has left, without this object
            _set_time(t[place], t_ms, t_quality)
            if quality != qualities[place]:
                lib.IedServer_updateQuality(server, points.q[place], quality)
                qualities[place] = quality
            if value is None:
                continue
            if quiet[place]:
                shape.set[place](points.held[place], value)
            else:
                shape.update[place](server, points.value[place], value)
    finally:
        lib.IedServer_unlockDataModel(server)


def preset(server: int, points: Points, values: Iterable[tuple[Key, Value]]) -> None:
    """Set initial values, before the first association: no report sees a change."""
    shape = points.shape
    for key, (value, quality, t_ms, t_quality) in values:
        place = shape.places.get(key)
        if place is None:
            continue
        _set_time(points.t[place], t_ms, t_quality)
        held = lib.IedServer_getAttributeValue(server, points.q[place])
        lib.MmsValue_setBitStringFromInteger(held, quality)
        points.quality[place] = quality
        if value is not None:
            shape.set[place](points.held[place], value)
