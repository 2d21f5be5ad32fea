"""Our own payload: round trips, protobuf's own rules, and bytes that mean harm."""

from __future__ import annotations

import time
import tracemalloc
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.sparkplug.datatypes import DataType, Place, Scalar
from adapters.sparkplug.payload import (
    MAX_BYTES,
    MAX_METRICS,
    MAX_PROPERTIES,
    Metric,
    Payload,
    decode,
    encode,
    metric,
)
from adapters.sparkplug.wire import PayloadError, length_field, varint, varint_field
from tests.support.sparkplug import PAYLOADS, TYPED, same, sample

HARMFUL = {
    "a number without end": b"\x08" + b"\x80" * 1000,
    "a number of eleven bytes": b"\x08" + b"\xff" * 10 + b"\x01",
    "a length beyond the end": b"\x12\x7f\x00",
    "a length of 2^63": b"\x12" + varint(2**63) + b"x",
    "a metric longer than its payload": b"\x12\x05\x0a\x09abc",
    "half a double": length_field(2, b"\x69\x00\x00"),
    "field number 0": b"\x00\x01",
    "a group": b"\x0b\x0c",
    "wire type 7": b"\x0f",
    "a name that is no UTF-8": length_field(2, length_field(1, b"\xff\xfe")),
    "too many metrics": length_field(2, b"") * (MAX_METRICS + 1),
    "too long": b"\x2a" + varint(MAX_BYTES) + bytes(MAX_BYTES),
}


@given(PAYLOADS)
def test_what_is_encoded_is_decoded(payload: Payload) -> None:
    assert decode(encode(payload)) == payload


@given(TYPED)
def test_a_value_comes_back_as_it_was(typed: tuple[DataType, Scalar | None]) -> None:
    datatype, value = typed
    (back,) = decode(encode(Payload(metrics=(metric("x", datatype, value),)))).metrics
    assert back.null is (value is None)
    assert same(back.value(), value)


@given(st.binary(max_size=300))
def test_any_bytes_are_a_payload_or_one_error(data: bytes) -> None:
    try:
        payload = decode(data)
        for one in payload.metrics:
            one.value()
    except PayloadError:
        return
    assert decode(encode(payload)).seq == payload.seq


@given(PAYLOADS, st.data())
def test_damaged_payloads_raise_nothing_else(payload: Payload, data: st.DataObject) -> None:
    bad = bytearray(encode(payload) or b"\x08\x00")
    for _ in range(data.draw(st.integers(1, 4))):
        bad[data.draw(st.integers(0, len(bad) - 1))] = data.draw(st.integers(0, 255))
    del bad[data.draw(st.integers(0, len(bad))) :]
    with suppress(PayloadError):
        decode(bytes(bad))


@pytest.mark.parametrize("data", HARMFUL.values(), ids=HARMFUL)
def test_harmful_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(PayloadError):
        decode(data)


def test_a_deep_template_costs_no_depth() -> None:
    deep = b""
    while len(deep) < MAX_BYTES // 2:
        deep = length_field(18, length_field(2, deep))
    payload = decode(length_field(2, length_field(1, b"t") + varint_field(4, 19) + deep))
    assert payload.metrics == (Metric(name="t", datatype=19, place=Place.OTHER),)
    assert payload.metrics[0].value() is None


def test_the_largest_payloads_cost_bounded_time_and_memory() -> None:
    shapes = {
        "empty metrics": length_field(2, b"") * MAX_METRICS,
        "empty properties": length_field(2, length_field(9, b"\x0a\x00\x12\x00" * 100_000)),
        "short unknown fields": b"\xa0\x06\x00" * (MAX_BYTES // 3),
    }
    tracemalloc.start()
    try:
        for shape, data in shapes.items():
            tracemalloc.reset_peak()
            started = time.process_time()
            decode(data)
            assert time.process_time() - started < 30, shape
            assert tracemalloc.get_traced_memory()[1] < 40 * MAX_BYTES, shape
    finally:
        tracemalloc.stop()


def test_properties_are_bounded_and_bad_ones_left_out() -> None:
    keys = b"".join(length_field(1, f"k{n}".encode()) for n in range(100))
    one = length_field(2, varint_field(1, DataType.STRING) + length_field(8, b"kWh"))
    (found,) = decode(length_field(2, length_field(9, keys + one * 100))).metrics
    assert len(found.properties) == MAX_PROPERTIES
    assert set(found.properties.values()) == {"kWh"}
    nested = length_field(1, b"a") + length_field(2, varint_field(1, 20) + length_field(9, b""))
    assert decode(length_field(2, length_field(9, nested))).metrics[0].properties == {}


def test_protobufs_own_rules() -> None:
    """Later fields count, wrong wire types and unknown fields are skipped, numbers wrap at their width."""
    assert decode(varint_field(3, 1) + varint_field(3, 2)).seq == 2
    assert decode(length_field(3, b"x") + varint_field(99, 5)) == Payload()
    twice = varint_field(4, 3) + varint_field(10, 1) + varint_field(10, 2**40 + 5)
    assert decode(length_field(2, twice)).metrics[0].value() == 5
    assert (
        decode(length_field(2, varint_field(4, 3) + b"\x50" + b"\xff" * 9 + b"\x01")).metrics[0].value() == -1
    )


@pytest.mark.parametrize(
    ("datatype", "place", "raw", "value"),
    [
        (DataType.INT8, Place.INT, 0xFB, -5),
        (DataType.INT8, Place.INT, 0xFFFFFFFB, -5),
        (DataType.INT16, Place.INT, 0x8000, -32768),
        (DataType.INT64, Place.LONG, 2**64 - 1, -1),
        (DataType.INT32, Place.LONG, 0xFFFFFFFE, -2),
        (DataType.UINT32, Place.LONG, 2**32 - 1, 2**32 - 1),
        (DataType.FLOAT, Place.DOUBLE, 1.5, 1.5),
        (22, Place.BYTES, b"\x01", None),
        (99, Place.INT, 1, None),
        (DataType.UNKNOWN, Place.INT, 1, None),
    ],
)
def test_values_as_makers_send_them(datatype: int, place: Place, raw: Scalar, value: Scalar | None) -> None:
    assert same(Metric(datatype=datatype, place=place, raw=raw).value(), value)


@pytest.mark.parametrize(
    ("datatype", "place", "raw"),
    [(DataType.UINT8, Place.INT, 256), (DataType.BOOLEAN, Place.INT, 1), (DataType.INT32, Place.FLOAT, 1.0)],
)
def test_a_value_that_is_none_of_its_type(datatype: int, place: Place, raw: Scalar) -> None:
    with pytest.raises(PayloadError):
        Metric(datatype=datatype, place=place, raw=raw).value()


@pytest.mark.parametrize(
    ("datatype", "value"),
    [(DataType.INT8, 128), (DataType.UINT64, -1), (DataType.UINT8, True), (DataType.BOOLEAN, 1),
     (DataType.STRING, b"x"), (DataType.UNKNOWN, 1), (DataType.FLOAT, "1")],
)  # fmt: skip
def test_no_value_is_sent_as_what_it_is_not(datatype: DataType, value: Scalar) -> None:
    with pytest.raises(PayloadError):
        metric("x", datatype, value)


def test_data_take_their_type_from_the_birth() -> None:
    data = Metric(alias=1, place=Place.INT, raw=0xFFFE)
    assert data.value() is None
    assert data.value(DataType.INT16) == -2
    assert Metric(datatype=DataType.INT16, null=True, place=Place.INT, raw=1).value() is None


def test_the_sample_is_written_byte_for_byte() -> None:
    lines = [line.payload for line in sample() if "STATE" not in line.topic]
    assert len(lines) == 6
    assert [encode(decode(payload)) for payload in lines] == lines
