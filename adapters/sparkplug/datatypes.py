"""Sparkplug's data types, and how each travels in a metric: two's complement, milliseconds, text.

Numbers as in Sparkplug 3.0, chapter 6. Arrays, data sets and templates are not read: their value is None.

>>> read(DataType.INT16, Place.INT, 0xFFFE)
-2
>>> written(DataType.INT16, -2)
(<Place.INT: 10>, 65534)
"""

from __future__ import annotations

import math
import struct
from enum import IntEnum

from adapters.sparkplug.wire import PayloadError

Scalar = int | float | bool | str | bytes
"""What a metric of ours may hold."""


class DataType(IntEnum):
    """Of a metric or property; others are kept as numbers and not read."""

    UNKNOWN = 0
    INT8 = 1
    INT16 = 2
    INT32 = 3
    INT64 = 4
    UINT8 = 5
    UINT16 = 6
    UINT32 = 7
    UINT64 = 8
    FLOAT = 9
    DOUBLE = 10
    BOOLEAN = 11
    STRING = 12
    DATETIME = 13
    TEXT = 14
    UUID = 15
    BYTES = 17


class Place(IntEnum):
    """The field of a metric that holds its value."""

    NONE = 0
    INT = 10
    LONG = 11
    FLOAT = 12
    DOUBLE = 13
    BOOLEAN = 14
    STRING = 15
    BYTES = 16
    OTHER = 17
    """A data set, a template or an extension (17 to 19)."""


_SIGNED = {DataType.INT8: 8, DataType.INT16: 16, DataType.INT32: 32, DataType.INT64: 64}
_UNSIGNED = {
    DataType.UINT8: 8, DataType.UINT16: 16, DataType.UINT32: 32, DataType.UINT64: 64, DataType.DATETIME: 64,
}  # fmt: skip
_TEXTS = frozenset({DataType.STRING, DataType.TEXT, DataType.UUID})
_PLACES = {
    DataType.FLOAT: frozenset({Place.FLOAT, Place.DOUBLE}),
    DataType.DOUBLE: frozenset({Place.FLOAT, Place.DOUBLE}),
    DataType.BOOLEAN: frozenset({Place.BOOLEAN}),
    DataType.BYTES: frozenset({Place.BYTES}),
    **dict.fromkeys(_TEXTS, frozenset({Place.STRING})),
    **dict.fromkeys((*_SIGNED, *_UNSIGNED), frozenset({Place.INT, Place.LONG})),
}
"""Where the value of each type may stand. Some makers put a UInt32 into the long field: both are read."""
_BY_NUMBER = {int(datatype): places for datatype, places in _PLACES.items()}


def read(datatype: int, place: Place, raw: Scalar | None) -> Scalar | None:
    """The value of a metric of that type; None where it has none that we read.

    PayloadError when the value stands in a field that is none of its type's, or is beyond its type.
    """
    places = _BY_NUMBER.get(datatype)
    if raw is None or places is None:
        return None
    if place not in places:
        raise PayloadError(f"a value of type {DataType(datatype).name} in field {int(place)}")
    return _number(DataType(datatype), raw) if isinstance(raw, int) and place < Place.FLOAT else raw


def _number(datatype: DataType, raw: int) -> int:
    if width := _SIGNED.get(datatype):
        low: int = raw & (2**width - 1)
        return low - 2**width if low >> (width - 1) else low
    if raw >= 2 ** _UNSIGNED[datatype]:
        raise PayloadError(f"{raw} is no {datatype.name}: the largest is {2 ** _UNSIGNED[datatype] - 1}")
    return raw


def written(datatype: DataType, value: Scalar) -> tuple[Place, Scalar]:
    """The field and its content for ``value``; PayloadError when it is none of that type."""
    if datatype in _SIGNED or datatype in _UNSIGNED:
        return _written_number(datatype, value)
    wanted: dict[bool, tuple[Place, type]] = {
        datatype is DataType.FLOAT: (Place.FLOAT, float),
        datatype is DataType.DOUBLE: (Place.DOUBLE, float),
        datatype is DataType.BOOLEAN: (Place.BOOLEAN, bool),
        datatype in _TEXTS: (Place.STRING, str),
        datatype is DataType.BYTES: (Place.BYTES, bytes),
    }
    place, kind = wanted.get(True, (Place.NONE, object))
    content: Scalar = float(value) if kind is float and type(value) is int else value
    if place is Place.NONE or not isinstance(content, kind):
        raise PayloadError(f"{value!r} is no value of the type {datatype.name}")
    return place, single(content) if place is Place.FLOAT and isinstance(content, float) else content


def _written_number(datatype: DataType, value: Scalar) -> tuple[Place, int]:
    signed = datatype in _SIGNED
    width = _SIGNED[datatype] if signed else _UNSIGNED[datatype]
    lowest = -(2 ** (width - 1)) if signed else 0
    if type(value) is not int or not lowest <= value < lowest + 2**width:
        raise PayloadError(f"{value!r} is no value of the type {datatype.name}")
    return (Place.LONG if width == 64 else Place.INT), value & (2**width - 1)


def single(value: float) -> float:
    """The nearest number of 32 bits; infinite beyond them."""
    try:
        return float(struct.unpack("<f", struct.pack("<f", value))[0])
    except OverflowError:
        return math.copysign(math.inf, value)
