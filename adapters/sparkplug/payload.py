"""Sparkplug B's payload, in and out, without protobuf's library.

Field numbers as in Sparkplug 3.0, chapter 6. A field that is not known, or has another wire type than it
should, is skipped, as protobuf demands; of a field that comes twice the later one counts. Data sets,
templates and metadata are skipped as a whole, so that their depth does not matter.

>>> p = Payload(timestamp=1, seq=2, metrics=(metric("Power", DataType.INT32, -5, alias=7),))
>>> decode(encode(p)) == p
True
>>> decode(b"\\x12\\xff")
Traceback (most recent call last):
    ...
adapters.sparkplug.wire.PayloadError: the number at byte 1 has no end within 10 bytes
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from adapters.sparkplug.datatypes import DataType, Place, Scalar, read, written
from adapters.sparkplug.wire import (
    FIXED32,
    FIXED64,
    LENGTH,
    VARINT,
    PayloadError,
    fields,
    fixed_field,
    length_field,
    varint_field,
)

MAX_BYTES = 512 * 1024
"""Of a payload."""
MAX_METRICS = 10_000
MAX_PROPERTIES = 64
"""Of one metric; further ones are skipped."""


@dataclass(frozen=True)
class Metric:
    """A metric as it travels; :meth:`value` needs the data type, which data may leave to the birth."""

    name: str | None = None
    alias: int | None = None
    timestamp: int | None = None
    """Milliseconds since 1970."""
    datatype: int = DataType.UNKNOWN
    historical: bool = False
    transient: bool = False
    null: bool = False
    properties: Mapping[str, Scalar] = field(default_factory=dict)
    place: Place = Place.NONE
    raw: Scalar | None = None
    """Content of the field ``place``."""

    def value(self, datatype: int = DataType.UNKNOWN) -> Scalar | None:
        """The value, by its own data type or else by ``datatype``; None if null; PayloadError as `read`."""
        return None if self.null else read(self.datatype or datatype, self.place, self.raw)


@dataclass(frozen=True)
class Payload:
    """A message."""

    timestamp: int | None = None
    """Milliseconds since 1970."""
    metrics: tuple[Metric, ...] = ()
    seq: int | None = None
    """0 to 255."""
    uuid: str | None = None
    body: bytes | None = None


def metric(name: str | None, datatype: DataType, value: Scalar | None, **more: Any) -> Metric:
    """A metric to send; ``value`` None is null; PayloadError when the value is none of that type."""
    if value is None:
        return Metric(name=name, datatype=datatype, null=True, **more)
    place, raw = written(datatype, value)
    return Metric(name=name, datatype=datatype, place=place, raw=raw, **more)


def decode(data: bytes) -> Payload:
    """The payload in ``data``; PayloadError, and nothing else, when there is none."""
    if len(data) > MAX_BYTES:
        raise PayloadError(f"a payload of {len(data)} bytes: at most {MAX_BYTES} are read")
    told: dict[str, Any] = {}
    metrics: list[Metric] = []
    for number, kind, content in fields(data):
        if (number, kind) == (2, LENGTH):
            if len(metrics) == MAX_METRICS:
                raise PayloadError(f"more than {MAX_METRICS} metrics in one payload")
            metrics.append(_metric(_as_bytes(content)))
        elif known := _PAYLOAD.get((number, kind)):
            told[known[0]] = known[1](content)
    return Payload(metrics=tuple(metrics), **told)


def encode(payload: Payload) -> bytes:
    """The bytes of a payload."""
    out = [_written(_PAYLOAD, payload, ("timestamp",))]
    out += [length_field(2, _encoded(one)) for one in payload.metrics]
    return b"".join([*out, _written(_PAYLOAD, payload, ("seq", "uuid", "body"))])


def _as_bytes(content: int | bytes) -> bytes:
    assert isinstance(content, bytes)
    return content


def _text(content: Any) -> str:
    try:
        return str(content, "utf-8")
    except UnicodeDecodeError as error:
        raise PayloadError(f"a text that is not UTF-8: {content[:32]!r}") from error


def _u32(content: Any) -> int:
    return int(content) & 0xFFFFFFFF


def _number(form: str) -> Callable[[Any], float]:
    return lambda content: float(struct.unpack(form, content)[0])


_float, _double = _number("<f"), _number("<d")
_Table = Mapping[tuple[int, int], tuple[str, Callable[[Any], Any]]]
"""Field number and wire type → name and reader."""

_PAYLOAD: _Table = {
    (1, VARINT): ("timestamp", int), (3, VARINT): ("seq", int), (4, LENGTH): ("uuid", _text),
    (5, LENGTH): ("body", bytes),
}  # fmt: skip
_METRIC: _Table = {
    (1, LENGTH): ("name", _text), (2, VARINT): ("alias", int), (3, VARINT): ("timestamp", int),
    (4, VARINT): ("datatype", _u32), (5, VARINT): ("historical", bool), (6, VARINT): ("transient", bool),
    (7, VARINT): ("null", bool),
}  # fmt: skip
_VALUES: Mapping[tuple[int, int], tuple[Place, Callable[[Any], Scalar]]] = {
    (10, VARINT): (Place.INT, _u32), (11, VARINT): (Place.LONG, int), (12, FIXED32): (Place.FLOAT, _float),
    (13, FIXED64): (Place.DOUBLE, _double), (14, VARINT): (Place.BOOLEAN, bool),
    (15, LENGTH): (Place.STRING, _text), (16, LENGTH): (Place.BYTES, bytes),
    **{(number, LENGTH): (Place.OTHER, lambda _: b"") for number in (17, 18, 19)},
}  # fmt: skip


def _metric(data: bytes) -> Metric:
    told: dict[str, Any] = {}
    for number, kind, content in fields(data):
        if known := _METRIC.get((number, kind)):
            told[known[0]] = known[1](content)
        elif value := _VALUES.get((number, kind)):
            told["place"], told["raw"] = value[0], value[1](content)
        elif (number, kind) == (9, LENGTH):
            told["properties"] = told.get("properties", {}) | _properties(_as_bytes(content))
    if told.get("place") is Place.OTHER:
        told["raw"] = None
    return Metric(**told)


def _properties(data: bytes) -> dict[str, Scalar]:
    """Keys and their values; one without a scalar value is left out."""
    keys: list[str] = []
    values: list[Scalar | None] = []
    for number, kind, content in fields(data):
        if (number, kind) == (1, LENGTH) and len(keys) < MAX_PROPERTIES:
            keys.append(_text(content))
        elif (number, kind) == (2, LENGTH) and len(values) < MAX_PROPERTIES:
            values.append(_property(_as_bytes(content)))
    return {key: value for key, value in zip(keys, values, strict=False) if value is not None}


def _property(data: bytes) -> Scalar | None:
    """A PropertyValue: 1 type, 2 is_null, 3 to 8 the value, as 10 to 15 of a metric."""
    datatype, null, place, raw = 0, False, Place.NONE, None
    for number, kind, content in fields(data):
        if (number, kind) == (1, VARINT):
            datatype = _u32(content)
        elif (number, kind) == (2, VARINT):
            null = bool(content)
        elif 3 <= number <= 8 and (known := _VALUES.get((number + 7, kind))):
            place, raw = known[0], known[1](content)
    try:
        return None if null else read(datatype, place, raw)
    except PayloadError:
        return None  # a property of a wrong type says nothing; its metric may be good


def _written(table: _Table, source: object, names: tuple[str, ...]) -> bytes:
    """The fields ``names`` of ``source``, where it has them."""
    numbers = {name: number for (number, _), (name, _) in table.items()}
    return b"".join(
        _field(numbers[name], content)
        for name in names
        if (content := getattr(source, name)) is not None and content is not False
    )


def _field(number: int, content: Scalar) -> bytes:
    if isinstance(content, int):
        return varint_field(number, content)
    if isinstance(content, float):
        return fixed_field(number, struct.pack("<d", content))
    return length_field(number, content.encode() if isinstance(content, str) else content)


def _value_field(place: Place, raw: Scalar, *, shift: int = 0) -> bytes:
    if place is Place.FLOAT:
        return fixed_field(place - shift, struct.pack("<f", raw))
    return _field(place - shift, raw)


def _encoded(one: Metric) -> bytes:
    out = [_written(_METRIC, one, ("name", "alias", "timestamp"))]
    if one.datatype:
        out.append(varint_field(4, one.datatype))
    out.append(_written(_METRIC, one, ("historical", "transient", "null")))
    if one.properties:
        out.append(length_field(9, _encoded_properties(one.properties)))
    if one.raw is not None:
        out.append(_value_field(one.place, one.raw))
    return b"".join(out)


_PROPERTY_TYPES: Mapping[type, DataType] = {
    bool: DataType.BOOLEAN, int: DataType.INT64, float: DataType.DOUBLE, str: DataType.STRING,
}  # fmt: skip


def _encoded_properties(properties: Mapping[str, Scalar]) -> bytes:
    keys = [length_field(1, key.encode()) for key in properties]
    return b"".join([*keys, *(length_field(2, _encoded_property(value)) for value in properties.values())])


def _encoded_property(value: Scalar) -> bytes:
    datatype = _PROPERTY_TYPES.get(type(value))
    if datatype is None:
        raise PayloadError(f"a property {value!r}: a number, a text or a Boolean would be right")
    place, raw = written(datatype, value)
    return varint_field(1, datatype) + _value_field(place, raw, shift=7)
