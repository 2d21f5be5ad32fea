"""A reading that we make without the model is the reading that the model makes, whatever was measured."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.contract.messages import LATEST
from broker.contract.quantities import QUANTITIES
from broker.contract.reading import MAX_OTHER, Reading, encoded

MEASURED = st.dictionaries(
    st.sampled_from([*QUANTITIES, "alarm", "clock_synchronized"]),
    st.one_of(st.floats(), st.integers(), st.booleans(), st.floats(-10, 300)),
    max_size=8,
)
FLAGS = st.fixed_dictionaries({}, optional={"alarm": st.booleans(), "clock_synchronized": st.booleans()})
TIMES = st.datetimes(datetime(2020, 1, 2), datetime(2099, 12, 30), timezones=st.timezones())


@given(MEASURED, FLAGS, TIMES)
@settings(max_examples=300, deadline=None)
def test_they_are_the_same_bytes(
    measured: dict[str, float | bool], flags: dict[str, bool], ts: datetime
) -> None:
    fields = {**measured, "alarm": None, "clock_synchronized": None, **flags}
    told = {name: value for name, value in fields.items() if value is not None}
    reading = Reading.model_validate({**told, "epoch": 1, "seq": 2, "ts": ts})
    assert encoded(told, epoch=1, seq=2, ts=ts) == reading.payload()


def test_what_a_newer_sensor_measures_is_told() -> None:
    ts = datetime(2026, 1, 1, tzinfo=UTC)
    payload = encoded({"thd": 3.1, "power": 1.0, "x y": 2.0, "h": float("inf")}, epoch=1, seq=2, ts=ts)
    reading = Reading.model_validate_json(payload)
    assert (reading.power, reading.other) == (1.0, {"thd": 3.1})
    with pytest.raises(ValueError, match="more than 32"):
        encoded({f"x{number}": 1.0 for number in range(MAX_OTHER + 1)}, epoch=1, seq=2, ts=ts)


@pytest.mark.parametrize("ts", [datetime(1970, 1, 1, tzinfo=UTC), LATEST])
def test_the_time_of_a_wrong_clock_is_none(ts: datetime) -> None:
    with pytest.raises(ValueError, match="clock"):
        encoded({}, epoch=1, seq=1, ts=ts)
    assert encoded({}, epoch=1, seq=1, ts=LATEST - timedelta(milliseconds=1)).endswith(b'59.999Z"}')
