"""The samples of other makers' devices: their messages, and what a family makes of them.

>>> rows("tasmota_plug")[2].topic
'tele/tasmota_A1B2C3/LWT'
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from hypothesis import strategies as st

from adapters.family import Family, Finding, Step, Values
from broker.contract.quantities import QUANTITIES

FOLDER = Path(__file__).parents[1] / "samples"


@dataclass(frozen=True)
class Row:
    """A message of a device."""

    topic: str
    payload: bytes
    retain: bool = False


def rows(name: str) -> list[Row]:
    """The messages that the device sends, in the sample ``name``."""
    lines = [json.loads(line) for line in (FOLDER / f"{name}.jsonl").read_text().splitlines()]
    return [
        Row(line["topic"], line["payload"].encode(), line["retain"])
        for line in lines
        if line["dir"] == "device"
    ]


def played(family: Family, messages: Iterable[Row], *, now: float = 0.0) -> list[list[Step]]:
    """What ``family`` makes of each message. A live subscriber sees no message as retained."""
    return [list(family.take(row.topic, row.payload, retained=False, now=now)) for row in messages]


def check_values(steps: Sequence[Step]) -> None:
    """Whatever a device sends: values are finite and within their limits, findings have a cause."""
    for step in steps:
        if isinstance(step, Values):
            assert step.measured
            for name, value in step.measured.items():
                row = QUANTITIES[name]
                assert math.isfinite(value), name
                assert row.lowest <= value <= row.highest, name
        elif isinstance(step, Finding):
            assert step.cause
            assert len(step.detail) < 2000


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(10**300, 10**400)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=12)
    | st.sampled_from(("ON", "OFF", "2026-11-20T10:05:00+01:00", "9999-12-31T23:59:59-23:59", "\ud800"))
)
ANYTHING = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
)
RAW = st.binary(max_size=80) | st.sampled_from(
    (
        b"", b"null", b"NaN", b"nan", b"-Infinity", b"1e999", b"1" * 400, b"[" * 5000, b'{"a":' * 5000,
        b"\xff\xfe", b'{"Time":', b"true", b"-0", b"{}", b"[]", b"0x10", b"1_000", b"9" * 5000,
    )
)  # fmt: skip


def mutated(payload: bytes) -> st.SearchStrategy[bytes]:
    """``payload`` with a value replaced, a piece cut out, or octets put in."""
    return _replaced(payload) | st.tuples(
        st.integers(0, len(payload)), st.integers(0, 8), st.binary(max_size=4)
    ).map(lambda cut: payload[: cut[0]] + cut[2] + payload[cut[0] + cut[1] :])


def _replaced(payload: bytes) -> st.SearchStrategy[bytes]:
    try:
        told = json.loads(payload)
    except ValueError:
        return RAW
    paths = list(_paths(told, ()))
    if not paths:
        return RAW
    return st.tuples(st.sampled_from(paths), ANYTHING).map(
        lambda chosen: json.dumps(_with(told, chosen[0], chosen[1])).encode()
    )


def _paths(told: object, path: tuple[str | int, ...]) -> Iterable[tuple[str | int, ...]]:
    inner = told.items() if isinstance(told, dict) else enumerate(told) if isinstance(told, list) else ()
    for name, value in inner:
        yield (*path, name)
        yield from _paths(value, (*path, name))


def _with(told: object, path: tuple[str | int, ...], value: object) -> object:
    if not path:
        return value
    if isinstance(told, dict):
        return {
            name: _with(part, path[1:], value) if name == path[0] else part for name, part in told.items()
        }
    assert isinstance(told, list)
    return [_with(part, path[1:], value) if at == path[0] else part for at, part in enumerate(told)]
