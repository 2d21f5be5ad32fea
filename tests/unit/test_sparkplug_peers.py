"""Our payload against pysparkplug and Google's protobuf, in both directions.

pysparkplug is installed by `make` without its dependencies (requirements/sparkplug.lock).
"""

from __future__ import annotations

from typing import Any

import pysparkplug
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st
from pysparkplug._protobuf import sparkplug_b_pb2

from adapters.sparkplug.datatypes import DataType, Place, Scalar
from adapters.sparkplug.payload import Metric, Payload, decode, encode, metric
from adapters.sparkplug.wire import PayloadError
from tests.support.sparkplug import PAYLOADS, VALUES, same

Theirs: Any = vars(sparkplug_b_pb2)["Payload"]
NAMES = {
    "timestamp": "timestamp", "name": "name", "alias": "alias", "datatype": "datatype",
    "historical": "is_historical", "transient": "is_transient", "null": "is_null",
}  # fmt: skip
DEFAULT = {name: getattr(Metric(), name) for name in NAMES}
PLACES = {
    Place.INT: "int_value", Place.LONG: "long_value", Place.FLOAT: "float_value",
    Place.DOUBLE: "double_value", Place.BOOLEAN: "boolean_value", Place.STRING: "string_value",
    Place.BYTES: "bytes_value",
}  # fmt: skip
OTHERS = {"dataset_value", "template_value", "extension_value"}
KNOWN_TO_BOTH = sorted(set(VALUES) - {DataType.DATETIME, DataType.UUID})
"""pysparkplug's DateTime and UUID are Python's own."""


def told(message: Any, name: str) -> Any:
    return getattr(message, name) if message.HasField(name) else None


def assert_same(ours: Payload, theirs: Any) -> None:
    """Every field of ours is theirs, and the other way round."""
    for name in ("timestamp", "seq", "uuid", "body"):
        assert getattr(ours, name) == told(theirs, name)
    assert len(ours.metrics) == len(theirs.metrics)
    for mine, other in zip(ours.metrics, theirs.metrics, strict=True):
        assert_same_metric(mine, other)


def assert_same_metric(mine: Metric, other: Any) -> None:
    for name, its in NAMES.items():
        assert getattr(mine, name) == (getattr(other, its) if other.HasField(its) else DEFAULT[name])
    which = other.WhichOneof("value")
    if which is None or which in OTHERS:
        assert mine.raw is None
    else:
        assert PLACES[mine.place] == which
        assert same(mine.raw, getattr(other, which)) or mine.raw != mine.raw


@given(PAYLOADS)
def test_protobuf_reads_what_we_write(payload: Payload) -> None:
    assert_same(payload, Theirs.FromString(encode(payload)))


@given(PAYLOADS)
def test_protobuf_reads_our_properties(payload: Payload) -> None:
    for mine, other in zip(payload.metrics, Theirs.FromString(encode(payload)).metrics, strict=True):
        assert list(mine.properties) == list(other.properties.keys)
        for value, its in zip(mine.properties.values(), other.properties.values, strict=True):
            which = its.WhichOneof("value")
            number = getattr(its, which)
            wrapped = number - 2**64 if which == "long_value" and number >= 2**63 else number
            assert same(value, wrapped)


@given(PAYLOADS, st.data())
def test_we_read_damaged_bytes_as_protobuf_does(payload: Payload, data: st.DataObject) -> None:
    """Or we refuse them: what both read, both read alike."""
    bad = bytearray(encode(payload) or b"\x08\x00")
    bad[data.draw(st.integers(0, len(bad) - 1))] = data.draw(st.integers(0, 255))
    try:
        ours = decode(bytes(bad))
    except PayloadError:
        return
    try:
        theirs = Theirs.FromString(bytes(bad))
    except DecodeError:
        return  # it looks into what we skip
    assert_same(ours, theirs)


@given(st.sampled_from(KNOWN_TO_BOTH).flatmap(lambda kind: st.tuples(st.just(kind), VALUES[kind])))
def test_pysparkplug_reads_our_birth(typed: tuple[DataType, Scalar]) -> None:
    datatype, value = typed
    one = metric("x", datatype, value, alias=3, timestamp=1)
    birth = pysparkplug.DBirth.decode(encode(Payload(timestamp=1, seq=2, metrics=(one,))))
    (found,) = birth.metrics
    assert (found.name, found.alias, int(found.datatype)) == ("x", 3, int(datatype))
    its: Any = found.value
    assert same(its, value)


@given(st.sampled_from(KNOWN_TO_BOTH).flatmap(lambda kind: st.tuples(st.just(kind), VALUES[kind])))
def test_we_read_a_birth_of_pysparkplug(typed: tuple[DataType, Scalar]) -> None:
    datatype, value = typed
    its = pysparkplug.Metric(
        timestamp=1, name="x", datatype=pysparkplug.DataType(int(datatype)), value=value, alias=3
    )
    payload = pysparkplug.DBirth(timestamp=1, seq=2, metrics=(its,)).encode(include_dtypes=True)
    found = decode(payload)
    assert found.metrics == (metric("x", datatype, value, alias=3, timestamp=1),)
    assert same(found.metrics[0].value(), value)


def test_our_data_types_are_theirs() -> None:
    theirs = {kind.name: kind.value for kind in pysparkplug.DataType}
    assert {kind.name: int(kind) for kind in DataType}.items() <= theirs.items()
