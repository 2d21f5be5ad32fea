"""From a reading to values of data objects, for meters of several shapes: value, quality, direction."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.contract.birth import Birth, Hardware
from broker.contract.fleet import MeterState
from broker.contract.messages import utc_now
from broker.contract.quantities import HOUSEHOLD, QUANTITIES
from broker.contract.reading import Reading
from broker.contract.status import Status
from mms_bridge.datamodel import mapping, moment
from mms_bridge.datamodel.value import Quality, Value
from tests.unit.test_scl_shapes import SHAPES, each

METER_ID = "3f2504e0-4f89-41d3-9a0c-0305e82c3301"
TS = datetime(2026, 11, 29, 12, tzinfo=UTC)
TWO_WAYS = (*each("power"), "power", "energy_import", "energy_export")
FAILED = Quality.INVALID | Quality.FAILURE


def meter(*quantities: str, **reading: float) -> MeterState:
    """An online meter that names these quantities, with one reading."""
    state = MeterState(METER_ID)
    told = {"name": "House", "firmware": "1", "hardware": Hardware(serial="1"), "interval": 10.0}
    state.hear(Birth(**told, session="s", quantities=quantities, ts=TS), live=True, now=utc_now())
    state.hear(Status(online=True, session="s", ts=TS), live=True, now=utc_now())
    state.stale = False
    state.reading = Reading.model_validate({"epoch": 1, "seq": 1, "ts": TS, **reading})
    return state


def values(state: MeterState) -> dict[str, Value]:
    """What the meter's data objects become."""
    found = mapping.reading_values(state, broker_up=True)
    return {".".join(key): value for key, value in found}


def seen(state: MeterState, *names: str) -> list[tuple[Any, Quality]]:
    """Value and quality of these data objects."""
    told = values(state)
    return [(told[name].value, told[name].quality) for name in names]


def test_registers_keep_their_direction() -> None:
    """DEVICES.md 3.4: what the house feeds in is supply, what it takes is demand, the total is net."""
    state = meter(*TWO_WAYS, energy_import=4_216_800.4, energy_export=1_013_400.0, power=-512.0)
    names = ("MMTR1.DmdWh", "MMTR1.SupWh", "MMTR1.TotWh", "MMXU1.TotW")
    assert seen(state, *names) == [
        (4_216_800, Quality.GOOD),
        (1_013_400, Quality.GOOD),
        (3_203_400, Quality.GOOD),
        (-512.0, Quality.GOOD),
    ]
    assert {type(value) for value, _ in seen(state, *names[:3])} == {int}, "actVal is an INT64"


@pytest.mark.parametrize("missing", ["energy_import", "energy_export"])
def test_without_one_register_there_is_no_net(missing: str) -> None:
    registers = {"energy_import": 5.0, "energy_export": 3.0}
    del registers[missing]
    state = meter(*TWO_WAYS, energy=9.0, **registers)
    assert seen(state, "MMTR1.TotWh") == [(None, FAILED)], "and energy does not stand in for it"
    there = {"energy_import": "MMTR1.SupWh", "energy_export": "MMTR1.DmdWh"}[missing]
    assert seen(state, there)[0][1] == Quality.GOOD


def test_each_phase_goes_to_its_part() -> None:
    state = meter(
        *each("voltage", "current", "power"), "current_n", "voltage_l12", "voltage_l23", "voltage_l31",
        voltage_l1=231.0, voltage_l2=229.4, current_l1=1.74, current_n=0.5, voltage_l31=399.0,
        power_l1=401.0, power_l2=32.0, power_l3=-945.0,
    )  # fmt: skip
    told = values(state)
    names = ("PhV.phsA", "PhV.phsB", "PhV.phsC", "A.phsA", "A.neut", "PPV.phsCA", "W.phsC", "TotW")
    assert [told[f"MMXU1.{name}"].value for name in names] == [
        231.0, 229.4, None, 1.74, 0.5, 399.0, -945.0, -512.0,
    ]  # fmt: skip
    assert told["MMXU1.PhV.phsC"].quality == FAILED
    assert told["MMXU1.PhV.phsA"].t_ms == TS.timestamp() * 1000


def test_the_meters_own_total_is_not_replaced_by_a_sum() -> None:
    state = meter(*each("power"), "power", power_l1=1.0, power_l2=1.0, power_l3=1.0)
    assert seen(state, "MMXU1.TotW") == [(None, FAILED)]


def test_one_phase_whatever_it_is_called() -> None:
    state = meter("voltage_l1", "current_l1", "energy_import", voltage_l1=230.0, current_l1=2.0)
    assert seen(state, "MMXN1.Vol", "MMXN1.Amp", "MMXN1.VolAmp")[2] == (460.0, Quality.GOOD)


def test_apparent_power_is_the_meters_or_the_product() -> None:
    volts = {"voltage": 230.0, "current": 2.0}
    assert seen(meter(*HOUSEHOLD, **volts), "MMXN1.VolAmp") == [(460.0, Quality.GOOD)]
    own = meter(*HOUSEHOLD, "apparent_power", **volts, apparent_power=461.5)
    assert seen(own, "MMXN1.VolAmp") == [(461.5, Quality.GOOD)]


def test_an_old_meter_without_quantities_has_those_of_a_house() -> None:
    state = MeterState(METER_ID)
    assert {key[0] for key, _ in mapping.reading_values(state, broker_up=True)} == {"MMXN1", "MMTN1"}
    birth = Birth(
        name="b", hardware=Hardware(serial="s"), firmware="b", interval=10, session="s", ts=utc_now()
    )
    assert birth.quantities == HOUSEHOLD


def test_only_what_is_served_is_looked_at() -> None:
    """A reading costs what its meter has, not what the table of quantities has."""
    feed = mapping._feed(meter(*HOUSEHOLD))
    assert sorted(feed.names) == sorted(HOUSEHOLD)
    assert len(mapping._feed(meter("power_l2")).names) == 1


def test_what_a_meter_no_longer_measures_becomes_invalid() -> None:
    """Clients that still have the former configuration see its data objects until they associate again."""
    state = meter(*HOUSEHOLD, power=1.0)
    told = dict(mapping.newborn_values(state, broker_up=True, now=moment.now(synchronized=True)))
    assert told["MMXU1", "TotW"] == Value(None, Quality.INVALID, 0)
    assert told["MMTN1", "DmdWh"].quality == told["MMXU5", "TotW"].quality == Quality.INVALID
    assert told["MMXN1", "Watt"].value == 1.0
    later = meter(*TWO_WAYS, power=2.0)
    told = dict(mapping.newborn_values(later, broker_up=True, now=moment.now(synchronized=True)))
    assert (told["MMXN1", "Watt"].quality, told["MMXU1", "TotW"].value) == (Quality.INVALID, 2.0)


_NUMBERS = st.dictionaries(st.sampled_from(list(QUANTITIES)), st.floats(0, 0.99))


@given(st.sampled_from([quantities for quantities, _ in SHAPES.values()]), _NUMBERS)
def test_a_value_is_good_only_when_the_reading_has_it(
    quantities: tuple[str, ...], reading: dict[str, float]
) -> None:
    state = meter(*quantities, **reading)
    for value in values(state).values():
        assert (value.value is None) == (value.quality & 3 == Quality.INVALID)
        assert value.value is None or value.t_ms == TS.timestamp() * 1000
    named = sum(value.value is not None for value in values(state).values())
    assert named <= 3 * len(reading)
