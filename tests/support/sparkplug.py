"""What the Sparkplug tests share: the sample's lines, and strategies for payloads."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path

from hypothesis import strategies as st

from adapters.sparkplug.datatypes import DataType, Scalar
from adapters.sparkplug.payload import Metric, Payload, metric

SAMPLE = Path(__file__).parents[1] / "samples" / "sparkplug_b.jsonl"
U64 = st.integers(0, 2**64 - 1)
TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
_SINGLE = st.floats(width=32, allow_nan=False)
_DOUBLE = st.floats(allow_nan=False)
VALUES: dict[DataType, st.SearchStrategy[Scalar]] = {
    **{DataType[f"INT{w}"]: st.integers(-(2 ** (w - 1)), 2 ** (w - 1) - 1) for w in (8, 16, 32, 64)},
    **{DataType[f"UINT{w}"]: st.integers(0, 2**w - 1) for w in (8, 16, 32, 64)},
    DataType.DATETIME: U64,
    DataType.FLOAT: _SINGLE,
    DataType.DOUBLE: _DOUBLE,
    DataType.BOOLEAN: st.booleans(),
    **dict.fromkeys((DataType.STRING, DataType.TEXT, DataType.UUID), TEXT),
    DataType.BYTES: st.binary(max_size=20),
}
"""Values of each type that we read and write."""
TYPED: st.SearchStrategy[tuple[DataType, Scalar | None]] = st.sampled_from(sorted(VALUES)).flatmap(
    lambda datatype: st.tuples(st.just(datatype), st.none() | VALUES[datatype])
)
_PROPERTIES = st.dictionaries(
    TEXT, st.booleans() | st.integers(-(2**63), 2**63 - 1) | _DOUBLE | TEXT, max_size=3
)


@st.composite
def metrics(draw: st.DrawFn) -> Metric:
    """Any metric that we can write."""
    datatype, value = draw(TYPED)
    return metric(
        draw(st.none() | TEXT),
        datatype,
        value,
        alias=draw(st.none() | U64),
        timestamp=draw(st.none() | U64),
        historical=draw(st.booleans()),
        transient=draw(st.booleans()),
        properties=draw(_PROPERTIES),
    )


PAYLOADS = st.builds(
    Payload,
    timestamp=st.none() | U64,
    metrics=st.lists(metrics(), max_size=4).map(tuple),
    seq=st.none() | st.integers(0, 255),
    uuid=st.none() | TEXT,
    body=st.none() | st.binary(max_size=10),
)


@dataclass(frozen=True)
class Line:
    """A line of the sample."""

    topic: str
    payload: bytes
    retain: bool


def sample() -> list[Line]:
    """STATE, NBIRTH, DBIRTH, DDATA of now, DDATA of history, DCMD, NDEATH."""
    rows = [json.loads(line) for line in SAMPLE.read_text().splitlines()]
    return [
        Line(
            row["topic"],
            bytes.fromhex(row["payload_hex"]) if "payload_hex" in row else row["payload"].encode(),
            row["retain"],
        )
        for row in rows
    ]


def same(one: Scalar | None, other: Scalar | None) -> bool:
    """Equal, of one type; floats by their bits as far as sign and value show them."""
    if isinstance(one, float) and isinstance(other, float):
        return one == other and math.copysign(1, one) == math.copysign(1, other)
    return type(one) is type(other) and one == other
