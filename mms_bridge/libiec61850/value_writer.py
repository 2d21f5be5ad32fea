"""Values into one logical device of one server: as one event that reports see, or as its beginning.

A measured value with a band (IEC 61850-7-3) is in instMag as it is; mag follows it when it has moved by more
than the deadband, and range says where it is. Only mag, range and q make events; t is of instMag.

The library's update functions compare a value with the one before and look through every report control
block for it. Where no report control block can want the value, it is only set (``quiet``).

>>> write(server, points, values)  # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Iterable

from mms_bridge.datamodel.bands import Band
from mms_bridge.datamodel.value import Key, Quality, Value
from mms_bridge.libiec61850.bindings import lib
from mms_bridge.libiec61850.points import Points

_set_time = lib.MmsValue_setUtcTimeMsEx


def write(server: int, points: Points, values: Iterable[tuple[Key, Value]]) -> None:
    """Update data objects; a report has all of ``values`` or none."""
    shape, quiet, qualities, t, bands = points.shape, points.quiet, points.quality, points.t, points.bands
    lib.IedServer_lockDataModel(server)
    try:
        for key, told in values:
            place = shape.places.get(key)
            if place is None:
                continue  # a CID that an older bridge has left, without this object
            value, quality, t_ms, t_quality = told
            _set_time(t[place], t_ms, t_quality)
            if value is not None and (band := bands[place]) is not None:
                quality = band.quality(quality, value)
                value = _measure(server, points, place, band, value, quiet=bool(quiet[place]))
            if quality != qualities[place] and quality != Quality.KEPT:
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


def _measure(
    server: int, points: Points, place: int, band: Band, value: float, *, quiet: bool
) -> float | None:
    """Write instMag and range; what mag becomes, or None."""
    beside = points.beside
    if beside.instant[place]:
        lib.MmsValue_setFloat(beside.instant[place], value)
    attribute, found = beside.range[place], band.range(value)
    if attribute and found != beside.now[place]:
        beside.now[place] = found
        if quiet:
            lib.MmsValue_setInt32(lib.IedServer_getAttributeValue(server, attribute), found)
        else:
            lib.IedServer_updateInt32AttributeValue(server, attribute, found)
    shown = band.shown(value, before=beside.shown[place])
    if shown is not None:
        beside.shown[place] = shown
    return shown


def preset(server: int, points: Points, values: Iterable[tuple[Key, Value]]) -> None:
    """Set initial values, before the first association: no report sees a change."""
    shape = points.shape
    for key, told in values:
        place = shape.places.get(key)
        if place is None:
            continue
        value, quality, t_ms, t_quality = told
        _set_time(points.t[place], t_ms, t_quality)
        if value is not None and (band := points.bands[place]) is not None:
            quality = band.quality(quality, value)
            value = _measure(server, points, place, band, value, quiet=True)
        if quality != Quality.KEPT:
            held = lib.IedServer_getAttributeValue(server, points.q[place])
            lib.MmsValue_setBitStringFromInteger(held, quality)
            points.quality[place] = quality
        if value is not None:
            shape.set[place](points.held[place], value)
