"""Values into one logical device of one server: as one event that reports see, or as its beginning.

The library's update functions compare a value with the one before and look through every report control
block for it. Where no block can want it, that is for nothing: the value is set and no more (``quiet``).

>>> write(server, points, values)  # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Iterable

from mms_bridge.datamodel.value import Key, Value
from mms_bridge.libiec61850.bindings import lib
from mms_bridge.libiec61850.ied_model import Points
from mms_bridge.libiec61850.memory import FLOAT_AT, MEMORY, TIME_AT, put_float, put_time, utc_time


def write(server: int, points: Points, values: Iterable[tuple[Key, Value]]) -> None:
    """Update data objects; what reports are told they see together, or not at all."""
    places, update, quiet, qualities = points.shape.places, points.shape.update, points.quiet, points.quality
    lib.IedServer_lockDataModel(server)
    try:
        for key, (value, quality, t_ms, t_quality) in values:
            place = places.get(key)
            if place is None:
                continue  # a CID that an older bridge has left, without this object
            put_time(MEMORY, points.t[place] + TIME_AT, utc_time(t_ms, t_quality))
            if quality != qualities[place]:
                lib.IedServer_updateQuality(server, points.q(place), quality)
                qualities[place] = quality
            if value is None:
                continue
            if quiet[place]:
                _set(points, place, value)
            else:
                update[place](server, points.value(place), value)
    finally:
        lib.IedServer_unlockDataModel(server)


def preset(server: int, points: Points, values: Iterable[tuple[Key, Value]]) -> None:
    """Set initial values, before the first association: no report sees a change."""
    places = points.shape.places
    for key, (value, quality, t_ms, t_quality) in values:
        place = places.get(key)
        if place is None:
            continue
        put_time(MEMORY, points.t[place] + TIME_AT, utc_time(t_ms, t_quality))
        held = lib.IedServer_getAttributeValue(server, points.q(place))
        lib.MmsValue_setBitStringFromInteger(held, quality)
        points.quality[place] = quality
        if value is not None:
            _set(points, place, value)


def _set(points: Points, place: int, value: float) -> None:
    if points.shape.floats[place] and FLOAT_AT is not None:
        try:
            put_float(MEMORY, points.held[place] + FLOAT_AT, value)
            return
        except OverflowError:
            pass
    points.shape.preset[place](points.held[place], value)
